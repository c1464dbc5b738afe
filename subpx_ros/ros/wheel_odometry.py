"""The other odometry of the robot, heard on wheel_odom: checked, and kept for the frames that need a length."""

from __future__ import annotations

import threading
import time
from copy import copy
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from subpx_ros.config import NodeConfig
from subpx_ros.datasets.odometry_messages import sample_from_odometry
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.ros.diagnostics import Heard
from subpx_ros.ros.extrinsics import Extrinsics
from subpx_ros.ros.inputs import reliable_keep_all
from subpx_ros.ros.messages import check_stamp
from subpx_ros.scale import OtherOdometry

TOPIC = "wheel_odom"
_DEPTH = 50
"""Wheel odometry comes at up to some hundred hertz, while an executor may be busy for a tenth of a second."""
_SILENCE_S = 2.0
_REMEMBERED_S = 5.0


def check_topics(node: Node) -> None:
    """Raises ConfigError where the node would listen to itself."""
    topic = node.resolve_topic_name(TOPIC)
    if topic == node.resolve_topic_name("odom"):
        raise ConfigError(f"{TOPIC} and the node's own odom are both {topic}: remap odom to another name")


class WheelOdometry:
    """Subscribes when made, until closed. Messages come in the executor's thread; any other may ask."""

    def __init__(self, node: Node, settings: NodeConfig, extrinsics: Extrinsics, other: OtherOdometry) -> None:
        """`other` gets the poses, and where the camera is on what they are of."""
        self._node, self._extrinsics, self._other = node, extrinsics, other
        self._base = settings.base_frame.removeprefix("/")
        self._lock = threading.Lock()
        self._frames: tuple[str, str] | None = None
        self._received = self._refused = 0
        self._last_s = self._trouble_s = float("-inf")
        self._trouble = self._mismatch = self._unlocated = ""
        profile = copy(qos_profile_sensor_data)
        profile.depth = _DEPTH
        self._subscription = node.create_subscription(
            Odometry,
            TOPIC,
            self._receive,
            reliable_keep_all() if settings.reliable else profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def locate(self, camera_frame: str) -> None:
        """Before a frame of that camera: where it is on what is tracked. May wait as `Extrinsics.mount` does."""
        T_base_camera = self._extrinsics.mount(camera_frame).T_base_optical
        tracked = self._frames[1] if self._frames else ""
        T_tracked_base = np.eye(4) if tracked in ("", self._base) else self._extrinsics.base_in(tracked)
        if T_tracked_base is None:
            self._other.unmounted = f"/tf_static has no transform from its {tracked} to {self._base}"
        self._unlocated = self._other.unmounted if T_tracked_base is None else ""
        self._other.mount = None if T_tracked_base is None else T_tracked_base @ T_base_camera

    def heard(self) -> Heard:
        now_s = time.monotonic()
        with self._lock:
            trouble = self._mismatch
            if now_s - self._last_s > _SILENCE_S:
                trouble = trouble or f"nothing received on {self._subscription.topic_name}"
            elif now_s - self._trouble_s <= _REMEMBERED_S:
                trouble = self._trouble
            else:
                trouble = trouble or self._unlocated
            return Heard(self._received, self._refused, trouble)

    def close(self) -> None:
        self._node.destroy_subscription(self._subscription)

    def _receive(self, message: Odometry) -> None:
        refused = False
        try:
            trouble = self._take(message)
        except DataError as error:
            trouble, refused = str(error), True
            self._other.refuse(trouble)
        with self._lock:
            self._last_s = time.monotonic()
            self._received += 1
            self._refused += refused
            self._mismatch = ""
            if trouble:
                self._trouble, self._trouble_s = trouble, self._last_s

    def _take(self, message: Odometry) -> str:
        """What is odd about a message. Raises DataError where it is of no use."""
        check_stamp(message.header.stamp)
        sample = sample_from_odometry(message)
        frames = message.header.frame_id, message.child_frame_id.removeprefix("/")
        changed, self._frames = self._frames not in (None, frames), frames
        if changed:
            self._other.clear()
        return self._other.add(sample) or ("its frames changed, as if two were speaking" if changed else "")

    def _incompatible(self, event: Any) -> None:
        with self._lock:
            self._mismatch = "a publisher's QoS does not fit, see qos_overrides"
