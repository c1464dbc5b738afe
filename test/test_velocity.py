"""Velocity from consecutive results, against hand-computed motions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.datatypes import OdometryResult, PoseStatus, RefinedMatches, RelativePose, TrackingState
from subpx_ros.geometry import invert, logarithm, rotation_from_vector, se3
from subpx_ros.velocity import Velocimeter, Velocity
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

Array = NDArray[np.float64]

SPREAD = np.diag([1.0, 4.0, 9.0, 0.1, 0.2, 0.3]) * 1e-4
TENTH_NS = 100_000_000


def pose(angle: float, x: float, y: float = 0.0) -> Array:
    return se3(rotation_from_vector(np.array([0.0, angle, 0.0])), np.array([x, y, 0.0]))


def result(
    tenths: int,
    T: Array,
    reference: int | None,
    T_reference: Array | None = None,
    *,
    metric: bool = True,
    located: bool = True,
) -> OdometryResult:
    """At `tenths` of a second; `T_reference` is the pose of the frame at `reference` tenths."""
    none = np.zeros((0, 2))
    if T_reference is None:
        relative = RelativePose(PoseStatus.FEW_MATCHES, "because")
    else:
        relative = RelativePose(PoseStatus.OK, "", invert(T_reference) @ T, SPREAD, metric)
    return OdometryResult(
        stamp_ns=tenths * TENTH_NS,
        state=TrackingState.TRACKING if located else TrackingState.LOST,
        reason="",
        T_odom_camera=T,
        covariance=np.eye(6),
        located=located,
        metric=metric,
        relative_pose=relative,
        reference_stamp_ns=None if reference is None else reference * TENTH_NS,
        matches=RefinedMatches(none, none, none, none, np.zeros(0, dtype=np.float32)),
        points=np.zeros((0, 3)),
        counts={},
        stage_ms={"total": 1.0},
    )


def velocity_after(*results: OdometryResult) -> Velocity:
    meter = Velocimeter()
    return [meter.update(each) for each in results][-1]


def is_unknown(velocity: Velocity) -> bool:
    return not velocity.twist.any() and np.array_equal(velocity.covariance, UNKNOWN_VARIANCE * np.eye(6))


def test_forward_motion() -> None:
    first, second = pose(0.0, 5.0), pose(0.0, 5.2)
    found = velocity_after(result(0, first, None), result(2, second, 0, first))
    np.testing.assert_allclose(found.twist, [1.0, 0, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.covariance, SPREAD / 0.04, atol=1e-15)


def test_what_a_window_learns_of_the_past_is_no_motion() -> None:
    """The frame before is now known to have been 5 cm behind where it was published."""
    first, mended, second = pose(0.0, 5.0), pose(0.0, 4.95), pose(0.0, 5.15)
    found = velocity_after(result(0, first, None), result(2, second, 0, mended))
    np.testing.assert_allclose(found.twist, [1.0, 0, 0, 0, 0, 0], atol=1e-12)


def test_a_pose_that_stays_has_no_velocity_whatever_was_measured() -> None:
    here, trembled = pose(0.0, 5.0), pose(0.0, 4.999)
    assert not velocity_after(result(0, here, None), result(1, here, 0, trembled)).twist.any()


@pytest.mark.parametrize("rate", [1e-5, 0.3, 20.0])
def test_a_circle_has_constant_velocity_along_its_tangent(rate: float) -> None:
    """Optical axes: turning about y (down) by `rate` rad/s at 2 m/s along z."""
    step = 0.1 * rate
    radius = 2.0 / rate
    moved = se3(
        rotation_from_vector(np.array([0.0, step, 0.0])),
        np.array([radius * (1.0 - np.cos(step)), 0.0, radius * np.sin(step)]),
    )
    start = pose(0.7, 3.0, -1.0)
    found = velocity_after(result(0, start, None), result(1, start @ moved, 0, start))
    np.testing.assert_allclose(found.twist, [0, 0, 2.0, 0, rate, 0], atol=1e-6)


def test_frames_that_share_a_reference_add_their_errors_in_the_axes_of_the_first() -> None:
    reference, first, second = pose(0.0, 0.0), pose(np.pi / 2, 1.0), pose(np.pi / 2, 2.0)
    found = velocity_after(result(1, first, 0, reference), result(2, second, 0, reference))
    # A quarter turn about y: what was x is now z.
    np.testing.assert_allclose(found.twist, [0, 0, 10.0, 0, 0, 0], atol=1e-9)
    expected = 2.0 * np.diag([9.0, 4.0, 1.0, 0.3, 0.2, 0.1]) * 1e-4 / 0.01
    np.testing.assert_allclose(found.covariance, expected, atol=1e-12)


def test_one_camera_knows_how_fast_it_turns_but_not_how_fast_it_moves() -> None:
    first, second = pose(0.0, 0.0), pose(0.02, 1.0)
    found = velocity_after(result(0, first, None, metric=False), result(1, second, 0, first, metric=False))
    np.testing.assert_allclose(found.twist, [0, 0, 0, 0, 0.2, 0], atol=1e-12)
    expected = SPREAD / 0.01
    expected[:3, :3] = UNKNOWN_VARIANCE * np.eye(3)
    np.testing.assert_allclose(found.covariance, expected)


def test_without_two_located_frames_it_is_unknown() -> None:
    here, there = pose(0.0, 0.0), pose(0.0, 1.0)
    good, next_good = result(1, here, 0, here), result(2, there, 1, here)
    lost = result(1, here, 0, located=False)
    assert is_unknown(velocity_after(good))
    assert is_unknown(velocity_after(lost, result(2, there, 0, here)))
    assert is_unknown(velocity_after(good, lost))
    assert is_unknown(velocity_after(good, result(2, there, 0)))
    assert is_unknown(velocity_after(result(1, here, -5, here), result(2, there, 0, here)))
    assert not is_unknown(velocity_after(good, next_good))


def test_equal_stamps_and_time_that_goes_back_divide_by_nothing() -> None:
    here, there = pose(0.0, 0.0), pose(0.0, 1.0)
    for tenths in (1, 0):
        assert is_unknown(velocity_after(result(1, here, 0, here), result(tenths, there, 1, here)))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 9e-5, 1.1e-4, 1.0, 3.1])
def test_logarithm_inverts_the_exponential(angle: float) -> None:
    """The exponential by many small steps of constant velocity."""
    twist = np.array([0.3, -1.0, 2.0, *(angle * np.array([2.0, -1.0, 2.0]) / 3.0)])
    steps = 2**20
    small = se3(rotation_from_vector(twist[3:] / steps), twist[:3] / steps)
    moved = np.linalg.matrix_power(small, steps)
    np.testing.assert_allclose(logarithm(moved), twist, atol=1e-5)
