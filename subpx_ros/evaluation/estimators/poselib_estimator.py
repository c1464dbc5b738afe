"""PoseLib's LO-RANSAC with non-linear refinement (Larsson et al.)."""

from __future__ import annotations

from typing import Any

import poselib

from subpx_ros.datatypes import Array, Camera
from subpx_ros.evaluation.estimators.estimator import Estimator
from subpx_ros.pose import ransac_mono, ransac_options


class PoseLibEstimator(Estimator):
    name = "poselib"

    def _relative_pose(self, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array | None:
        found = ransac_mono(points0, points1, camera0, camera1, self._config)
        return None if found is None else found[0]

    def _fundamental(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        options = ransac_options(self._config) | {"max_epipolar_error": self.threshold_px}
        model, info = poselib.estimate_fundamental(points0, points1, options)
        return _unless_empty(model, info)

    def _homography(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        options = ransac_options(self._config) | {"max_reproj_error": self.threshold_px}
        model, info = poselib.estimate_homography(points0, points1, options)
        return _unless_empty(model, info)


def _unless_empty(model: Any, info: dict[str, Any]) -> Array | None:
    """PoseLib gives an identity where it finds nothing."""
    return model if info["num_inliers"] > 0 else None
