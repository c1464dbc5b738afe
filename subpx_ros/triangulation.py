"""Points from the disparity of a rectified stereo pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import homogeneous
from subpx_ros.surfaces import disparity_slopes

MINIMUM_DEPTH_M = 1e-3
_FARTHEST_BESIDE_PX = 3.0
"""Beyond it nobody knows whether the surface goes on."""


@dataclass(frozen=True)
class StereoPoints:
    """Pixels of points in a rectified pair."""

    left: Array
    """(M, 2) pixels in the left image."""
    disparity: Array
    """(M,) x in the left image minus x in the right one, pixels; NaN where the right image has no match."""
    covariance: Array | None = None
    """(M, 3, 3) px^2 of left x, left y and right x; None: independent noise of one size, which is not known."""

    def __post_init__(self) -> None:
        if self.left.shape != (len(self.disparity), 2):
            raise DataError(
                f"stereo points need pixels (M, 2) and disparities (M,); got {self.left.shape}, {self.disparity.shape}"
            )
        if self.covariance is not None and self.covariance.shape != (len(self.disparity), 3, 3):
            raise DataError(
                f"stereo points need covariances ({len(self.disparity)}, 3, 3); got {self.covariance.shape}"
            )

    def __getitem__(self, kept: NDArray[np.generic]) -> StereoPoints:
        """The points that a mask or an array of indices selects."""
        covariance = None if self.covariance is None else self.covariance[kept]
        return StereoPoints(self.left[kept], self.disparity[kept], covariance)


@dataclass(frozen=True)
class Disparities:
    """Disparities of the N features of a left image; NaN where the right image has no match."""

    px: Array
    """(N,)"""
    variance: Array | None = None
    """(N,) px^2; None where it is not known."""
    slope: Array | None = None
    """(N, 2) by how much the disparity grows with each pixel to the right, and down: what the surface does around the
    feature; None where it is not known."""

    @property
    def found(self) -> int:
        """How many features have one."""
        return int(np.count_nonzero(np.isfinite(self.px)))

    def require(self, indices: NDArray[np.intp], expected: Array | None = None) -> None:
        """Find those of the features with the given indices (K,), where they are only found when they are needed.

        `expected` (K,) are pixels where that is known to a pixel or two, NaN elsewhere; it saves a search.
        """

    def beside(self, indices: NDArray[np.intp], moved: Array) -> Array:
        """Disparities (M,) of the places that lie `moved` (M, 2) pixels beside the features with these indices (M,)."""
        if self.slope is None:
            return np.asarray(self.px[indices])
        near = np.abs(moved).max(axis=1, initial=0.0) <= _FARTHEST_BESIDE_PX
        change = np.einsum("mi,mi->m", self.slope[indices], np.nan_to_num(moved))
        return np.asarray(self.px[indices] + np.where(near, change, 0.0))

    def slopes(self, indices: NDArray[np.intp], pixels: Array) -> Array:
        """Slopes (M, 2) of the surfaces around features (M,), of all whose pixels are (N, 2); 0 where nothing is known."""
        if self.slope is None:
            return disparity_slopes(pixels, self.px, indices)
        return np.nan_to_num(self.slope[indices])

    def points(
        self, indices: NDArray[np.intp], left: Array, covariance: Array | None, moved: Array | None = None
    ) -> StereoPoints:
        """Matched features as stereo points.

        Args:
            indices: (M,) of the features.
            left: (M, 2) their pixels, which refinement may have moved.
            covariance: (M, 2, 2) px^2 of these pixels, where it is known.
            moved: (M, 2) pixels from where the disparities were measured to `left`; None: they are of `left` itself.
        """
        self.require(indices)
        disparity = self.px[indices] if moved is None else self.beside(indices, moved)
        if self.variance is None or covariance is None:
            return StereoPoints(left, disparity)
        return StereoPoints(left, disparity, stereo_covariance(covariance, self.variance[indices]))


def stereo_covariance(left: Array, disparity: Array) -> Array:
    """(M, 3, 3) px^2 of left x, left y and right x, the right point having been found from the left one.

    Args:
        left: (M, 2, 2) px^2 of the left points.
        disparity: (M,) px^2 of the disparities, independent of them; NaN where there is none.
    """
    covariance = np.empty((len(left), 3, 3))
    covariance[:, :2, :2] = left
    covariance[:, 2, :2] = covariance[:, :2, 2] = left[:, 0]
    covariance[:, 2, 2] = left[:, 0, 0] + disparity
    return covariance


def triangulate(points: StereoPoints, rig: Rig) -> Array:
    """Points (M, 3) of the left camera frame in metres; NaN where there is no positive disparity."""
    assert rig.right is not None and rig.baseline_m is not None
    disparity = points.disparity - (rig.left.cx - rig.right.cx)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(disparity > 0, rig.left.fx * rig.baseline_m / disparity, np.nan)
    return homogeneous(rig.left.normalise(points.left)) * depth[:, None]
