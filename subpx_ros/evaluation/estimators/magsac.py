"""OpenCV's USAC with the MAGSAC++ score and sigma-consensus (Barath et al., CVPR 2020), as its USAC_MAGSAC sets it up."""

from __future__ import annotations

from typing import Any

import cv2

from subpx_ros.datatypes import Array, Camera
from subpx_ros.evaluation.estimators.essential import pose_from_essential
from subpx_ros.evaluation.estimators.estimator import Estimator

_LO_ITERATIONS, _LO_SAMPLE = 10, 50


class MagsacEstimator(Estimator):
    name = "magsac"

    def _relative_pose(self, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array | None:
        matrices = camera0.matrix, camera1.matrix
        E = _matrix(cv2.findEssentialMat(points0, points1, *matrices, None, None, self._parameters()))
        return None if E is None else pose_from_essential(E, camera0.normalise(points0), camera1.normalise(points1))

    def _fundamental(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        return _matrix(cv2.findFundamentalMat(points0, points1, self._parameters()))

    def _homography(
        self, points0: Array, points1: Array, size0: tuple[int, int], size1: tuple[int, int]
    ) -> Array | None:
        return _matrix(cv2.findHomography(points0, points1, self._parameters()))

    def _parameters(self) -> Any:
        parameters: Any = cv2.UsacParams()
        parameters.threshold = self.threshold_px
        parameters.confidence = self._config.confidence
        parameters.maxIterations = self._config.max_iterations
        parameters.randomGeneratorState = self._config.seed
        parameters.sampler = cv2.SAMPLING_UNIFORM
        parameters.score = cv2.SCORE_METHOD_MAGSAC
        parameters.loMethod = cv2.LOCAL_OPTIM_SIGMA
        parameters.loIterations, parameters.loSampleSize = _LO_ITERATIONS, _LO_SAMPLE
        parameters.isParallel = False
        return parameters


def _matrix(found: Any) -> Array | None:
    """The model of OpenCV's (model, mask); it may be None or several stacked ones, which is none."""
    model, _ = found
    return model if model is not None and model.shape == (3, 3) else None
