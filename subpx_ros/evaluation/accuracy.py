"""All accuracy figures of one trajectory as plain values, ready for JSON: None where a figure does not exist."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.metrics import Drift, absolute_error, kitti_drift, per_frame_errors, relative_errors, rescaled


def accuracy(estimate: Array, truth: Array, align_scale: bool) -> dict[str, Any]:
    """`drift`, `ate_m`, `rpe` and `per_frame` of poses (N, 4, 4) of the same frames.

    Args:
        estimate: T_world_camera, any world.
        truth: T_world_camera, metres, any world.
        align_scale: bring the estimate to the scale of the truth first, for trajectories that are not metric;
            `drift` then says `scale_aligned`. An estimate without motion has no scale: its metric figures are None.
    """
    per_frame = per_frame_errors(estimate, truth)
    scaled = rescaled(estimate, truth) if align_scale else estimate
    drift: Drift | None = None
    ate = translation_rpe = None
    rotation_rpe = relative_errors(estimate, truth)[1]
    if scaled is not None:
        drift = kitti_drift(scaled, truth)
        ate = absolute_error(scaled, truth)
        translation_rpe = _median(relative_errors(scaled, truth)[0])
    return {
        "drift": _drift_mapping(drift, align_scale),
        "ate_m": ate,
        "rpe": {"t_m_median": translation_rpe, "r_deg_median": _median(rotation_rpe)},
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
        "per_length": [
            {
                "length_m": each.length_m,
                "t_percent": each.t_percent,
                "r_deg_per_100m": each.r_deg_per_100m,
                "segments": each.segments,
            }
            for each in drift.per_length
        ],
    }


def _median(values: Array) -> float | None:
    return float(np.median(values)) if len(values) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
