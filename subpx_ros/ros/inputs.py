"""The node's subscriptions: images and camera_info of one instant, as one set."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from subpx_ros.config import NodeConfig
from subpx_ros.errors import DataError
from subpx_ros.ros import distro
from subpx_ros.ros.messages import ImageSet, check_stamp, stamp_to_ns

TOPICS = {
    "mono": ("image_rect", "camera_info"),
    "stereo": ("left/image_rect", "left/camera_info", "right/image_rect", "right/camera_info"),
    "rgbd": ("image_rect", "camera_info", "depth/image_rect"),
}
"""Relative names per mode, as they are without `rectify`."""
_FIELDS = {
    "mono": ("image", "camera_info"),
    "stereo": ("image", "camera_info", "right_image", "right_camera_info"),
    "rgbd": ("image", "camera_info", "depth"),
}
"""Of ImageSet, in the order of TOPICS."""

_QUEUE_SIZE = 30
"""Messages per topic that wait for the others of their set."""
_QUEUE_SIZE_RELIABLE = 500
"""Small messages overtake large ones by far when a sender does not wait, and in a replay no set may be lost."""


def input_topics(mode: str, rectify: bool = False) -> tuple[str, ...]:
    """Relative names of what a node subscribes to, without the ending of a compressed transport."""
    return tuple(name.replace("image_rect", "image_raw") if rectify else name for name in TOPICS[mode])


def message_type(topic: str, transport: str = "raw") -> tuple[type, str]:
    """The message of one of the `input_topics` and the ending that image_transport gives its name."""
    if topic.endswith("camera_info"):
        return CameraInfo, ""
    if transport == "raw":
        return Image, ""
    return CompressedImage, "/compressedDepth" if topic.startswith("depth/") else "/compressed"


class _WatchedSubscriber(distro.Subscriber):  # type: ignore[misc]
    """Knows what came, and keeps out stamps that a ROS time cannot hold, which the synchroniser may choke on."""

    def __init__(self, node: Node, *args: Any, **kwargs: Any) -> None:
        self.new = 0
        """Messages since the last complete set."""
        self.last_ns: int | None = None
        self.trouble = ""
        """Why messages do not get through, where that is known."""
        events = SubscriptionEventCallbacks(incompatible_qos=self._incompatible)
        super().__init__(node, *args, event_callbacks=events, **kwargs)

    def callback(self, message: Any) -> None:
        self.new += 1
        stamp = message.header.stamp
        try:
            check_stamp(stamp)
        except DataError as error:
            self.trouble = str(error)
            return
        self.trouble, self.last_ns = "", stamp_to_ns(stamp)
        super().callback(message)

    def _incompatible(self, event: Any) -> None:
        self.trouble = "a publisher's QoS does not fit, see qos_overrides"


class Inputs:
    """Subscribes when made; calls `on_set` from the executor with each complete set until closed."""

    def __init__(self, node: Node, mode: str, settings: NodeConfig, on_set: Callable[[ImageSet], None]) -> None:
        self._node = node
        self._fields = _FIELDS[mode]
        self._settings = settings
        self._on_set: Callable[[ImageSet], None] | None = on_set
        self._any = False
        self._subscribers = [self._subscribe(topic) for topic in input_topics(mode, settings.rectify)]
        size = _QUEUE_SIZE_RELIABLE if settings.reliable else _QUEUE_SIZE
        if settings.sync_slop_s > 0:
            synchroniser = distro.ApproximateTimeSynchronizer(self._subscribers, size, settings.sync_slop_s)
        else:
            synchroniser = distro.TimeSynchronizer(self._subscribers, size)
        synchroniser.registerCallback(self._receive)

    def _subscribe(self, topic: str) -> _WatchedSubscriber:
        kind, ending = message_type(topic, self._settings.image_transport)
        if ending:
            # image_transport's rule: remapping the base topic moves the compressed one with it.
            topic = f"{self._node.resolve_topic_name(topic)}{ending}"
        # Overrides are written into the profile that is passed, so rclpy's own one is copied.
        return _WatchedSubscriber(
            self._node,
            kind,
            topic,
            qos_profile=reliable_keep_all() if self._settings.reliable else copy(qos_profile_sensor_data),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _receive(self, *messages: Any) -> None:
        self._any = True
        for subscriber in self._subscribers:
            subscriber.new = 0
        if self._on_set is not None:
            self._on_set(ImageSet(**dict(zip(self._fields, messages, strict=True)), rectify=self._settings.rectify))

    def missing(self) -> str:
        """Why no complete set comes, for people."""
        troubles = [f"{each.sub.topic_name}: {each.trouble}" for each in self._subscribers if each.trouble]
        if troubles:
            return "; ".join(troubles)
        silent = [each.sub.topic_name for each in self._subscribers if each.new == 0]
        if silent:
            return f"nothing received on {', '.join(silent)}" + (" since the last set" if self._any else "")
        stamps = [each.last_ns for each in self._subscribers if each.last_ns is not None]
        difference = (max(stamps, default=0) - min(stamps, default=0)) * 1e-9
        return (
            f"no set of images with matching stamps: the newest of each topic differ by {difference:.4f} s, and "
            f"sync_slop_s is {self._settings.sync_slop_s:g} s"
        )

    def close(self) -> None:
        self._on_set = None
        for subscriber in self._subscribers:
            self._node.destroy_subscription(subscriber.sub)
        self._subscribers = []


def reliable_keep_all() -> QoSProfile:
    """For replays: every message arrives, the sender waits when it must."""
    return QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
