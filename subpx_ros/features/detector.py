"""What every detector offers, and the steps that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features


class Detector(ABC):
    """Finds and describes keypoints. Holds its weights; keeps no state between images."""

    descriptor_size: int
    has_score_map: bool = False
    """Whether features carry the dense score, which some refiners take."""
    keypt2subpx: str | None = None
    """The published Keypt2Subpx checkpoint that was trained for this detector, if there is one."""

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        self.name = config.detector
        self._device = device
        self.reconfigure(config)

    def reconfigure(self, config: FeatureConfig) -> None:
        """Other limits of the same detector, from the next image on."""
        self._config = config

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """Features of grey images (H, W) uint8 of one common size, at most `max_keypoints` each."""
        batch = torch.from_numpy(np.stack(images)).to(self._device).float().div_(255.0)
        with torch.inference_mode():
            return self._detect(batch)

    @abstractmethod
    def _detect(self, images: torch.Tensor) -> list[Features]:
        """Features of a batch (B, H, W) float32 in [0, 1]."""


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """(B, 1, H, W) with the last row and column repeated until both sizes are multiples; pixels keep their places.

    Padding instead of resizing leaves keypoints on the pixel grid of the image itself and its texture unblurred.
    """
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if not (right or bottom):
        return images
    return torch.nn.functional.pad(images, (0, right, 0, bottom), mode="replicate")


def local_maxima(score_map: torch.Tensor, radius: int, threshold: float) -> torch.Tensor:
    """Mask (B, 1, H, W) of the pixels above the threshold that are the largest of their window.

    The outermost `radius` rows and columns are left out: their windows are not complete.
    """
    size = 2 * radius + 1
    largest = torch.nn.functional.max_pool2d(score_map, size, stride=1, padding=radius)
    mask = (score_map == largest) & (score_map > threshold)
    inside = torch.zeros_like(mask)
    inside[..., radius:-radius, radius:-radius] = True
    return mask & inside
