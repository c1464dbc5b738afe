"""nav_msgs/Odometry as a pose of another odometry, whether it comes over DDS or from a bag. Needs no ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from subpx_ros.datasets.text import pose_from_quaternion
from subpx_ros.datatypes import Array
from subpx_ros.scale.other_odometry import Sample

_HIGHEST_SPEED = 1e3
_HIGHEST_VARIANCE = 1e12
_WHERE = "its pose"


def sample_from_odometry(message: Any) -> Sample:
    """The pose, and what the twist claims of its speed and of the variance of that, where they are numbers.

    Raises:
        DataError: the pose is not finite, is out of range or has no unit quaternion.
    """
    stamp, position, turn = message.header.stamp, message.pose.pose.position, message.pose.pose.orientation
    pose = pose_from_quaternion(
        np.array([position.x, position.y, position.z]), np.array([turn.x, turn.y, turn.z, turn.w]), _WHERE
    )
    linear = message.twist.twist.linear
    with np.errstate(over="ignore", invalid="ignore"):
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
    covariance = np.array(message.twist.covariance, dtype=np.float64).reshape(6, 6)[:3, :3]
    return Sample(
        int(stamp.sec) * 10**9 + int(stamp.nanosec),
        pose,
        speed if speed <= _HIGHEST_SPEED else None,
        _usable(covariance),
    )


def _usable(covariance: Array) -> Array | None:
    """Symmetric, or None where it claims nothing: zeros, a negative variance, what is no number."""
    if not np.all(np.abs(covariance) <= _HIGHEST_VARIANCE) or covariance[0, 0] <= 0.0:
        return None
    return np.asarray(0.5 * (covariance + covariance.T))
