"""Relative pose: the larger of rotation and direction error, its area under the recall curve, and mAA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.pairs.pair import ImagePair, PairSource
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError
from subpx_ros.evaluation.bench_results import Cell
from subpx_ros.evaluation.estimators.estimator import Estimator
from subpx_ros.evaluation.pair_metrics import mean_average_accuracy
from subpx_ros.evaluation.pairs.task import Figures, PairTask, errors_of, finite, percent
from subpx_ros.evaluation.pose_auc import THRESHOLDS_DEG, area_under_curve, pose_error_deg
from subpx_ros.geometry import essential_matrix, invert, sampson_distance

ACCURATE_PX = 1.0
"""Epipolar distance under the true pose that a match counts as accurate below."""
MATCH_COLUMNS = ("matches per pair", f"within {ACCURATE_PX:.0f} px (%)")
POSE_COLUMNS = (*(f"AUC@{limit:.0f} (%)" for limit in THRESHOLDS_DEG), "mAA@10 (%)", "median (deg)", "inliers (%)")


class PoseTask(PairTask):
    name = "relative pose"
    error = "error_deg"
    error_label = "pose error (deg)"
    error_limit = 10.0
    match_columns = MATCH_COLUMNS
    model_columns = POSE_COLUMNS

    def check(self, pair: PairSource) -> None:
        check_posed(pair)

    def measure_matches(self, pair: ImagePair, points0: Array, points1: Array) -> Figures:
        return epipolar_figures(pair, points0, points1)

    def measure_model(self, pair: ImagePair, points0: Array, points1: Array, estimator: Estimator) -> Figures:
        camera0, camera1, truth = posed(pair)
        estimate = estimator.relative_pose(points0, points1, camera0, camera1)
        inliers = 0
        if estimate is not None:
            inliers = _count(epipolar_px(estimate, points0, points1, camera0, camera1) < estimator.threshold_px)
        return {"error_deg": finite(pose_error_deg(estimate, truth)), "inliers": inliers}

    def summarise_matches(self, matches: Sequence[Figures]) -> list[Cell]:
        return match_summary(matches)

    def summarise_models(self, matches: Sequence[Figures], models: Sequence[Figures]) -> list[Cell]:
        return pose_summary(matches, models)


def check_posed(pair: PairSource) -> None:
    """Raises DataError for a pair without cameras or true pose."""
    if pair.T_1_0 is None or pair.view0.camera_of is None or pair.view1.camera_of is None:
        raise DataError(
            f"{pair.name}: cameras and a true pose are required; use 'subpx bench homography' for this data"
        )


def posed(pair: ImagePair) -> tuple[Camera, Camera, Array]:
    """Both cameras and T_0_1 of a pair that passed `check_posed`."""
    camera0, camera1 = pair.view0.camera, pair.view1.camera
    assert camera0 is not None and camera1 is not None and pair.T_1_0 is not None
    return camera0, camera1, invert(pair.T_1_0)


def epipolar_px(T_0_1: Array, points0: Array, points1: Array, camera0: Camera, camera1: Camera) -> Array:
    """Sampson distances (M,) of matched pixels (M, 2) under a pose, in pixels of a mean focal length."""
    pixels_per_unit = (camera0.fx + camera0.fy + camera1.fx + camera1.fy) / 4.0
    rays0, rays1 = camera0.normalise(points0), camera1.normalise(points1)
    return pixels_per_unit * np.abs(sampson_distance(essential_matrix(T_0_1), rays0, rays1))


def epipolar_figures(pair: ImagePair, points0: Array, points1: Array) -> Figures:
    """How many matches there are, and the share that lies within `ACCURATE_PX` of the true epipolar geometry."""
    camera0, camera1, truth = posed(pair)
    distances = epipolar_px(truth, points0, points1, camera0, camera1)
    return {"count": len(points0), "accurate": _count(distances < ACCURATE_PX)}


def match_summary(matches: Sequence[Figures]) -> list[Cell]:
    """`MATCH_COLUMNS` over pairs; the share is of all matches."""
    total = sum(each["count"] for each in matches)
    accurate = sum(each["accurate"] for each in matches)
    return [total / len(matches), 100.0 * accurate / total if total else None]


def pose_summary(matches: Sequence[Figures], models: Sequence[Figures]) -> list[Cell]:
    """`POSE_COLUMNS` over pairs, from `error_deg` and `inliers`; inliers are a share of all matches."""
    errors = errors_of(models, "error_deg")
    total = sum(each["count"] for each in matches)
    inliers = sum(each["inliers"] for each in models)
    return [
        *percent(area_under_curve(errors)),
        100.0 * mean_average_accuracy(errors),
        finite(float(np.median(errors))),
        100.0 * inliers / total if total else None,
    ]


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
