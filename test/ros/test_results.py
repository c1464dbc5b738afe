"""What a frame gave as messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from std_msgs.msg import Header

from subpx_ros.datatypes import OdometryResult, PoseStatus, RefinedMatches, RelativePose, TrackingState
from subpx_ros.frames import T_BODY_OPTICAL
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.msg import OdometryStatus
from subpx_ros.msg import RelativePose as RelativePoseMessage
from subpx_ros.ros.landmarks import landmarks_message
from subpx_ros.ros.match_image import colour_image_message, jpeg_message
from subpx_ros.ros.messages import stamp_from_ns
from subpx_ros.ros.results import (
    Account,
    Names,
    matches_message,
    odometry_message,
    pose_from_message,
    pose_message,
    relative_pose_message,
    status_message,
    transform_message,
)
from subpx_ros.ros.slot import Counts
from subpx_ros.velocity import Velocity
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

POSE = se3(rotation_from_vector(np.array([0.1, -0.4, 2.8])), np.array([1.0, -2.0, 30.0]))
HEADER = Header(stamp=stamp_from_ns(5_000_000_000), frame_id="camera")


def result(relative: RelativePose, state: TrackingState = TrackingState.TRACKING, **changes: Any) -> OdometryResult:
    points = np.arange(6.0).reshape(3, 2)
    matches = RefinedMatches(points, points + 10, points + 0.25, points + 9.5, np.array([0.5, 0.75, 1.0], np.float32))
    made = OdometryResult(
        stamp_ns=5_000_000_000,
        state=state,
        reason=relative.reason,
        T_odom_camera=POSE,
        covariance=np.eye(6),
        located=state is not TrackingState.LOST,
        metric=True,
        relative_pose=relative,
        reference_stamp_ns=4_000_000_000,
        matches=matches,
        points=np.array([[1.0, 2.0, 10.0], [0.0, 0.0, 20.0], [np.nan, np.nan, np.nan]]),
        counts={"keypoints": 7, "stereo_matches": 4, "matches": 3, "inliers": 2},
        stage_ms={"features": 1.5, "total": 2.5},
    )
    return replace(made, **changes)


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


def test_status_counts_stages_and_times() -> None:
    counts = Counts(received=9, processed=6, dropped=3)
    account = Account(TrackingState.LOST, "dark", counts, 1.5, 3_500_000_000)
    message = status_message(HEADER, account, result(GOOD, TrackingState.LOST))
    assert (message.state, message.reason, message.time_since_good_pose) == (OdometryStatus.LOST, "dark", 1.5)
    assert message.last_good_stamp == stamp_from_ns(3_500_000_000)
    assert (message.frames_received, message.frames_processed, message.frames_dropped) == (9, 6, 3)
    assert (message.keypoints, message.stereo_matches, message.matches, message.inliers) == (7, 4, 3, 2)
    assert message.stage_names == ["features", "total"] and message.stage_milliseconds.tolist() == [1.5, 2.5]


def test_status_without_a_frame_says_so() -> None:
    message = status_message(HEADER, Account(TrackingState.INITIALISING, "nothing received", Counts()))
    assert (message.state, message.reason) == (OdometryStatus.INITIALISING, "nothing received")
    assert (message.time_since_good_pose, message.sync_difference, message.latency) == (-1.0, -1.0, -1.0)
    assert not message.stage_names and message.last_good_stamp == stamp_from_ns(0)


def odometry(found: OdometryResult) -> tuple[NDArray[np.float64], NDArray[np.float64], Odometry]:
    """Covariance of pose, and of twist, both (6, 6), and the message; the camera sits in the base, looking forward."""
    velocity = Velocity(np.arange(1.0, 7.0), np.diag(np.arange(1.0, 7.0)))
    message = odometry_message(found, found.T_odom_camera, T_BODY_OPTICAL, velocity, HEADER, "robot")
    return message.pose.covariance.reshape(6, 6), message.twist.covariance.reshape(6, 6), message


def test_odometry_has_pose_twist_and_their_covariances() -> None:
    spread, twist_spread, message = odometry(result(GOOD, covariance=np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])))
    assert (message.header.frame_id, message.child_frame_id) == ("camera", "robot")
    np.testing.assert_allclose(pose_from_message(message.pose.pose), POSE, atol=1e-12)
    # Forward is the camera's z, left its -x, up its -y.
    np.testing.assert_allclose(spread, np.diag([3.0, 1.0, 2.0, 6.0, 4.0, 5.0]), atol=1e-12)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    assert [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert np.diag(twist_spread).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_odometry_that_is_not_located_knows_nothing() -> None:
    spread, _, _ = odometry(result(GOOD, located=False))
    np.testing.assert_array_equal(spread, UNKNOWN_VARIANCE * np.eye(6))


def test_odometry_of_one_camera_knows_its_rotation_only() -> None:
    spread, _, _ = odometry(result(GOOD, metric=False, covariance=np.full((6, 6), 0.5) + np.eye(6)))
    np.testing.assert_array_equal(spread[:3], np.hstack([UNKNOWN_VARIANCE * np.eye(3), np.zeros((3, 3))]))
    np.testing.assert_array_equal(spread[3:, :3], np.zeros((3, 3)))
    np.testing.assert_allclose(np.diag(spread)[3:], 1.5)


def test_landmarks_are_the_inliers_with_depth_in_the_odometry_frame() -> None:
    image = np.zeros((30, 30), dtype=np.uint8)
    image[10, 9], image[11, 10] = 200, 90  # the first current keypoint is (9.5, 10.5), and half rounds to even
    moved = se3(np.eye(3), np.array([0.0, 0.0, 5.0]))
    cloud = landmarks_message(result(GOOD), image, moved, HEADER)
    values = np.frombuffer(cloud.data, dtype="<f4").reshape(-1, 4)
    assert [entry.name for entry in cloud.fields] == ["x", "y", "z", "intensity"]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 1, 16, 16)
    assert cloud.header == HEADER and cloud.is_dense
    np.testing.assert_array_equal(values, [[1.0, 2.0, 15.0, image[10, 10]]])
    nothing = replace(GOOD, inliers=np.zeros(3, dtype=bool))
    assert landmarks_message(result(nothing), image, moved, HEADER).width == 0


def test_a_picture_goes_out_raw_and_as_jpeg() -> None:
    pixels = np.zeros((20, 30, 3), dtype=np.uint8)
    pixels[:, :15] = (255, 0, 40)
    raw, jpeg = colour_image_message(pixels, HEADER), jpeg_message(pixels, HEADER)
    assert (raw.height, raw.width, raw.encoding, raw.step) == (20, 30, "bgr8", 90) and raw.header == HEADER
    np.testing.assert_array_equal(np.frombuffer(raw.data, np.uint8).reshape(20, 30, 3), pixels)
    assert jpeg.format == "bgr8; jpeg compressed bgr8" and jpeg.header == HEADER
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None and decoded.shape == pixels.shape and np.abs(decoded.astype(int) - pixels).mean() < 8


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
