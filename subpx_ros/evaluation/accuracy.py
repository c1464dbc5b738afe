"""All accuracy figures of one trajectory as plain values, ready for JSON: None where a figure does not exist."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.metrics import (
    KITTI_PERIOD_S,
    Drift,
    absolute_error,
    kitti_drift,
    per_frame_errors,
    relative_errors,
    rescaled,
)


def accuracy(estimate: Array, truth: Array, align_scale: bool, period_s: float = KITTI_PERIOD_S) -> dict[str, Any]:
    """`drift`, `ate_m`, `rpe` and `per_frame` of poses (N, 4, 4) of the same frames.

    Args:
        estimate: T_world_camera, any world.
        truth: T_world_camera, metres, any world.
        align_scale: bring the estimate to the scale of the truth first, for trajectories that are not metric;
            `drift` then says `scale_aligned`. An estimate without motion has no scale: its metric figures are None.
        period_s: seconds per frame, for the speeds of the drift.
    """
    per_frame = per_frame_errors(estimate, truth)
    scaled = rescaled(estimate, truth) if align_scale else estimate
    drift: Drift | None = None
    ate: float | None = None
    translations, rotations = np.zeros(0), relative_errors(estimate, truth)[1]
    if scaled is not None:
        drift = kitti_drift(scaled, truth, period_s)
        ate = absolute_error(scaled, truth)
        translations = relative_errors(scaled, truth)[0]
    return {
        "drift": _drift_mapping(drift, align_scale),
        "ate_m": ate,
        "rpe": {
            "t_m_median": _median(translations),
            "t_m_rmse": _root_mean_square(translations),
            "r_deg_median": _median(rotations),
            "r_deg_rmse": _root_mean_square(rotations),
        },
        "per_frame": {
            "rotation_deg_median": _finite(per_frame.rotation_deg),
            "direction_deg_median": _finite(per_frame.direction_deg),
            "directions": per_frame.directions,
        },
    }


def _drift_mapping(drift: Drift | None, scale_aligned: bool) -> dict[str, Any] | None:
    if drift is None:
        return None
    return {
        "t_percent": drift.t_percent,
        "r_deg_per_100m": drift.r_deg_per_100m,
        "lengths_m": drift.lengths_m,
        "scale_aligned": scale_aligned,
        "per_length": [asdict(each) for each in drift.per_length],
        "per_speed": [asdict(each) for each in drift.per_speed],
    }


def _median(values: Array) -> float | None:
    return float(np.median(values)) if len(values) else None


def _root_mean_square(values: Array) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
