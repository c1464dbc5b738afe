"""Points from the disparity of a rectified stereo pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import homogeneous

MINIMUM_DEPTH_M = 1e-3


@dataclass(frozen=True)
class StereoPoints:
    """Pixels of points in a rectified pair."""

    left: Array
    """(M, 2) pixels in the left image."""
    disparity: Array
    """(M,) x in the left image minus x in the right one, pixels; NaN where the right image has no match."""

    def __post_init__(self) -> None:
        if self.left.shape != (len(self.disparity), 2):
            raise DataError(
                f"stereo points need pixels (M, 2) and disparities (M,); got {self.left.shape}, {self.disparity.shape}"
            )

    def __getitem__(self, kept: NDArray[np.generic]) -> StereoPoints:
        """The points that a mask or an array of indices selects."""
        return StereoPoints(self.left[kept], self.disparity[kept])


def triangulate(points: StereoPoints, rig: Rig) -> Array:
    """Points (M, 3) of the left camera frame in metres; NaN where there is no positive disparity."""
    assert rig.right is not None and rig.baseline_m is not None
    disparity = points.disparity - (rig.left.cx - rig.right.cx)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(disparity > 0, rig.left.fx * rig.baseline_m / disparity, np.nan)
    return homogeneous(rig.left.normalise(points.left)) * depth[:, None]
