"""What every detector offers, and the steps that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.table import detector_entry
from subpx_ros.upload import Uploader


class Detector(ABC):
    """Finds and describes keypoints. Holds its weights; keeps no state between images."""

    exports_any_size = True
    """Whether an exported network takes images of any size, or only of the size it was exported with."""

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        self.name = config.detector
        entry = detector_entry(config.detector)
        self.descriptor_size = entry.descriptor_size
        self.has_score_map = entry.has_score_map
        self.keypt2subpx = entry.keypt2subpx[0] if entry.keypt2subpx else None
        self._device = device
        self.uploader = Uploader(device)
        self.reconfigure(config)

    def reconfigure(self, config: FeatureConfig) -> None:
        """Other limits of the same detector, from the next image on."""
        self._config = config

    @property
    def max_keypoints(self) -> int:
        """Of each image."""
        return self._config.max_keypoints

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """Features of grey images (H, W) uint8 of one common size, at most `max_keypoints` each."""
        batch = self.uploader.batch(images).float().div_(255.0)
        with torch.inference_mode():
            found = self._detect(batch)
        # Normalisation inside of a network can blow up the rounding errors of an image that shows nothing.
        shown = [image.min() < image.max() for image in images]
        return [features if seen else _first(features, 0) for features, seen in zip(found, shown, strict=True)]

    @abstractmethod
    def _detect(self, images: torch.Tensor) -> list[Features]:
        """Features of a batch (B, H, W) float32 in [0, 1]."""


def _first(features: Features, count: int) -> Features:
    rows = ("keypoints", "scores", "descriptors", "scales", "orientations", "descriptor_norms")
    kept = {name: getattr(features, name) for name in rows}
    return replace(features, **{name: values[:count] for name, values in kept.items() if values is not None})


def strongest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Indices of the `count` largest of scores (N,), the largest first; all N where there are fewer."""
    return scores.sort(descending=True).indices[:count]


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """(B, 1, H, W) with the last row and column repeated until both sizes are multiples; pixels keep their places.

    Padding instead of resizing leaves keypoints on the pixel grid of the image itself and its texture unblurred.
    """
    height, width = images.shape[-2:]
    return torch.nn.functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def local_maxima(score_map: torch.Tensor, radius: int, threshold: float) -> torch.Tensor:
    """Mask (B, 1, H, W) of the pixels above the threshold that are the largest of their window.

    The outermost `radius` rows and columns are left out: their windows are not complete.
    """
    mask = (score_map == _largest_around(score_map, radius)) & (score_map > threshold)
    inside = torch.zeros_like(mask)
    inside[..., radius:-radius, radius:-radius].fill_(True)
    return mask & inside


def _largest_around(values: torch.Tensor, radius: int) -> torch.Tensor:
    """The largest value (..., H, W) within `radius` rows and columns of each pixel.

    Rows first, then columns, by whole shifted maps: a tenth of the time of `max_pool2d` on a CPU, which also looks for
    the place of each maximum.
    """
    for axis in (-2, -1):
        padded = torch.nn.functional.pad(
            values, (0, 0, radius, radius) if axis == -2 else (radius, radius), value=-torch.inf
        )
        length = values.shape[axis]
        values = padded.narrow(axis, 0, length)
        for shift in range(1, 2 * radius + 1):
            values = torch.maximum(values, padded.narrow(axis, shift, length))
    return values
