"""Accuracy of relative poses: the larger of rotation and direction error, and the area under its recall curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import angle_between, invert, rotation_angle

THRESHOLDS_DEG = (5.0, 10.0, 20.0)


def pose_error_deg(estimate: Array | None, truth: Array) -> float:
    """The larger of the angle of rotation and the angle between the translations, in degrees.

    Args:
        estimate: T_0_1 (4, 4), translation of any length; None for a pose that was not found.
        truth: T_0_1 (4, 4).

    Returns:
        Infinity where there is no estimate.
    """
    if estimate is None:
        return float("inf")
    rotation = rotation_angle((invert(estimate) @ truth)[:3, :3])
    direction = angle_between(estimate[:3, 3], truth[:3, 3])
    return float(np.degrees(max(rotation, direction)))


def area_under_curve(errors_deg: Sequence[float], thresholds_deg: Sequence[float] = THRESHOLDS_DEG) -> list[float]:
    """For every threshold the mean recall over errors from 0 to it, 0 to 1; recall rises linearly between errors."""
    errors = np.sort(np.asarray(errors_deg, dtype=np.float64))
    recall = np.arange(1, len(errors) + 1) / max(1, len(errors))
    areas = []
    for threshold in thresholds_deg:
        below = int(np.searchsorted(errors, threshold))
        x = np.concatenate([[0.0], errors[:below], [threshold]])
        y = np.concatenate([[0.0], recall[:below], [recall[below - 1] if below else 0.0]])
        areas.append(float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0) / threshold))
    return areas
