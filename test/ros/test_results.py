"""What a frame gave as messages, and when the odometry starts again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scene import PERIOD_NS, RIG, frame
from std_msgs.msg import Header

from subpx_ros.config import load_config
from subpx_ros.datatypes import (
    Frame,
    OdometryResult,
    PoseStatus,
    RefinedMatches,
    RelativePose,
    Rig,
    TrackingState,
)
from subpx_ros.errors import DataError
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.msg import OdometryStatus
from subpx_ros.msg import RelativePose as RelativePoseMessage
from subpx_ros.ros.messages import stamp_from_ns
from subpx_ros.ros.results import (
    Names,
    matches_message,
    pose_from_message,
    pose_message,
    relative_pose_message,
    status_message,
    transform_message,
)
from subpx_ros.ros.slot import Counts
from subpx_ros.ros.tracker import Tracker

POSE = se3(rotation_from_vector(np.array([0.1, -0.4, 2.8])), np.array([1.0, -2.0, 30.0]))
HEADER = Header(stamp=stamp_from_ns(5_000_000_000), frame_id="camera")


def result(relative: RelativePose, state: TrackingState = TrackingState.TRACKING) -> OdometryResult:
    points = np.arange(6.0).reshape(3, 2)
    matches = RefinedMatches(points, points + 10, points + 0.25, points + 9.5, np.array([0.5, 0.75, 1.0], np.float32))
    counts = {"keypoints": 7, "stereo_matches": 4, "matches": 3, "inliers": 2}
    return OdometryResult(
        5_000_000_000, state, POSE, np.eye(6), relative, 4_000_000_000, matches, counts, {"features": 1.5, "total": 2.5}
    )


GOOD = RelativePose(PoseStatus.OK, "", POSE, np.arange(36.0).reshape(6, 6), True, np.array([True, False, True]))


def test_matches_are_flat_with_their_offsets() -> None:
    message = matches_message(result(GOOD), HEADER, Names("a", "b", "c"))
    assert message.reference_keypoints.tolist() == [0.25, 1.25, 2.25, 3.25, 4.25, 5.25]
    assert message.current_offsets.tolist() == [-0.5] * 6 and message.reference_offsets.tolist() == [0.25] * 6
    assert message.scores.tolist() == [0.5, 0.75, 1.0] and message.inlier.tolist() == [1, 0, 1]
    assert (message.detector, message.matcher, message.refiner) == ("a", "b", "c")
    assert message.reference_stamp == stamp_from_ns(4_000_000_000)


def test_a_relative_pose_is_written_exactly() -> None:
    message = relative_pose_message(result(GOOD), HEADER)
    np.testing.assert_allclose(pose_from_message(message.pose.pose), POSE, atol=1e-15)
    assert message.pose.covariance.tolist() == list(range(36))
    assert (message.status, message.metric, message.matches, message.inliers) == (0, True, 3, 2)


@pytest.mark.parametrize("status", [status for status in PoseStatus if status is not PoseStatus.OK])
def test_without_a_pose_there_is_no_rotation_and_the_status_says_why(status: PoseStatus) -> None:
    message = relative_pose_message(result(RelativePose(status, "because")), HEADER)
    assert message.status == getattr(RelativePoseMessage, status.name) and message.reason == "because"
    position, orientation = message.pose.pose.position, message.pose.pose.orientation
    assert [position.x, position.y, position.z] == [0.0, 0.0, 0.0]
    assert [orientation.x, orientation.y, orientation.z, orientation.w] == [0.0, 0.0, 0.0, 0.0]
    assert message.pose.covariance[0] == -1.0
    assert np.isfinite(message.pose.covariance).all()


def test_status_counts_stages_and_time_since_the_last_good_pose() -> None:
    counts = Counts(received=9, processed=6, dropped=3)
    message = status_message(result(GOOD, TrackingState.LOST), HEADER, counts, "dark", 1.5)
    assert (message.state, message.reason, message.time_since_good_pose) == (OdometryStatus.LOST, "dark", 1.5)
    assert (message.frames_received, message.frames_processed, message.frames_dropped) == (9, 6, 3)
    assert (message.keypoints, message.stereo_matches, message.matches, message.inliers) == (7, 4, 3, 2)
    assert message.stage_names == ["features", "total"] and message.stage_milliseconds.tolist() == [1.5, 2.5]
    assert status_message(None, HEADER, counts, "", None).state == OdometryStatus.INITIALISING
    assert status_message(None, HEADER, counts, "", 1.0).state == OdometryStatus.LOST


def test_states_equal_the_constants_of_the_message() -> None:
    assert {state.name: state.value for state in TrackingState} == {
        name: getattr(OdometryStatus, name) for name in ("INITIALISING", "TRACKING", "DEGRADED", "LOST")
    }


@pytest.mark.parametrize("vector", [[0, 0, 0], [np.pi, 0, 0], [0, np.pi, 0], [0, 0, np.pi], [2.0, -2.0, 1.0]])
def test_poses_survive_the_way_through_a_message(vector: list[float]) -> None:
    pose = se3(rotation_from_vector(np.array(vector, dtype=float)), np.array([1e-9, -5.0, 1e6]))
    np.testing.assert_allclose(pose_from_message(pose_message(pose)), pose, atol=1e-15)
    transform = transform_message(pose, HEADER, "child")
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera", "child")
    assert transform.transform.translation.z == 1e6


@pytest.fixture
def tracker() -> Tracker:
    overrides = {
        "preset": "sift",
        "refiner": "none",
        "mode": "stereo",
        "threads": 1,
        "features": {"max_keypoints": 300},
    }
    return Tracker(load_config(overrides), lambda line: None)


def statuses(tracker: Tracker, *frames: Frame) -> list[tuple[PoseStatus, str]]:
    results = [tracker.process(each) for each in frames]
    return [(found.relative_pose.status, why) for found, why in results]


OK, FIRST = PoseStatus.OK, PoseStatus.NO_REFERENCE


def test_tracker_starts_again_on_request(tracker: Tracker) -> None:
    assert statuses(tracker, frame(0), frame(1)) == [(FIRST, ""), (OK, "")]
    tracker.ask_reset()
    assert statuses(tracker, frame(2), frame(3)) == [(FIRST, "reset on request"), (OK, "")]


def test_tracker_starts_again_when_time_goes_back(tracker: Tracker) -> None:
    again = statuses(tracker, frame(4), frame(5), frame(0), frame(1))
    assert again == [(FIRST, ""), (OK, ""), (FIRST, "started again: stamps went back by 0.500 s"), (OK, "")]


def test_tracker_refuses_a_repeated_stamp_and_goes_on(tracker: Tracker) -> None:
    tracker.process(frame(0))
    with pytest.raises(DataError, match="was there before"):
        tracker.process(frame(0))
    assert statuses(tracker, frame(1)) == [(OK, "")]


def test_tracker_starts_again_with_another_calibration(tracker: Tracker) -> None:
    other = Rig(replace(RIG.left, fx=250.0, fy=250.0), replace(RIG.left, fx=250.0, fy=250.0), 0.2)
    frames = [frame(0), frame(1), replace(frame(2), rig=other), replace(frame(3), rig=other)]
    found = statuses(tracker, *frames)
    assert [status for status, _ in found] == [FIRST, OK, FIRST, OK]
    assert found[2][1] == "started again: the calibration or the image size changed"
    assert frames[3].stamp_ns - frames[2].stamp_ns == PERIOD_NS
