"""What every refiner offers, and the one that leaves keypoints where they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.datatypes import Features, Matches, RefinedMatches

DETECTED_PX2 = 9.0
"""Variance, along either axis, that is said of a keypoint that stays where it was detected."""


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
        refine = partial(self._refine, features0, features1, matches)
        return _refined(refine, detected0, features1.keypoints[matches.indices1], matches)

    def refine_tracked(
        self,
        firsts: Sequence[Features],
        number: NDArray[np.intp],
        features1: Features,
        matches: Matches,
    ) -> RefinedMatches:
        """As `refine`, of matches whose first keypoints lie in several views.

        Args:
            firsts: these views.
            number: (M,) which of them each match's first index is one of.
            features1: the second view.
            matches: of the first views with it.
        """
        order = np.argsort(number, kind="stable")
        there, on_device = torch.from_numpy(number[order]), torch.from_numpy(order).to(matches.indices0.device)
        ordered = matches[on_device]
        detected0 = keypoints_in(firsts, there, ordered.indices0)
        refine = partial(self._refine_tracked, firsts, there, features1, ordered)
        refined = _refined(refine, detected0, features1.keypoints[ordered.indices1], ordered)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return RefinedMatches(
            refined.detected0[back],
            refined.detected1[back],
            refined.refined0[back],
            refined.refined1[back],
            refined.scores[back],
            None if refined.covariance1 is None else refined.covariance1[back],
        )

    @abstractmethod
    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        """The refinement of at least one match."""

    def _refine_tracked(
        self, firsts: Sequence[Features], number: torch.Tensor, features1: Features, matches: Matches
    ) -> Refinement:
        """The same of matches whose first keypoints lie in the views with the given numbers (M,), on the CPU and rising."""
        parts: list[Refinement] = []
        for index, count in zip(
            *(each.tolist() for each in number.unique_consecutive(return_counts=True)), strict=True
        ):
            start = sum(len(part.refined0) for part in parts)
            parts.append(self._refine(firsts[index], features1, matches[start : start + count]))
        covariances = [part.covariance1 for part in parts if part.covariance1 is not None]
        return Refinement(
            torch.cat([part.refined0 for part in parts]),
            torch.cat([part.refined1 for part in parts]),
            torch.cat(covariances) if len(covariances) == len(parts) else None,
        )


def keypoints_in(views: Sequence[Features], number: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Keypoints (M, 2) with indices (M,) in the views with the given numbers (M,), which are on the CPU and rise."""
    own = indices.split(torch.bincount(number, minlength=len(views)).tolist())
    return torch.cat([view.keypoints[chosen] for view, chosen in zip(views, own, strict=True)])


def _refined(
    refine: Callable[[], Refinement], detected0: torch.Tensor, detected1: torch.Tensor, matches: Matches
) -> RefinedMatches:
    """Detected keypoints (M, 2) and what `refine` makes of them, where there are any."""
    refinement = Refinement(detected0, detected1)
    if len(matches):
        with torch.inference_mode():
            refinement = refine()
    columns = [detected0, detected1, refinement.refined0, refinement.refined1, matches.scores.float()[:, None]]
    if refinement.covariance1 is not None:
        columns.append(refinement.covariance1.flatten(1))
    # All at once, as every copy waits for a GPU.
    numbers = torch.cat(columns, dim=1).cpu().numpy()
    places = [numbers[:, first : first + 2].astype(np.float64) for first in range(0, 8, 2)]
    predicted = None if refinement.covariance1 is None else numbers[:, 9:].astype(np.float64).reshape(-1, 2, 2)
    return RefinedMatches(places[0], places[1], places[2], places[3], numbers[:, 8].copy(), predicted)


class NoRefiner(Refiner):
    """Keypoints stay as detected."""

    name = "none"

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        return Refinement(features0.keypoints[matches.indices0], features1.keypoints[matches.indices1])
