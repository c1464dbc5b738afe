"""What every refiner offers, and the one that leaves keypoints where they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch

from subpx_ros.datatypes import Features, Matches, RefinedMatches


class Refinement(NamedTuple):
    """What a refiner makes of M matches; tensors on the features' device."""

    refined0: torch.Tensor
    """(M, 2) float32 pixels."""
    refined1: torch.Tensor
    """(M, 2) float32 pixels."""
    covariance1: torch.Tensor | None = None
    """(M, 2, 2) float32 px^2 of refined1, where it is predicted."""


class Refiner(ABC):
    """Moves matched keypoints to sub-pixel positions. Keeps no state between pairs."""

    name: str

    def refine(self, features0: Features, features1: Features, matches: Matches) -> RefinedMatches:
        """The matched keypoints of two views, before and after refinement; any number of matches, none included."""
        detected0 = features0.keypoints[matches.indices0]
        detected1 = features1.keypoints[matches.indices1]
        refinement = Refinement(detected0, detected1)
        if len(matches):
            with torch.inference_mode():
                refinement = self._refine(features0, features1, matches)
        positions = torch.stack([detected0, detected1, refinement.refined0, refinement.refined1])
        arrays = positions.cpu().numpy().astype(np.float64)
        scores = matches.scores.float().cpu().numpy()
        covariance1 = refinement.covariance1
        predicted = None if covariance1 is None else covariance1.cpu().numpy().astype(np.float64)
        return RefinedMatches(arrays[0], arrays[1], arrays[2], arrays[3], scores, predicted)

    @abstractmethod
    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        """The refinement of at least one match."""


class NoRefiner(Refiner):
    """Keypoints stay as detected."""

    name = "none"

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        return Refinement(features0.keypoints[matches.indices0], features1.keypoints[matches.indices1])
