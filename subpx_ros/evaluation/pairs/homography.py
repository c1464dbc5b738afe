"""Homography: error of the mapped corners, matching accuracy, localisation error of correct matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subpx_ros.datasets.pairs.pair import ImagePair, PairSource
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.evaluation.bench_results import Cell
from subpx_ros.evaluation.estimators.estimator import Estimator
from subpx_ros.evaluation.pair_metrics import corner_error, localisation_error, transfer_errors
from subpx_ros.evaluation.pairs.fundamental import image_size
from subpx_ros.evaluation.pairs.task import Figures, PairTask, errors_of, finite, mean, percent
from subpx_ros.evaluation.pose_auc import area_under_curve

LIMITS_PX = (1.0, 3.0, 5.0)


class HomographyTask(PairTask):
    name = "homography"
    error = "corner_px"
    error_label = "corner error (px)"
    error_limit = 5.0
    match_columns = ("matches per pair", *(f"MMA@{limit:.0f} px (%)" for limit in LIMITS_PX), "localisation (px)")
    model_columns = (*(f"AUC@{limit:.0f} px (%)" for limit in LIMITS_PX), "median corner (px)", "inliers (%)")

    def check(self, pair: PairSource) -> None:
        if pair.H_1_0 is None:
            raise DataError(f"{pair.name}: a true homography is required; use 'subpx bench pose' for this data")

    def measure_matches(self, pair: ImagePair, points0: Array, points1: Array) -> Figures:
        errors = transfer_errors(_truth(pair), points0, points1)
        within = {f"{limit:.0f}": float(np.mean(errors < limit)) if len(errors) else 0.0 for limit in LIMITS_PX}
        return {"count": len(points0), "within": within, "localisation_px": localisation_error(errors)}

    def measure_model(self, pair: ImagePair, points0: Array, points1: Array, estimator: Estimator) -> Figures:
        size0 = image_size(pair.view0)
        estimate = estimator.homography(points0, points1, size0, image_size(pair.view1))
        inliers = 0
        if estimate is not None:
            inliers = int(np.count_nonzero(transfer_errors(estimate, points0, points1) < estimator.threshold_px))
        return {"corner_px": finite(corner_error(estimate, _truth(pair), size0)), "inliers": inliers}

    def summarise_matches(self, matches: Sequence[Figures]) -> list[Cell]:
        """Matching accuracy is the mean over pairs of the share of matches, as in D2-Net."""
        shares = [mean([each["within"][f"{limit:.0f}"] for each in matches]) or 0.0 for limit in LIMITS_PX]
        return [
            mean([each["count"] for each in matches]),
            *percent(shares),
            mean([each["localisation_px"] for each in matches]),
        ]

    def summarise_models(self, matches: Sequence[Figures], models: Sequence[Figures]) -> list[Cell]:
        errors = errors_of(models, "corner_px")
        total = sum(each["count"] for each in matches)
        inliers = sum(each["inliers"] for each in models)
        return [
            *percent(area_under_curve(errors, LIMITS_PX)),
            finite(float(np.median(errors))),
            100.0 * inliers / total if total else None,
        ]


def _truth(pair: ImagePair) -> Array:
    assert pair.H_1_0 is not None
    return pair.H_1_0
