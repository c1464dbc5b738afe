"""XFeat (Potje et al., CVPR 2024): kornia's network with the published weights, on the image's own pixel grid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import grid_sample, normalize, softmax
from torch.nn.utils.fusion import fuse_conv_bn_eval

from subpx_ros import weights
from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector, local_maxima, pad_to_multiple, strongest

_CELL = 8
_STRIDE = 32
NMS_RADIUS = 2


class XFeatDetector(Detector):
    """Keypoints at integer pixels, descriptors of 64 values sampled bicubically from the 1/8 map."""

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        from kornia.feature.xfeat import XFeatModel

        super().__init__(config, device, report)
        network = XFeatModel()
        tensors, source = weights.load_chosen(config.weights, "xfeat", report)
        weights.load_into(network, tensors, source)
        self._network = _folded(network.eval()).to(device, memory_format=_memory_format(device))  # type: ignore[call-overload]

    def _detect(self, images: torch.Tensor) -> list[Features]:
        descriptors, heat, reliability = self._maps(images)
        mask = local_maxima(heat, NMS_RADIUS, self._config.detection_threshold)
        return [
            self._select(image, *maps)
            for image, *maps in zip(images, mask[:, 0], heat[:, 0], descriptors, reliability, strict=True)
        ]

    def _maps(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Descriptors (B, 64, h, w), how much every pixel is a keypoint (B, 1, H, W), and reliability (B, 1, h, w)."""
        height, width = images.shape[-2:]
        # With one channel either order of memory is the same, and the convolutions must be told which is meant.
        padded = pad_to_multiple(images[:, None], _STRIDE).to(memory_format=_memory_format(images.device))
        descriptors, logits, reliability = self._network(padded)
        return descriptors, _pixels_of_cells(logits)[..., :height, :width], reliability

    def _select(
        self,
        image: torch.Tensor,
        mask: torch.Tensor,
        heat: torch.Tensor,
        descriptors: torch.Tensor,
        reliability: torch.Tensor,
    ) -> Features:
        rows, columns = mask.nonzero(as_tuple=True)
        keypoints = torch.stack([columns, rows], dim=1).float()
        scores = heat[rows, columns] * sample(reliability[None], keypoints[None], "bilinear")[0, :, 0]
        best = strongest(scores, self._config.max_keypoints)
        keypoints = keypoints[best]
        described = sample(descriptors[None], keypoints[None], "bicubic")[0]
        return Features(keypoints, scores[best], normalize(described, dim=1), image)


def _folded(network: nn.Module) -> nn.Module:
    """The network with every normalisation that follows a convolution made part of its weights; the outputs stay."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for index, (first, second) in enumerate(pairwise(list(module))):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[index], module[index + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


def _memory_format(device: torch.device) -> torch.memory_format:
    """Convolutions on a CPU are a fifth faster where the channels of a pixel lie side by side."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def _pixels_of_cells(logits: torch.Tensor) -> torch.Tensor:
    """Scores (B, 1, 8 h, 8 w) of logits (B, 65, h, w), of which the last says that there is no keypoint in the cell, the
    others how much its 8x8 pixels, row by row, are one."""
    batch, _, rows, columns = logits.shape
    # Over neighbours in memory where the network lays channels side by side.
    scores = softmax(logits.permute(0, 2, 3, 1), dim=3)[..., : _CELL * _CELL]
    cells = scores.reshape(batch, rows, columns, _CELL, _CELL).transpose(2, 3)
    return cells.reshape(batch, 1, _CELL * rows, _CELL * columns)


def sample(maps: torch.Tensor, keypoints: torch.Tensor, mode: str) -> torch.Tensor:
    """Values (B, N, C) of 1/8-resolution maps (B, C, h, w) at keypoints (B, N, 2).

    A keypoint at x is read at x / 8 - 1/2 in the map's pixel frame, half an image pixel off its centre: so the
    published weights were trained.
    """
    height, width = maps.shape[-2:]
    x, y = keypoints.unbind(dim=2)
    grid = torch.stack([2.0 * x / (_CELL * width) - 1.0, 2.0 * y / (_CELL * height) - 1.0], dim=2)
    found = grid_sample(maps, grid[:, :, None], mode=mode, align_corners=False)
    return found[..., 0].transpose(1, 2).contiguous()
