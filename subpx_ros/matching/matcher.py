"""What every matcher offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.features.detector import Detector


class Matcher(ABC):
    """Finds which features of two views show the same point. Keeps no state between pairs."""

    def __init__(
        self, config: MatchingConfig, detector: Detector, device: torch.device, report: Callable[[str], None]
    ) -> None:
        self.name = config.matcher
        self._device = device
        self.reconfigure(config)

    def reconfigure(self, config: MatchingConfig) -> None:
        """Other limits of the same matcher, from the next pair on."""
        self._config = config

    def match(self, features0: Features, features1: Features) -> Matches:
        """One-to-one matches; none where either side has no features."""
        if len(features0) == 0 or len(features1) == 0:
            return no_matches(features0.keypoints.device)
        with torch.inference_mode():
            return self._match(features0, features1)

    @abstractmethod
    def _match(self, features0: Features, features1: Features) -> Matches:
        """Matches of two sets of features, neither of them empty."""


def no_matches(device: torch.device) -> Matches:
    indices = torch.zeros(0, dtype=torch.int64, device=device)
    return Matches(indices, indices, torch.zeros(0, device=device))
