"""SuperPoint (DeTone, Malisiewicz and Rabinovich, CVPRW 2018), our own implementation of the published architecture.

Two layouts of checkpoints load: that of the authors, whose weights are for research only, and that of the retrained
variant under an open licence (Pautrat and Sarlin), which adds batch normalisation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import grid_sample, max_pool2d, normalize, pixel_shuffle, softmax

from subpx_ros import weights
from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector, pad_to_multiple, strongest

_CELL = 8
_CHANNELS = (1, 64, 64, 128, 128)
_HEAD_CHANNELS = 256
_NMS_RADIUS = 4
_BORDER = 4
_BN_EPSILON = 1e-3


class SuperPointNetwork(nn.Module):
    """A VGG-like encoder to 1/8 of the resolution, a head for keypoints and one for descriptors."""

    def __init__(self, descriptor_size: int, batch_norm: bool) -> None:
        super().__init__()
        stages = [
            nn.Sequential(_Block(before, after, 3, batch_norm), _Block(after, after, 3, batch_norm))
            for before, after in pairwise(_CHANNELS)
        ]
        self.backbone = nn.ModuleList(stages)
        self.detector = _head(_CELL**2 + 1, batch_norm)
        self.descriptor = _head(descriptor_size, batch_norm)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (B, 1, H, W) in [0, 1] and unit descriptors (B, D, H / 8, W / 8) of images (B, 1, H, W) in [0, 1].

        H and W are multiples of 8.
        """
        maps = self.backbone[0](images)
        for stage in self.backbone[1:]:
            maps = stage(max_pool2d(maps, 2))
        # The last channel means "no keypoint"; the others are the pixels of an 8x8 cell, row by row.
        heat = softmax(self.detector(maps), dim=1)[:, : _CELL**2]
        return pixel_shuffle(heat, _CELL), normalize(self.descriptor(maps), dim=1)


class _Block(nn.Module):
    """Convolution, ReLU except at the end of a head, and batch normalisation in the retrained variant."""

    def __init__(self, before: int, after: int, kernel: int, batch_norm: bool, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(after, eps=_BN_EPSILON) if batch_norm else nn.Identity()
        self._relu = relu

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = self.conv(maps)
        output: torch.Tensor = self.bn(maps.relu() if self._relu else maps)
        return output


def _head(channels: int, batch_norm: bool) -> nn.Sequential:
    return nn.Sequential(
        _Block(_CHANNELS[-1], _HEAD_CHANNELS, 3, batch_norm),
        _Block(_HEAD_CHANNELS, channels, 1, batch_norm, relu=False),
    )


class SuperPointDetector(Detector):
    """Keypoints at integer pixels, descriptors of 256 values sampled bilinearly from the 1/8 map."""

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        super().__init__(config, device, report)
        tensors, source = weights.load_chosen(config.weights, "superpoint", report)
        self._retrained = any(".bn." in name for name in tensors)
        network = SuperPointNetwork(self.descriptor_size, batch_norm=self._retrained)
        weights.load_into(network, {_own_name(name): tensor for name, tensor in tensors.items()}, source)
        self._network = network.eval().to(device)

    def _detect(self, images: torch.Tensor) -> list[Features]:
        height, width = images.shape[-2:]
        score_maps, descriptors = self._network(pad_to_multiple(images[:, None], _CELL))
        score_maps = score_maps[..., :height, :width]
        maxima = _suppress_neighbours(score_maps)[:, 0]
        return [self._select(*maps) for maps in zip(images, score_maps[:, 0], maxima, descriptors, strict=True)]

    def _select(
        self, image: torch.Tensor, score_map: torch.Tensor, maxima: torch.Tensor, descriptors: torch.Tensor
    ) -> Features:
        inside = maxima[_BORDER:-_BORDER, _BORDER:-_BORDER]
        rows, columns = (inside > self._config.detection_threshold).nonzero(as_tuple=True)
        scores = inside[rows, columns]
        best = strongest(scores, self._config.max_keypoints)
        keypoints = torch.stack([columns[best], rows[best]], dim=1).float() + _BORDER
        sample = _sample if self._retrained else _sample_as_published
        return Features(keypoints, scores[best], normalize(sample(descriptors, keypoints), dim=1), image, score_map)


def _suppress_neighbours(scores: torch.Tensor) -> torch.Tensor:
    """Scores (B, 1, H, W) with zeros everywhere but at maxima.

    As published with SuperGlue: pixels near a maximum are struck out, then maxima of what is left are taken, twice.
    """

    def largest_nearby(maps: torch.Tensor) -> torch.Tensor:
        return max_pool2d(maps, 2 * _NMS_RADIUS + 1, stride=1, padding=_NMS_RADIUS)

    maxima = scores == largest_nearby(scores)
    for _ in range(2):
        near = largest_nearby(maxima.float()) > 0
        left = scores.masked_fill(near, 0.0)
        maxima = maxima | ((left == largest_nearby(left)) & ~near)
    return scores.masked_fill(~maxima, 0.0)


def _sample(maps: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """Values (N, C) of 1/8-resolution maps (C, h, w) at keypoints (N, 2), cells having their centres at 3.5 + 8 i."""
    size = _CELL * keypoints.new_tensor([maps.shape[2], maps.shape[1]])
    grid = 2.0 * (keypoints + 0.5) / size - 1.0
    return grid_sample(maps[None], grid[None, :, None], align_corners=False)[0, :, :, 0].T


def _sample_as_published(maps: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """The same as the authors' weights are used everywhere: stretched by half a cell over the width and height."""
    size = _CELL * keypoints.new_tensor([maps.shape[2], maps.shape[1]])
    centre = (_CELL - 1) / 2.0
    grid = 2.0 * (keypoints - centre) / (size - centre - 1.0) - 1.0
    return grid_sample(maps[None], grid[None, :, None], align_corners=True)[0, :, :, 0].T


def _own_name(name: str) -> str:
    """The authors' conv3a, convPb and convDa are the retrained variant's backbone.2.0, detector.1 and descriptor.0."""
    parsed = re.fullmatch(r"conv([1-4PD])([ab])\.(weight|bias)", name)
    if not parsed:
        return name
    stage, layer, kind = parsed.groups()
    module = {"P": "detector", "D": "descriptor"}.get(stage) or f"backbone.{int(stage) - 1}"
    return f"{module}.{'ab'.index(layer)}.conv.{kind}"
