"""Disparities of the features that are asked for: patch search along the row, then least-squares matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Array, Features
from subpx_ros.matching.patch_search import PatchSearch
from subpx_ros.parallel import one_thread_an_operation
from subpx_ros.refinement.least_squares import left_image, match_least_squares, right_image
from subpx_ros.refinement.patches import PatchSource
from subpx_ros.surfaces import disparity_slopes
from subpx_ros.triangulation import Disparities

_MOST_MOVED_PX = 2.0
"""What least-squares matching moves farther than the search can be wrong has found something else."""


@dataclass(frozen=True)
class SearchedDisparities(Disparities):
    """Disparities that are found when somebody needs them; NaN, too, for features that nobody asked for yet."""

    search: Callable[[NDArray[np.intp], Array], Disparities] | None = None
    """Those of the features with the given indices (K,), where they are expected (K,), NaN where nothing is."""
    asked: NDArray[np.bool_] | None = None
    """(N,)"""
    pixels: Array | None = None
    """(N, 2) of the features."""

    def require(self, indices: NDArray[np.intp], expected: Array | None = None) -> None:
        assert self.asked is not None and self.search is not None and self.variance is not None
        assert self.slope is not None and self.pixels is not None
        new, first = np.unique(indices, return_index=True)
        unasked = ~self.asked[new]
        new, first = new[unasked], first[unasked]
        if len(new):
            found = self.search(new, np.full(len(new), np.nan) if expected is None else expected[first])
            self.px[new], self.variance[new] = found.px, found.variance
            self.slope[new] = disparity_slopes(self.pixels, self.px, new, found.slope)
            self.asked[new] = True


def searched_disparities(
    left: Features, right: NDArray[np.uint8], principal_offset_px: float, config: MatchingConfig
) -> SearchedDisparities:
    """Disparities of left features in the right image.

    Args:
        left: features with their image.
        right: (H, W) uint8 grey, rectified with the left image.
        principal_offset_px: cx of the left camera minus cx of the right one.
        config: range of disparities and largest difference of rows.
    """
    image = torch.from_numpy(right).to(left.image.device).float().div_(255.0)

    @cache
    def pair() -> tuple[PatchSearch, PatchSource, torch.Tensor]:
        searched = PatchSearch(left.image, image, principal_offset_px, config)
        return searched, left_image(left.image), right_image(image)

    def search(indices: NDArray[np.intp], expected: Array) -> Disparities:
        # Hundreds of small operations: waking a second thread for each costs more than it helps.
        with torch.inference_mode(), one_thread_an_operation():
            keypoints = left.keypoints.index_select(0, torch.from_numpy(indices).to(left.keypoints.device))
            guesses = torch.from_numpy(expected.astype(np.float32)).to(keypoints.device)
            found = _measured(*pair(), config.max_row_difference_px, keypoints, guesses)
            disparity, variance, *slope = found.cpu().numpy().astype(np.float64)
        return Disparities(disparity, variance, np.stack(slope, axis=1))

    unknown = np.full(len(left), np.nan)
    slope, asked = np.zeros((len(left), 2)), np.zeros(len(left), dtype=bool)
    return SearchedDisparities(unknown, unknown.copy(), slope, search, asked, left.places)


def _measured(
    pair: PatchSearch,
    left: PatchSource,
    right: torch.Tensor,
    max_row_difference_px: float,
    keypoints: torch.Tensor,
    expected: torch.Tensor,
) -> torch.Tensor:
    """Disparities, their variances and their slopes along the row and down (4, N), NaN where there is none."""
    searched = pair.find(keypoints, expected)
    shown = keypoints[searched.indices]
    matched = match_least_squares(left, right, shown, searched.places)
    places = matched.places
    good = (places - searched.places).abs().amax(dim=1) <= _MOST_MOVED_PX
    good &= (places[:, 1] - shown[:, 1]).abs() <= max_row_difference_px
    found = torch.stack([shown[:, 0] - places[:, 0], matched.covariance[:, 0, 0], *matched.slope.T])
    every = found.new_full((len(found), len(keypoints)), torch.nan)
    every[:, searched.indices] = torch.where(good, found, torch.nan)
    return every
