"""Where the camera sits on the robot: from the parameter, or from /tf_static once the first image names its frame."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Transform
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from subpx_ros.config import NodeConfig
from subpx_ros.datasets.text import pose_from_quaternion
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.frames import T_BODY_OPTICAL, base_from_optical
from subpx_ros.transforms import StaticTransforms

_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Mount:
    """The left or only camera on the robot."""

    T_base_optical: Array
    """(4, 4)"""
    note: str = ""
    """Why it is only assumed; empty when it is known."""


class Extrinsics:
    """Listens to /tf_static from when it is made until it is closed, unless the parameter says all that will be asked.

    Only static transforms are read: what moves between base and camera cannot be part of a rigid pose, and /tf is too
    busy on a robot to be listened to for it.
    """

    def __init__(self, node: Node, settings: NodeConfig, other_frames: bool = False) -> None:
        """`other_frames`: whether `base_in` will be asked.

        Raises:
            ConfigError: camera_in_base cannot be read.
        """
        self._node = node
        self._settings = settings
        self._transforms = StaticTransforms()
        self._changed = threading.Condition()
        self._waiting = True
        self._mounts: dict[str, Mount] = {}
        self._given = Mount(base_from_optical(settings.camera_in_base)) if settings.camera_in_base else None
        self._subscription = None
        if self._given is None or other_frames:
            self._subscription = node.create_subscription(TFMessage, "/tf_static", self._receive, _QOS)

    def mount(self, frame_id: str) -> Mount:
        """Of the camera whose images carry `frame_id`.

        Not for the executor's thread: the first call waits for /tf_static, at most extrinsics_timeout_s. What was
        found, or assumed, stays until `forget`, as a camera that jumps would move the robot.
        """
        if self._given is not None:
            return self._given
        if frame_id not in self._mounts:
            self._mounts = {frame_id: self._look_up(frame_id)}
        return self._mounts[frame_id]

    def base_in(self, frame: str) -> Array | None:
        """T_frame_base (4, 4) of the base in another frame of the robot, as /tf_static has it by now; None: it has not."""
        with self._changed:
            return self._transforms.find(frame, self._settings.base_frame)

    def prepare(self) -> None:
        """While nobody calls `mount`: the next image is the first one, and may be waited for."""
        self._mounts = {}
        self._waiting = True

    def forget(self) -> None:
        """Odometry starts again: look again, without another wait. For the thread that calls `mount`."""
        self._mounts = {}

    def stop_waiting(self) -> None:
        """From any thread: ends a wait in `mount`."""
        with self._changed:
            self._waiting = False
            self._changed.notify_all()

    def close(self) -> None:
        """Stops listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _look_up(self, frame_id: str) -> Mount:
        base, timeout_s = self._settings.base_frame, self._settings.extrinsics_timeout_s
        if not frame_id:
            return _assumed("the images have no frame_id")

        def found() -> Array | None:
            return self._transforms.find(base, frame_id)

        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or found() is not None, timeout_s)
            self._waiting = False
            T_base_optical = found()
        if T_base_optical is None:
            return _assumed(f"/tf_static has no transform from {base} to {frame_id} after {timeout_s:g} s")
        return Mount(T_base_optical)

    def _receive(self, message: TFMessage) -> None:
        with self._changed:
            for stamped in message.transforms:
                try:
                    T_parent_child = _matrix(stamped.transform)
                except DataError as error:
                    self._node.get_logger().warning(f"ignored on /tf_static: {stamped.child_frame_id}: {error}")
                else:
                    self._transforms.add(stamped.header.frame_id, stamped.child_frame_id, T_parent_child)
            self._changed.notify_all()


def _assumed(why: str) -> Mount:
    return Mount(T_BODY_OPTICAL, f"{why}: the camera is taken to sit in the base frame, looking forward")


def _matrix(transform: Transform) -> Array:
    translation, rotation = transform.translation, transform.rotation
    position = np.array([translation.x, translation.y, translation.z])
    return pose_from_quaternion(position, np.array([rotation.x, rotation.y, rotation.z, rotation.w]), "transform")
