"""Matches of which only some were refined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Features, Matches, RefinedMatches
from subpx_ros.refinement.refiner import DETECTED_PX2


def among_detected(
    refined: RefinedMatches, chosen: NDArray[np.bool_], features0: Features, features1: Features, found: Matches
) -> RefinedMatches:
    """All matches that were found, the refined ones among the others as they were detected.

    Args:
        refined: K of the matches.
        chosen: (M,) which of the matches they are.
        features0: of the first view.
        features1: of the second view.
        found: M matches of the views.
    """
    first, second = features0.places[found.indices0.cpu().numpy()], features1.places[found.indices1.cpu().numpy()]
    scores = found.scores.float().cpu().numpy()
    covariance1 = refined.covariance1
    if covariance1 is not None:
        vague = np.tile(DETECTED_PX2 * np.eye(2), (len(found), 1, 1))
        covariance1 = _merged(vague, chosen, covariance1)
    refined0, refined1 = _merged(first, chosen, refined.refined0), _merged(second, chosen, refined.refined1)
    return RefinedMatches(first, second, refined0, refined1, scores, covariance1)


def _merged(every: Array, chosen: NDArray[np.bool_], values: Array) -> Array:
    every = every.copy()
    every[chosen] = values
    return every
