"""What every robust estimator offers: a model of two views from matches of which some are wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from subpx_ros.config import PoseConfig
from subpx_ros.datatypes import Array, Camera

_LEAST = {"relative_pose": 5, "fundamental": 8, "homography": 4}


class Estimator(ABC):
    """Keeps no state between pairs. None stands for a model that was not found."""

    name: str

    def __init__(self, config: PoseConfig) -> None:
        """Of the settings it takes the epipolar threshold, for every model, the confidence, the iterations and the seed."""
        self._config = config
        self.threshold_px = config.epipolar_threshold_px

    def relative_pose(self, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array | None:
        """T_0_1 (4, 4) with a translation of unit length, from matched pixels (M, 2)."""
        if len(points0) < _LEAST["relative_pose"]:
            return None
        T_0_1 = _finite(self._relative_pose(points0, points1, camera0, camera1))
        if T_0_1 is None or not np.any(T_0_1[:3, 3]):
            return None
        T_0_1[:3, 3] /= np.linalg.norm(T_0_1[:3, 3])
        return T_0_1

    def fundamental(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        """F (3, 3) with x1' F x0 = 0, from matched pixels (M, 2) of images of (width, height)."""
        if len(points0) < _LEAST["fundamental"]:
            return None
        return _finite(self._fundamental(points0, points1, size0, size1))

    def homography(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        """H (3, 3) from pixels of image 0 to pixels of image 1, from matched pixels (M, 2) of images of (width, height)."""
        if len(points0) < _LEAST["homography"]:
            return None
        return _finite(self._homography(points0, points1, size0, size1))

    @abstractmethod
    def _relative_pose(self, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array | None: ...

    @abstractmethod
    def _fundamental(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None: ...

    @abstractmethod
    def _homography(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None: ...


def _finite(model: NDArray[np.floating] | None) -> Array | None:
    """A model of finite numbers that are not all zero."""
    if model is None or not np.all(np.isfinite(model)) or not np.any(model):
        return None
    return np.asarray(model, dtype=np.float64)
