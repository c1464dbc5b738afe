"""What every refiner offers, and the one that leaves keypoints where they are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from subpx_ros.datatypes import Features, Matches, RefinedMatches


class Refiner(ABC):
    """Moves matched keypoints to sub-pixel positions. Keeps no state between pairs."""

    name: str

    def refine(self, features0: Features, features1: Features, matches: Matches) -> RefinedMatches:
        """The matched keypoints of two views, before and after refinement; any number of matches, none included."""
        detected0 = features0.keypoints[matches.indices0]
        detected1 = features1.keypoints[matches.indices1]
        refined0, refined1 = detected0, detected1
        if len(matches):
            with torch.inference_mode():
                refined0, refined1 = self._refine(features0, features1, matches)
        positions = torch.stack([detected0, detected1, refined0, refined1]).cpu().numpy().astype(np.float64)
        scores = matches.scores.float().cpu().numpy()
        return RefinedMatches(positions[0], positions[1], positions[2], positions[3], scores)

    @abstractmethod
    def _refine(self, features0: Features, features1: Features, matches: Matches) -> tuple[torch.Tensor, torch.Tensor]:
        """Refined positions, each (M, 2) float32, of at least one match."""


class NoRefiner(Refiner):
    """Keypoints stay as detected."""

    name = "none"

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> tuple[torch.Tensor, torch.Tensor]:
        return features0.keypoints[matches.indices0], features1.keypoints[matches.indices1]
