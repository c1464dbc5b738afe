"""Graph-Cut RANSAC (Barath and Matas, CVPR 2018) where the package pygcransac is installed; it cannot be seeded."""

from __future__ import annotations

from typing import Any

import numpy as np

from subpx_ros.config import PoseConfig
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import ConfigError
from subpx_ros.evaluation.estimators.essential import pose_from_essential
from subpx_ros.evaluation.estimators.estimator import Estimator

_UNIFORM_SAMPLER = 0
_LEAST_MATCHES = 8
"""It reads outside of its arrays with fewer."""


class GcRansacEstimator(Estimator):
    name = "gcransac"

    def __init__(self, config: PoseConfig) -> None:
        """Raises ConfigError where pygcransac is not installed."""
        super().__init__(config)
        try:
            import pygcransac
        except ImportError:
            raise ConfigError(
                "estimator 'gcransac' needs pygcransac: pip install 'subpx_ros[gcransac]', or choose poselib or magsac"
            ) from None
        self._library: Any = pygcransac

    def _relative_pose(self, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array | None:
        sizes = (camera0.height, camera0.width, camera1.height, camera1.width)
        E = self._find(
            self._library.findEssentialMatrix,
            points0,
            points1,
            (camera0.matrix, camera1.matrix, *sizes),
        )
        return None if E is None else pose_from_essential(E, camera0.normalise(points0), camera1.normalise(points1))

    def _fundamental(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        sizes = (*size0[::-1], *size1[::-1])
        find = self._library.findFundamentalMatrix
        return self._find(find, points0, points1, sizes)

    def _homography(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        sizes = (*size0[::-1], *size1[::-1])
        find = self._library.findHomography
        return self._find(find, points0, points1, sizes)

    def _find(self, find: Any, points0: Array, points1: Array, views: tuple[Any, ...]) -> Array | None:
        if len(points0) < _LEAST_MATCHES:
            return None
        model, _ = find(
            np.ascontiguousarray(np.hstack([points0, points1])),
            *views,
            [],
            threshold=self.threshold_px,
            conf=self._config.confidence,
            min_iters=self._config.min_iterations,
            max_iters=self._config.max_iterations,
            sampler=_UNIFORM_SAMPLER,
        )
        return None if model is None or np.shape(model) != (3, 3) else np.asarray(model)
