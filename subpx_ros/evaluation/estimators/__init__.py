"""Robust estimators to compare. A new one is a file in this folder, a line in the table and its name in `ESTIMATORS`."""

from __future__ import annotations

from importlib import import_module

from subpx_ros.config import PoseConfig
from subpx_ros.evaluation.estimators.estimator import Estimator

_TABLE = {
    "poselib": "subpx_ros.evaluation.estimators.poselib_estimator:PoseLibEstimator",
    "magsac": "subpx_ros.evaluation.estimators.magsac:MagsacEstimator",
    "gcransac": "subpx_ros.evaluation.estimators.gcransac:GcRansacEstimator",
}


def create_estimator(name: str, config: PoseConfig) -> Estimator:
    """The estimator of a name in `bench_config.ESTIMATORS`. Raises ConfigError where it is not installed."""
    module, kind = _TABLE[name].split(":")
    estimator: Estimator = getattr(import_module(module), kind)(config)
    return estimator
