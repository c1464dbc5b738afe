"""A few frames without a pose are bridged with the motion before, never more, and never as if they were seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_street import CAMERA, config, small_street

from subpx_ros.datasets.street import StreetSequence
from subpx_ros.datatypes import Array, Frame, OdometryResult, Rig, TrackingState
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.velocity import UNKNOWN_VELOCITY, Velocimeter
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

KNOWN = 6
"""Frames after which the motion is known well enough."""
_, TRACKING, DEGRADED, LOST = TrackingState


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return small_street(frames=12)


@pytest.fixture(scope="module")
def frames(street: StreetSequence) -> list[Frame]:
    return list(street)


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(config())


def black(frame: Frame) -> Frame:
    dark = np.zeros_like(frame.image)
    return dataclasses.replace(frame, image=dark, right_image=None if frame.right_image is None else dark)


def run(front_end: FrontEnd, frames: list[Frame], **odometry: Any) -> list[OdometryResult]:
    made = VisualOdometry(config(**odometry), frames[0].rig, front_end=front_end)
    return [made.process(frame) for frame in frames]


def deviation(result: OdometryResult, truth: Array) -> float:
    """Standard deviations of the position from its truth."""
    error = result.T_odom_camera[:3, 3] - truth[:3, 3]
    return float(np.sqrt(error @ np.linalg.solve(result.covariance[:3, :3], error)))


def test_dark_frames_go_on_as_before_and_the_first_good_one_is_measured(
    front_end: FrontEnd, street: StreetSequence, frames: list[Frame]
) -> None:
    assert street.truth is not None
    dark = [black(frame) if KNOWN <= index < KNOWN + 3 else frame for index, frame in enumerate(frames)]
    results = run(front_end, dark)
    before, bridged, after = results[KNOWN - 1], results[KNOWN : KNOWN + 3], results[KNOWN + 3 :]
    for number, result in enumerate(bridged, start=1):
        assert result.state is DEGRADED and result.bridged and result.located
        assert result.reason.endswith(f": bridged with the motion before, frame {number} of 5")
        assert not result.relative_pose.ok and result.relative_pose.T_reference_current is None
        assert deviation(result, street.truth[KNOWN - 1 + number]) < 3.0
    spreads = [np.trace(result.covariance) for result in (before, *bridged)]
    assert np.all(np.diff(spreads) > 0) and spreads[-1] < 1.0
    assert after[0].state is TRACKING and not after[0].bridged
    assert after[0].reference_stamp_ns == before.stamp_ns
    assert np.trace(after[0].covariance) < spreads[1]
    assert np.linalg.norm(after[-1].T_odom_camera[:3, 3] - street.truth[-1, :3, 3]) < 0.05


@pytest.mark.parametrize("limit", [{"bridge_frames": 2}, {"max_gap_s": 0.25}], ids=["frames", "time"])
def test_beyond_the_bridge_it_is_lost_and_stays_put(
    front_end: FrontEnd, frames: list[Frame], limit: dict[str, Any]
) -> None:
    dark = [black(frame) if index >= KNOWN else frame for index, frame in enumerate(frames)]
    results = run(front_end, dark, **limit)[KNOWN:]
    assert [result.state for result in results[:2]] == [DEGRADED] * 2
    for result in results[2:]:
        assert result.state is LOST and not result.located and not result.bridged
        assert np.diag(result.covariance).min() >= UNKNOWN_VARIANCE
        assert np.array_equal(result.T_odom_camera, results[1].T_odom_camera)


def test_nothing_is_bridged_where_the_setting_says_so(front_end: FrontEnd, frames: list[Frame]) -> None:
    results = run(front_end, [*frames[:KNOWN], black(frames[KNOWN])], bridge_frames=0)
    assert results[-1].state is LOST
    assert np.array_equal(results[-1].T_odom_camera, results[-2].T_odom_camera)


def test_nothing_is_bridged_before_the_motion_is_known(front_end: FrontEnd, frames: list[Frame]) -> None:
    assert run(front_end, [*frames[:3], black(frames[3])])[-1].state is LOST


def test_one_camera_without_metres_is_not_bridged(front_end: FrontEnd, frames: list[Frame]) -> None:
    left = [Frame(frame.stamp_ns, frame.image, Rig(CAMERA)) for frame in frames[: KNOWN + 1]]
    results = run(front_end, [*left[:-1], black(left[-1])])
    assert results[-1].state is LOST and not results[-1].bridged


def test_a_camera_at_rest_is_bridged_at_rest(front_end: FrontEnd, frames: list[Frame]) -> None:
    still = [dataclasses.replace(frames[0], stamp_ns=100_000_000 * index) for index in range(KNOWN + 2)]
    results = run(front_end, [black(frame) if index == KNOWN else frame for index, frame in enumerate(still)])
    assert results[KNOWN].bridged and results[KNOWN + 1].state is TRACKING
    for result in results:
        np.testing.assert_allclose(result.T_odom_camera, np.eye(4), atol=1e-6)


def test_a_bridged_frame_has_no_velocity(front_end: FrontEnd, frames: list[Frame]) -> None:
    velocimeter = Velocimeter()
    results = run(front_end, [*frames[:KNOWN], black(frames[KNOWN])])
    velocities = [velocimeter.update(result) for result in results]
    assert velocities[-2] is not UNKNOWN_VELOCITY and velocities[-1] is UNKNOWN_VELOCITY
