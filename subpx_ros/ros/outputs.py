"""The node's publishers, and what goes out for each frame."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from subpx_ros.config import NodeConfig
from subpx_ros.datatypes import OdometryResult, TrackingState
from subpx_ros.frames import odom_from_camera_path
from subpx_ros.msg import OdometryStatus, RefinedMatches, RelativePose
from subpx_ros.ros import distro
from subpx_ros.ros.frames import base_from_optical
from subpx_ros.ros.results import (
    Names,
    matches_message,
    odometry_message,
    pose_stamped,
    relative_pose_message,
    transform_message,
)

_DEPTH = 10
_PATH_PERIOD_S = 0.5
"""A path holds every pose so far, which makes it too large to go out with every frame."""


class Outputs:
    """Publishers that are silent until the node is activated. `publish` belongs to one thread."""

    def __init__(self, node: LifecycleNode, settings: NodeConfig) -> None:
        """Raises ConfigError when camera_in_base cannot be read."""
        self._node = node
        self._settings = settings
        self._T_base_optical: NDArray[np.float64] = base_from_optical(settings.camera_in_base)
        self._odom = self._publisher(Odometry, "odom")
        self._path = self._publisher(Path, "path")
        self._matches = self._publisher(RefinedMatches, "~/matches")
        self._relative_pose = self._publisher(RelativePose, "~/relative_pose")
        self._status = self._publisher(OdometryStatus, "~/status")
        self._transforms = distro.TransformBroadcaster(node) if settings.publish_tf else None
        self._poses: deque[PoseStamped] = deque(maxlen=settings.path_length)
        self._path_due_s = 0.0

    def _publisher(self, kind: type, topic: str):  # type: ignore[no-untyped-def]
        overrides = QoSOverridingOptions.with_default_policies()
        return self._node.create_lifecycle_publisher(kind, topic, _DEPTH, qos_overriding_options=overrides)

    def publish(self, result: OdometryResult, header: Header, names: Names) -> None:
        """Matches, relative pose, odometry, transform and path of one frame; `header` is the image's."""
        if result.reference_stamp_ns is not None:
            self._matches.publish(matches_message(result, header, names))
        self._relative_pose.publish(relative_pose_message(result, header))
        self._publish_odometry(result, Header(stamp=header.stamp, frame_id=self._settings.odom_frame))

    def _publish_odometry(self, result: OdometryResult, header: Header) -> None:
        base = self._settings.base_frame
        T_odom_base = odom_from_camera_path(result.T_odom_camera, self._T_base_optical)
        odometry = odometry_message(result, T_odom_base, self._T_base_optical, header, base)
        self._odom.publish(odometry)
        if result.state is TrackingState.LOST:
            # A transform carries no covariance: sending the last pose again would pass it off as a new one.
            return
        if self._transforms is not None:
            self._transforms.sendTransform(transform_message(T_odom_base, header, base))
        self._poses.append(pose_stamped(odometry))
        self._publish_path(header)

    def _publish_path(self, header: Header) -> None:
        now_s = time.monotonic()
        if now_s < self._path_due_s or self._path.get_subscription_count() == 0:
            return
        self._path_due_s = now_s + _PATH_PERIOD_S
        self._path.publish(Path(header=header, poses=list(self._poses)))

    def publish_status(self, message: OdometryStatus) -> None:
        self._status.publish(message)

    def clear_path(self) -> None:
        self._poses.clear()

    def destroy(self) -> None:
        for publisher in (self._odom, self._path, self._matches, self._relative_pose, self._status):
            self._node.destroy_lifecycle_publisher(publisher)
        if self._transforms is not None:
            self._node.destroy_publisher(self._transforms.pub_tf)
