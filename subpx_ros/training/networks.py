"""The networks that can be trained: what each reads of a stored pair, where it moves the matches, and its loss.

A new one is a class here and a line in `create_network`; the loop knows nothing else of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from subpx_ros import weights
from subpx_ros.refinement.keypt2subpx import PATCH_RADIUS, Keypt2SubpxNetwork
from subpx_ros.refinement.patches import crop_patches, sample_patches
from subpx_ros.refinement.subpx_network import PATCH_SIZE, SubpxNetwork
from subpx_ros.training.config import TrainConfig
from subpx_ros.training.losses import clamped_sampson_loss, refinement_loss
from subpx_ros.training.matches import MatchStore, StoredPair

Inputs = tuple[torch.Tensor, ...]


class Shifts(NamedTuple):
    """How far the keypoints of N matches are moved."""

    shift0: torch.Tensor
    """(N, 2) pixels of image0."""
    shift1: torch.Tensor
    """(N, 2) pixels of image1."""
    whitening: torch.Tensor
    """(N, 3) the network's parameters of the covariance of the second point; (N, 0) where it predicts none."""

    def part(self, start: int, stop: int) -> Shifts:
        """Those of the matches start to stop."""
        return Shifts(*(field[start:stop] for field in self))


@dataclass(frozen=True)
class Chosen:
    """Some matches of a stored pair, on the device of training."""

    pair: StoredPair
    keypoints0: torch.Tensor
    """(N, 2) float32 pixels."""
    keypoints1: torch.Tensor
    target1: torch.Tensor
    """(N, 2), NaN where not known."""
    jacobian1: torch.Tensor
    """(N, 2, 2), NaN where not known."""

    @classmethod
    def of(cls, pair: StoredPair, indices: torch.Tensor, device: torch.device) -> Chosen:
        fields = (pair.keypoints0, pair.keypoints1, pair.target1, pair.jacobian1)
        return cls(pair, *(field[indices].to(device) for field in fields))

    def end_point_errors(self, shifts: Shifts) -> torch.Tensor:
        """(N, 2) pixels of image1 by which the second point misses the first; NaN where that is not known."""
        target = self.target1
        if shifts.shift0.any():
            target = target + (self.jacobian1 @ shifts.shift0[..., None])[..., 0]
        return self.keypoints1 + shifts.shift1 - target


class TrainableNetwork(nn.Module, ABC):
    """A refinement network in training; `network` is what a checkpoint holds."""

    network: nn.Module

    @abstractmethod
    def inputs(self, pair: StoredPair, indices: torch.Tensor) -> Inputs:
        """What the network reads of the pair's matches `indices` (N,); tensors whose first dimension is N."""

    @abstractmethod
    def forward(self, *inputs: torch.Tensor) -> list[Shifts]:
        """The shifts after every stage of the network, the last being the result, of all matches in the inputs."""

    @abstractmethod
    def loss(self, chosen: Chosen, stages: list[Shifts]) -> torch.Tensor:
        """The mean loss of one pair's matches."""


class Keypt2SubpxTraining(TrainableNetwork):
    """The paper's method: both points move, and only the epipolar geometry judges."""

    def __init__(self, descriptor_size: int, use_score_map: bool, threshold_px: float) -> None:
        super().__init__()
        self.network: Keypt2SubpxNetwork = Keypt2SubpxNetwork(descriptor_size, use_score_map)
        self._threshold_px = threshold_px

    def inputs(self, pair: StoredPair, indices: torch.Tensor) -> Inputs:
        patches = [
            crop_patches(self._maps(image, score_map), keypoints[indices], PATCH_RADIUS)
            for image, score_map, keypoints in (
                (pair.image0, pair.score_map0, pair.keypoints0),
                (pair.image1, pair.score_map1, pair.keypoints1),
            )
        ]
        return *patches, (pair.descriptors0[indices] + pair.descriptors1[indices]) / 2.0

    def forward(self, *inputs: torch.Tensor) -> list[Shifts]:
        patches0, patches1, descriptors = inputs
        shifts = self.network(torch.cat([patches0, patches1]), descriptors.repeat(2, 1))
        count = len(patches0)
        return [Shifts(shifts[:count], shifts[count:], shifts.new_zeros(count, 0))]

    def loss(self, chosen: Chosen, stages: list[Shifts]) -> torch.Tensor:
        pair, shifts = chosen.pair, stages[-1]
        assert pair.essential is not None
        refined0, refined1 = chosen.keypoints0 + shifts.shift0, chosen.keypoints1 + shifts.shift1
        return clamped_sampson_loss(pair.essential, refined0, refined1, pair.camera0, pair.camera1, self._threshold_px)

    def _maps(self, image: torch.Tensor, score_map: torch.Tensor | None) -> torch.Tensor:
        grey = image.float() / 255.0
        if not self.network.use_score_map:
            return grey[None]
        assert score_map is not None
        return torch.stack([grey, score_map])


class SubpxTraining(TrainableNetwork):
    """Our own network: the second point moves, judged by exact targets, and by the epipolar geometry without them."""

    _WINDOW = PATCH_SIZE + 12
    """Side of the part of image1 that a step can see: stages may move a point by 5 px before it ends."""
    _WRONG_PX = 4.5
    """Matches that are farther off as detected are wrong ones and teach nothing."""

    def __init__(self, threshold_px: float) -> None:
        super().__init__()
        self.network: SubpxNetwork = SubpxNetwork()
        self._threshold_px = threshold_px

    def inputs(self, pair: StoredPair, indices: torch.Tensor) -> Inputs:
        keypoints0, keypoints1 = pair.keypoints0[indices], pair.keypoints1[indices]
        patches0 = sample_patches(pair.image0.float() / 255.0, keypoints0, PATCH_SIZE)
        corner = keypoints1.floor().long() - self._WINDOW // 2
        steps = torch.arange(self._WINDOW)
        height, width = pair.image1.shape
        rows = (corner[:, 1:] + steps).clamp(0, height - 1)
        columns = (corner[:, :1] + steps).clamp(0, width - 1)
        windows1 = pair.image1[rows[:, :, None], columns[:, None, :]].float() / 255.0
        return patches0, windows1, keypoints1 - corner

    def forward(self, *inputs: torch.Tensor) -> list[Shifts]:
        patches0, windows1, places1 = inputs

        def sample1(shift: torch.Tensor, size: int) -> torch.Tensor:
            return _patches_of_windows(windows1, places1 + shift, size)

        still = torch.zeros_like(places1)
        return [Shifts(still, each.shift, each.whitening) for each in self.network(patches0, sample1)]

    def loss(self, chosen: Chosen, stages: list[Shifts]) -> torch.Tensor:
        detected_errors = (chosen.keypoints1 - chosen.target1).norm(dim=1)
        known = detected_errors.isfinite()
        right = detected_errors < self._WRONG_PX  # false for NaN
        total = sum(((shifts.shift1 * 0.0).sum() for shifts in stages), chosen.keypoints1.new_zeros(()))
        if right.any():
            located = [(chosen.end_point_errors(shifts)[right], shifts.whitening[right]) for shifts in stages]
            total = total + right.sum() / len(right) * refinement_loss(located)
        pair = chosen.pair
        if not known.all() and pair.essential is not None:
            cameras = pair.camera0, pair.camera1
            refined1 = (chosen.keypoints1 + stages[-1].shift1)[~known]
            points0 = chosen.keypoints0[~known]
            epipolar = clamped_sampson_loss(pair.essential, points0, refined1, *cameras, self._threshold_px)
            total = total + (~known).sum() / len(known) * epipolar
        return total


def _patches_of_windows(windows: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
    """Patches (N, size, size) of windows (N, S, S), sampled bilinearly around one place (N, 2) in each."""
    steps = torch.arange(size, device=places.device) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    grid = 2.0 * (places[:, None, None] + offsets) / (windows.shape[-1] - 1) - 1.0
    return torch.nn.functional.grid_sample(windows[:, None], grid, padding_mode="border", align_corners=True)[:, 0]


def create_network(config: TrainConfig, store: MatchStore) -> TrainableNetwork:
    """The network that the configuration names, for the detector whose matches are stored.

    Raises:
        WeightsError: `initial_weights` cannot be read or do not fit.
    """
    trained: TrainableNetwork
    if config.network == "subpx":
        trained = SubpxTraining(config.loss_threshold_px)
    else:
        trained = Keypt2SubpxTraining(store.descriptor_size, store.has_score_map, config.loss_threshold_px)
    if config.initial_weights:
        tensors = weights.load_tensors(Path(config.initial_weights))
        weights.load_into(trained.network, tensors, config.initial_weights)
    return trained
