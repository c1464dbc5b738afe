"""The node's publishers, and what goes out for each frame."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from subpx_ros.config import NodeConfig
from subpx_ros.datatypes import Array, OdometryResult
from subpx_ros.drawing import draw_matches
from subpx_ros.frames import odom_from_camera_path
from subpx_ros.msg import OdometryStatus, RefinedMatches, RelativePose
from subpx_ros.ros import distro
from subpx_ros.ros.extrinsics import Extrinsics
from subpx_ros.ros.frames import velocity_to_base
from subpx_ros.ros.landmarks import landmarks_message
from subpx_ros.ros.match_image import colour_image_message, jpeg_message
from subpx_ros.ros.results import (
    Names,
    matches_message,
    odometry_message,
    pose_stamped,
    relative_pose_message,
    transform_message,
)
from subpx_ros.velocity import Velocimeter

_DEPTH = 10
_PATH_PERIOD_S = 0.5
"""A path holds every pose so far, which makes it too large to go out with every frame, and to be kept ten times."""


class Outputs:
    """Publishers that are silent until the node is activated.

    `publish` and `show` belong to one thread, `publish_status` and `publish_diagnostics` to any.
    """

    def __init__(self, node: LifecycleNode, settings: NodeConfig, extrinsics: Extrinsics) -> None:
        """`extrinsics` says where the camera of an image sits on the robot."""
        self._node = node
        self._extrinsics = extrinsics
        self._publishers: list[Any] = []
        self._odom = self._publisher(Odometry, "odom")
        self._path = self._publisher(Path, "path", depth=1)
        self._matches = self._publisher(RefinedMatches, "~/matches")
        self._relative_pose = self._publisher(RelativePose, "~/relative_pose")
        self._status = self._publisher(OdometryStatus, "~/status")
        self._landmarks = self._publisher(PointCloud2, "~/landmarks")
        self._match_image = self._publisher(Image, "~/match_image")
        self._match_image_jpeg = self._publisher(CompressedImage, "~/match_image/compressed")
        self._diagnostics = self._publisher(DiagnosticArray, "/diagnostics")
        self._transforms: Any = None
        self._poses: deque[PoseStamped] = deque()
        self._velocimeter = Velocimeter()
        self.reconfigure(settings)
        self._path_due_s = 0.0

    def _publisher(self, kind: type, topic: str, depth: int = _DEPTH) -> Any:
        """`depth` messages are kept for slow subscribers."""
        overrides = QoSOverridingOptions.with_default_policies()
        publisher: Any = self._node.create_lifecycle_publisher(kind, topic, depth, qos_overriding_options=overrides)
        self._publishers.append(publisher)
        return publisher

    def reconfigure(self, settings: NodeConfig) -> None:
        """Settings that hold from the next frame on. For the thread that publishes; frames and topics stay."""
        self._settings = settings
        self._poses = deque(self._poses, maxlen=settings.path_length)
        if settings.publish_tf and self._transforms is None:
            self._transforms = distro.TransformBroadcaster(self._node)

    def publish(self, result: OdometryResult, header: Header, names: Names) -> str:
        """Odometry, transform, matches and relative pose of one frame; `header` is that of its left or only image.

        Returns why the camera's place on the robot is only assumed; empty where it is known.
        """
        mount = self._extrinsics.mount(header.frame_id)
        in_odom = Header(stamp=header.stamp, frame_id=self._settings.odom_frame)
        odometry = self._publish_odometry(result, in_odom, mount.T_base_optical)
        if result.reference_stamp_ns is not None:
            self._matches.publish(matches_message(result, header, names))
        self._relative_pose.publish(relative_pose_message(result, header))
        # A robot at rest does not use the path up.
        if result.located and (not self._poses or self._poses[-1].pose != odometry.pose.pose):
            self._poses.append(pose_stamped(odometry))
        return mount.note

    def _publish_odometry(self, result: OdometryResult, header: Header, T_base_optical: Array) -> Odometry:
        base = self._settings.base_frame
        T_odom_base = odom_from_camera_path(result.T_odom_camera, T_base_optical)
        velocity = velocity_to_base(self._velocimeter.update(result), T_base_optical)
        odometry = odometry_message(result, T_odom_base, T_base_optical, velocity, header, base)
        self._odom.publish(odometry)
        # A transform carries no covariance: sending the last pose again would pass it off as a new one.
        if self._settings.publish_tf and result.located:
            self._transforms.sendTransform(transform_message(T_odom_base, header, base))
        return odometry

    def show(self, result: OdometryResult, image: NDArray[np.uint8], header: Header) -> None:
        """Path, landmarks and match image of a frame whose other outputs are out already, for those who subscribe.

        Args:
            result: what the frame gave.
            image: (H, W) uint8, its left or only one.
            header: of the image.
        """
        in_odom = Header(stamp=header.stamp, frame_id=self._settings.odom_frame)
        now_s = time.monotonic()
        if result.located and now_s >= self._path_due_s and self._path.get_subscription_count() > 0:
            self._path_due_s = now_s + _PATH_PERIOD_S
            self._path.publish(Path(header=in_odom, poses=list(self._poses)))
        if result.metric and result.relative_pose.ok and self._landmarks.get_subscription_count() > 0:
            T_odom_optical = self._extrinsics.mount(header.frame_id).T_base_optical @ result.T_odom_camera
            self._landmarks.publish(landmarks_message(result, image, T_odom_optical, in_odom))
        raw, jpeg = (each.get_subscription_count() > 0 for each in (self._match_image, self._match_image_jpeg))
        if raw or jpeg:
            drawn = draw_matches(image, result)
            if raw:
                self._match_image.publish(colour_image_message(drawn, header))
            if jpeg:
                self._match_image_jpeg.publish(jpeg_message(drawn, header))

    def publish_status(self, message: OdometryStatus) -> None:
        self._status.publish(message)

    def publish_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnostics.publish(message)

    def restart(self) -> None:
        """The odometry starts again at the origin, and the camera may have become known."""
        self._extrinsics.forget()
        self._poses.clear()
        self._velocimeter = Velocimeter()

    def destroy(self) -> None:
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        if self._transforms is not None:
            self._node.destroy_publisher(self._transforms.pub_tf)
