"""Keypt2Subpx: Kim, Pollefeys and Barath, "Learning to Make Keypoints Sub-Pixel Accurate", ECCV 2024.

A patch of 11x11 pixels around each keypoint of a match (with the detector's score map where it has one) goes through a
small network; its features, of unit length per pixel, are correlated with the mean of the match's two descriptors, and
a soft-argmax over the 5x5 response, times 2.5, is the displacement.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from subpx_ros import weights
from subpx_ros.config import RefinementConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.errors import WeightsError
from subpx_ros.features.detector import Detector
from subpx_ros.fit import keypt2subpx_checkpoint, shipped_keypt2subpx
from subpx_ros.parallel import each_by_a_thread, parts_for
from subpx_ros.refinement.patches import crop_patches
from subpx_ros.refinement.refiner import Refinement, Refiner

PATCH_RADIUS = 5
_RESPONSE_RADIUS = 2
_DISPLACEMENT_SCALE = 2.5
_LEAST_LENGTH = 1e-12
"""Of a pixel's features, as published."""
_BATCH_CPU, _BATCH_GPU = 512, 4096
_WORTH_A_THREAD = 64
"""Patches."""


class Keypt2SubpxNetwork(nn.Module):
    """The published architecture; parameter names as in the published checkpoints."""

    _grid: torch.Tensor
    """(25, 2) x and y of the response's cells, times the scale of displacements."""

    def __init__(self, descriptor_size: int, use_score_map: bool) -> None:
        super().__init__()
        self.use_score_map = use_score_map
        self.descriptor_size = descriptor_size
        self.conv1a = nn.Conv2d(2 if use_score_map else 1, 16, 3)
        self.conv1b = nn.Conv2d(16, 16, 3, padding=1)
        self.conv2a = nn.Conv2d(16, 64, 3)
        self.conv2b = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, descriptor_size, 3)
        self._activation = nn.ReLU(inplace=True)
        steps = torch.arange(-_RESPONSE_RADIUS, _RESPONSE_RADIUS + 1.0)
        grid = torch.stack([steps.repeat(len(steps)), steps.repeat_interleave(len(steps))], dim=1)
        self.register_buffer("_grid", _DISPLACEMENT_SCALE * grid, persistent=False)

    def forward(self, patches: torch.Tensor, descriptors: torch.Tensor) -> torch.Tensor:
        """Displacements (N, 2) in pixels.

        Args:
            patches: (N, 1 or 2, 11, 11) grey in [0, 1], and the detector's score map.
            descriptors: (N, D), the mean of the two matched descriptors.
        """
        maps = patches
        for convolution in (self.conv1a, self.conv1b, self.conv2a, self.conv2b):
            maps = self._activation(convolution(maps))
        features = self.conv3(maps).permute(0, 2, 3, 1).flatten(1, 2)
        # The features' unit length is given to their products, of which there are fewer.
        length = torch.linalg.vector_norm(features, dim=2).clamp(min=_LEAST_LENGTH)
        response = torch.bmm(features, descriptors[:, :, None])[:, :, 0] / length
        return response.softmax(dim=1) @ self._grid


class Keypt2SubpxRefiner(Refiner):
    """Refines both keypoints of every match with the published method."""

    name = "keypt2subpx"

    def __init__(
        self, config: RefinementConfig, detector: Detector, device: torch.device, report: Callable[[str], None]
    ) -> None:
        known = keypt2subpx_checkpoint(detector.name, config.weights)
        try:
            tensors, source = weights.load_chosen(config.weights, known, report)
        except WeightsError as error:
            # Results must not depend on what could be downloaded, so the shipped weights are offered, not taken.
            shipped = shipped_keypt2subpx(detector.name)
            if not config.weights and shipped:
                raise WeightsError(f"{error}; refinement.weights: {shipped} needs no download") from None
            raise
        self._network = channels_last(network_for(tensors, source).eval().to(device))
        if self._network.descriptor_size != detector.descriptor_size:
            raise WeightsError(
                f"the refiner {source} takes descriptors of {self._network.descriptor_size} values, but {detector.name} "
                f"makes {detector.descriptor_size}: choose the checkpoint that was trained for {detector.name}"
            )
        self.takes_score_map = self._network.use_score_map
        if self.takes_score_map and not detector.has_score_map:
            raise WeightsError(
                f"the refiner {source} takes the detector's score map, and {detector.name} has none: choose the "
                f"checkpoint that was trained for {detector.name}"
            )

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        refined0, refined1 = refine_pairs(
            self._network,
            (features0.keypoints[matches.indices0], features1.keypoints[matches.indices1]),
            (self._maps(features0), self._maps(features1)),
            (features0.descriptors[matches.indices0], features1.descriptors[matches.indices1]),
        )
        return Refinement(refined0, refined1)

    def _maps(self, features: Features) -> torch.Tensor:
        """Image (1, H, W), with the score map (2, H, W) where the network takes it."""
        if not self.takes_score_map:
            return features.image[None]
        assert features.score_map is not None
        return torch.stack([features.image, features.score_map])


def channels_last(network: Keypt2SubpxNetwork) -> Keypt2SubpxNetwork:
    """The network with the channels of a pixel side by side in memory, which makes it faster by an eighth on a CPU."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def refine_pairs(
    network: Keypt2SubpxNetwork,
    keypoints: tuple[torch.Tensor, torch.Tensor],
    maps: tuple[torch.Tensor, torch.Tensor],
    descriptors: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Refined keypoints of both views, each (M, 2).

    Args:
        network: the refiner's network.
        keypoints: (M, 2) of either view, pixels.
        maps: (1 or 2, H, W) of either view: grey in [0, 1], and the score map.
        descriptors: (M, D) of either view.
    """
    patches = torch.cat(
        [crop_patches(view, points, PATCH_RADIUS) for view, points in zip(maps, keypoints, strict=True)]
    )
    mean = ((descriptors[0] + descriptors[1]) / 2.0).repeat(2, 1)
    batch = _BATCH_CPU if mean.device.type == "cpu" else _BATCH_GPU
    parts = parts_for(len(mean), mean.device, batch, _WORTH_A_THREAD)
    batches = list(zip(patches.tensor_split(parts), mean.tensor_split(parts), strict=True))
    displacements = torch.cat(each_by_a_thread(lambda each: network(*each), batches))
    count = len(keypoints[0])
    return keypoints[0] + displacements[:count], keypoints[1] + displacements[count:]


def network_for(tensors: dict[str, torch.Tensor], source: str) -> Keypt2SubpxNetwork:
    """The network that a checkpoint's shapes ask for, with its weights. Raises WeightsError where they do not fit."""
    try:
        score_channels = tensors["conv1a.weight"].shape[1]
        descriptor_size = tensors["conv3.weight"].shape[0]
    except (KeyError, IndexError):
        raise WeightsError(f"{source} is no Keypt2Subpx checkpoint: it lacks conv1a.weight or conv3.weight") from None
    network = Keypt2SubpxNetwork(descriptor_size, use_score_map=score_channels == 2)
    weights.load_into(network, tensors, source)
    return network
