"""Normalised errors of stretches: right where errors are as claimed, and which stretches count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Array, OdometryResult, PoseStatus, RefinedMatches, RelativePose, TrackingState
from subpx_ros.evaluation.nees import stretches_nees
from subpx_ros.geometry import rotation_from_vector, se3

AHEAD = se3(rotation_from_vector(np.array([0.0, 0.03, 0.0])), np.array([0.0, 0.0, 0.8]))
DEVIATION = np.repeat([1e-3, 1e-4], 3)
INDEPENDENT = replace(OdometryConfig(), common_error_share=0.0)
NOTHING = np.zeros((0, 2))
EMPTY = RefinedMatches(NOTHING, NOTHING, NOTHING, NOTHING, np.zeros(0, dtype=np.float32))
FRAMES = 401


def result(number: int, T: Array) -> OdometryResult:
    pose = RelativePose(PoseStatus.OK, "", T, np.diag(DEVIATION**2), True)
    return OdometryResult(
        number,
        TrackingState.TRACKING,
        "",
        np.eye(4),
        np.eye(6),
        True,
        True,
        pose,
        number - 1,
        EMPTY,
        np.zeros((0, 3)),
        {},
        {},
    )


def drive(larger: float) -> tuple[list[OdometryResult], Array]:
    """Results whose errors are so many times as large as they say, and the truth."""
    rng = np.random.default_rng(0)
    truth = [np.eye(4)]
    results = [result(0, np.eye(4))]
    for number in range(1, FRAMES):
        error = larger * DEVIATION * rng.standard_normal(6)
        truth.append(truth[-1] @ AHEAD)
        results.append(result(number, se3(rotation_from_vector(error[3:]) @ AHEAD[:3, :3], AHEAD[:3, 3] + error[:3])))
    return results, np.array(truth)


@pytest.mark.parametrize("larger", [1.0, 2.0])
@pytest.mark.parametrize("length", [1, 5])
def test_it_is_one_where_errors_are_as_claimed(larger: float, length: int) -> None:
    values = stretches_nees(*drive(larger), length, INDEPENDENT)
    assert len(values) == (FRAMES - 1) // length
    low, high = chi2.ppf([0.001, 0.999], 6 * len(values)) / (6 * len(values))
    assert low < np.mean(values) / larger**2 < high


def test_stretches_with_a_frame_that_is_not_related_to_the_one_before_are_left_out() -> None:
    results, truth = drive(1.0)
    results[7] = replace(results[7], relative_pose=RelativePose(PoseStatus.LOST, "dark"))
    results[12] = replace(results[12], reference_stamp_ns=8)
    assert len(stretches_nees(results, truth, 5, INDEPENDENT)) == (FRAMES - 1) // 5 - 2


def test_a_drive_that_is_too_short_has_none() -> None:
    results, truth = drive(1.0)
    assert stretches_nees(results[:5], truth[:5], 5, INDEPENDENT).shape == (0,)
