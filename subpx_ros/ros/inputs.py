"""The node's subscriptions: images and camera_info of one instant, as one set."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from subpx_ros.config import NodeConfig
from subpx_ros.ros import distro
from subpx_ros.ros.messages import ImageSet

TOPICS = {
    "mono": ("image_rect", "camera_info"),
    "stereo": ("left/image_rect", "left/camera_info", "right/image_rect", "right/camera_info"),
}
"""Relative names per mode, in the order of ImageSet's fields."""

_QUEUE_SIZE = 30
"""Messages per topic that wait for the others of their set."""
_QUEUE_SIZE_RELIABLE = 500
"""Small messages overtake large ones by far when a sender does not wait, and in a replay no set may be lost."""


class _CountingSubscriber(distro.Subscriber):  # type: ignore[misc]
    """Counts messages, and keeps out stamps that a ROS time cannot hold, which the synchroniser may choke on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.count = 0
        super().__init__(*args, **kwargs)

    def callback(self, message: Any) -> None:
        self.count += 1
        stamp = message.header.stamp
        if stamp.sec >= 0 and stamp.nanosec < 10**9:
            super().callback(message)


class Inputs:
    """Subscribes when made; calls `on_set` from the executor with each complete set until closed."""

    def __init__(self, node: Node, mode: str, settings: NodeConfig, on_set: Callable[[ImageSet], None]) -> None:
        self._node = node
        self._on_set: Callable[[ImageSet], None] | None = on_set
        self._subscribers = [self._subscribe(topic, settings) for topic in TOPICS[mode]]
        size = _QUEUE_SIZE_RELIABLE if settings.reliable else _QUEUE_SIZE
        if settings.sync_slop_s > 0:
            synchroniser = distro.ApproximateTimeSynchronizer(self._subscribers, size, settings.sync_slop_s)
        else:
            synchroniser = distro.TimeSynchronizer(self._subscribers, size)
        synchroniser.registerCallback(self._receive)

    def _subscribe(self, topic: str, settings: NodeConfig) -> _CountingSubscriber:
        kind: type = CameraInfo
        if topic.endswith("image_rect"):
            kind = CompressedImage if settings.image_transport == "compressed" else Image
        if kind is CompressedImage:
            # image_transport's rule: remapping the base topic moves the compressed one with it.
            topic = f"{self._node.resolve_topic_name(topic)}/compressed"
        # Overrides are written into the profile that is passed, so rclpy's own one is copied.
        return _CountingSubscriber(
            self._node,
            kind,
            topic,
            qos_profile=reliable_keep_all() if settings.reliable else copy(qos_profile_sensor_data),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _receive(self, *messages: Any) -> None:
        if self._on_set is not None:
            self._on_set(ImageSet(*messages))

    def missing(self) -> str:
        """Why no complete set comes, for people."""
        silent = [subscriber.sub.topic_name for subscriber in self._subscribers if subscriber.count == 0]
        if silent:
            return f"nothing received on {', '.join(silent)}"
        return "no new set of images with matching stamps"

    def close(self) -> None:
        self._on_set = None
        for subscriber in self._subscribers:
            self._node.destroy_subscription(subscriber.sub)
        self._subscribers = []


def reliable_keep_all() -> QoSProfile:
    """For replays: every message arrives, the sender waits when it must."""
    return QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
