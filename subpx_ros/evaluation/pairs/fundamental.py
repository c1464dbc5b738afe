"""Fundamental matrix: estimated without calibration, judged by the pose that it holds and by its epipolar lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subpx_ros.datasets.pairs.pair import ImagePair, PairSource, View
from subpx_ros.datatypes import Array, Camera
from subpx_ros.evaluation.bench_results import Cell
from subpx_ros.evaluation.estimators.essential import pose_from_essential
from subpx_ros.evaluation.estimators.estimator import Estimator
from subpx_ros.evaluation.pair_metrics import geometry_distance
from subpx_ros.evaluation.pairs.pose import (
    MATCH_COLUMNS,
    POSE_COLUMNS,
    check_posed,
    epipolar_figures,
    match_summary,
    pose_summary,
    posed,
)
from subpx_ros.evaluation.pairs.task import Figures, PairTask, errors_of, finite
from subpx_ros.evaluation.pose_auc import pose_error_deg
from subpx_ros.geometry import essential_matrix, sampson_distance

RECALL_LIMIT = 0.05
"""Geometry distance below which a matrix counts as found (Bian et al., BMVC 2019)."""


class FundamentalTask(PairTask):
    name = "fundamental matrix"
    error = "error_deg"
    error_label = "error of the pose in F (deg)"
    error_limit = 10.0
    match_columns = MATCH_COLUMNS
    model_columns = (*POSE_COLUMNS, "found (%)", "distance (%)")

    def check(self, pair: PairSource) -> None:
        check_posed(pair)

    def measure_matches(self, pair: ImagePair, points0: Array, points1: Array) -> Figures:
        return epipolar_figures(pair, points0, points1)

    def measure_model(self, pair: ImagePair, points0: Array, points1: Array, estimator: Estimator) -> Figures:
        camera0, camera1, truth = posed(pair)
        size0, size1 = image_size(pair.view0), image_size(pair.view1)
        F = estimator.fundamental(points0, points1, size0, size1)
        if F is None:
            return {"error_deg": None, "inliers": 0, "distance": None}
        E = camera1.matrix.T @ F @ camera0.matrix
        pose = pose_from_essential(E, camera0.normalise(points0), camera1.normalise(points1))
        inliers = np.abs(sampson_distance(F, points0, points1)) < estimator.threshold_px
        return {
            "error_deg": finite(pose_error_deg(pose, truth)),
            "inliers": int(np.count_nonzero(inliers)),
            "distance": geometry_distance(F, fundamental_matrix(truth, camera0, camera1), size0, size1),
        }

    def summarise_matches(self, matches: Sequence[Figures]) -> list[Cell]:
        return match_summary(matches)

    def summarise_models(self, matches: Sequence[Figures], models: Sequence[Figures]) -> list[Cell]:
        """Found are distances below `RECALL_LIMIT`; the median distance is in percent of the image diagonal."""
        distances = np.array(errors_of(models, "distance"))
        return [
            *pose_summary(matches, models),
            100.0 * float(np.mean(distances < RECALL_LIMIT)),
            finite(100.0 * float(np.median(distances))),
        ]


def fundamental_matrix(T_0_1: Array, camera0: Camera, camera1: Camera) -> Array:
    """F (3, 3) with x1' F x0 = 0 for pixels, of the pose of camera 1 in camera 0."""
    return np.linalg.inv(camera1.matrix).T @ essential_matrix(T_0_1) @ np.linalg.inv(camera0.matrix)


def image_size(view: View) -> tuple[int, int]:
    """(width, height) in pixels."""
    height, width = view.image.shape
    return width, height
