"""What one frame gave, as messages. Poses of cameras stay in optical axes; odometry is that of the robot's base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, TransformStamped
from nav_msgs.msg import Odometry
from std_msgs.msg import Header

from subpx_ros.datatypes import Array, OdometryResult, TrackingState
from subpx_ros.frames import quaternion_from_rotation, rotation_from_quaternion
from subpx_ros.geometry import se3
from subpx_ros.msg import OdometryStatus, RefinedMatches, RelativePose
from subpx_ros.ros.frames import covariance_to_base
from subpx_ros.ros.messages import byte_array, float_array, stamp_from_ns
from subpx_ros.ros.slot import Counts
from subpx_ros.velocity import Velocity
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

_NONE = -1.0
"""For times that do not exist."""
_NO_ESTIMATE = -1.0
"""As the first element of a covariance, the convention of sensor_msgs."""


@dataclass(frozen=True)
class Names:
    """What turned the images into matches, for RefinedMatches."""

    detector: str
    matcher: str
    refiner: str


def matches_message(result: OdometryResult, header: Header, names: Names) -> RefinedMatches:
    matches = result.matches
    message = RefinedMatches(header=header, detector=names.detector, matcher=names.matcher, refiner=names.refiner)
    message.reference_stamp = stamp_from_ns(result.reference_stamp_ns or 0)
    message.reference_keypoints = float_array(matches.refined0)
    message.current_keypoints = float_array(matches.refined1)
    message.reference_offsets = float_array(matches.refined0 - matches.detected0)
    message.current_offsets = float_array(matches.refined1 - matches.detected1)
    message.scores = float_array(matches.scores)
    inliers = result.relative_pose.inliers
    message.inlier = byte_array(inliers if len(inliers) == len(matches) else np.zeros(len(matches), dtype=np.uint8))
    return message


def relative_pose_message(result: OdometryResult, header: Header) -> RelativePose:
    """Without a pose its quaternion is zero, which is no rotation, and the status says why; every number is finite."""
    relative = result.relative_pose
    message = RelativePose(header=header, status=relative.status.value, reason=relative.reason)
    message.reference_stamp = stamp_from_ns(result.reference_stamp_ns or 0)
    message.metric = relative.metric
    message.matches = len(result.matches)
    message.inliers = int(np.count_nonzero(relative.inliers))
    if relative.ok and relative.T_reference_current is not None and relative.covariance is not None:
        message.pose.pose = pose_message(relative.T_reference_current)
        message.pose.covariance = relative.covariance.ravel()
    else:
        message.pose.pose = _pose(np.zeros(3), np.zeros(4))
        message.pose.covariance[0] = _NO_ESTIMATE
    return message


@dataclass(frozen=True)
class Account:
    """How the node stands when it speaks: with a set of images, or while none comes."""

    state: TrackingState
    reason: str
    counts: Counts
    since_good_s: float | None = None
    """None before the first good pose."""
    last_good_ns: int | None = None


def status_message(header: Header, account: Account, result: OdometryResult | None = None) -> OdometryStatus:
    """`result` is None for a set of images that was refused, and while none comes; the times of a set are left to the caller."""
    message = OdometryStatus(header=header, state=account.state.value, reason=account.reason)
    message.frames_received = account.counts.received
    message.frames_processed = account.counts.processed
    message.frames_dropped = account.counts.dropped
    message.time_since_good_pose = _NONE if account.since_good_s is None else account.since_good_s
    message.last_good_stamp = stamp_from_ns(account.last_good_ns or 0)
    message.sync_difference = message.latency = _NONE
    if result is not None:
        for name in ("keypoints", "stereo_matches", "matches", "inliers"):
            setattr(message, name, int(result.counts.get(name, 0)))
        message.stage_names = list(result.stage_ms)
        message.stage_milliseconds = float_array(np.array(list(result.stage_ms.values())))
    return message


def odometry_message(
    result: OdometryResult,
    T_odom_base: Array,
    T_base_optical: Array,
    velocity: Velocity,
    header: Header,
    base_frame: str,
) -> Odometry:
    """Pose and twist with what is known of them; UNKNOWN_VARIANCE stands for what is not.

    Of a frame that is not located nothing is known. One camera alone does not see how far it moved, so of its pose and its twist only the rotation is known.

    Args:
        result: of the frame.
        T_odom_base: (4, 4), the pose of `result` in robot axes.
        T_base_optical: (4, 4), the left or only camera on the robot.
        velocity: of the base, in its own axes.
        header: stamp of the frame, and the odometry frame.
        base_frame: child frame.
    """
    covariance = UNKNOWN_VARIANCE * np.eye(6)
    if result.located:
        known = covariance_to_base(result.covariance, T_odom_base, T_base_optical)
        rows = slice(0, 6) if result.metric else slice(3, 6)
        covariance[rows, rows] = known[rows, rows]
    message = Odometry(header=header, child_frame_id=base_frame)
    message.pose.pose = pose_message(T_odom_base)
    message.pose.covariance = covariance.ravel()
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = map(float, velocity.twist)
    message.twist.covariance = velocity.covariance.ravel()
    return message


def transform_message(T_parent_child: Array, header: Header, child: str) -> TransformStamped:
    """A (4, 4) pose as a transform; header.frame_id is the parent."""
    pose = pose_message(T_parent_child)
    message = TransformStamped(header=header, child_frame_id=child)
    message.transform.translation.x = pose.position.x
    message.transform.translation.y = pose.position.y
    message.transform.translation.z = pose.position.z
    message.transform.rotation = pose.orientation
    return message


def pose_stamped(odometry: Odometry) -> PoseStamped:
    return PoseStamped(header=odometry.header, pose=odometry.pose.pose)


def pose_message(pose: Array) -> Pose:
    """(4, 4) as position and unit quaternion."""
    return _pose(pose[:3, 3], quaternion_from_rotation(pose[:3, :3]))


def _pose(position: Array, quaternion: Array) -> Pose:
    message = Pose()
    message.position.x, message.position.y, message.position.z = map(float, position)
    orientation = message.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, quaternion)
    return message


def pose_from_message(message: Pose) -> Array:
    """(4, 4)."""
    position, orientation = message.position, message.orientation
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    return se3(rotation_from_quaternion(quaternion), np.array([position.x, position.y, position.z]))
