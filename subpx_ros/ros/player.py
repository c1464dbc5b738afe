"""The other side of the node's topics: plays frames into it and records what it publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header

from subpx_ros.datasets.bag_writer import BASE_FRAME, optical_frame
from subpx_ros.datatypes import Frame, Rig
from subpx_ros.errors import SubpxError
from subpx_ros.frames import T_BODY_OPTICAL
from subpx_ros.geometry import se3
from subpx_ros.msg import OdometryStatus, RelativePose
from subpx_ros.ros.distro import StaticTransformBroadcaster
from subpx_ros.ros.inputs import input_topics, message_type, reliable_keep_all
from subpx_ros.ros.messages import (
    camera_info_messages,
    compressed_image_message,
    depth_message,
    image_message,
    stamp_from_ns,
    stamp_to_ns,
)
from subpx_ros.ros.results import transform_message

_SPIN_S = 0.05
_DEPTH = 100


class Player:
    """Publishes the frames of one rig, and keeps the node's messages by their stamps in nanoseconds."""

    def __init__(
        self,
        context: Context,
        node_name: str,
        rig: Rig,
        check: Callable[[], None],
        transport: str = "raw",
        rectify: bool = False,
    ) -> None:
        """
        Args:
            context: initialised, in the node's domain.
            node_name: of the node to play to.
            rig: the cameras of the frames to come.
            check: called while waiting; raises when waiting is in vain.
            transport: raw or compressed, of images; lossless.
            rectify: whether the node subscribes to unrectified images.
        """
        self.odometry: dict[int, Odometry] = {}
        self.arrived_s: dict[int, float] = {}
        """When the odometry came, by time.monotonic()."""
        self.relative_poses: dict[int, RelativePose] = {}
        self.status: dict[int, OdometryStatus] = {}
        self.latest: OdometryStatus | None = None
        self._check = check
        self._frame_ids = [optical_frame(name) for name in (("left", "right") if rig.stereo else ("",))]
        self._node = node = Node(
            "subpx_replay", context=context, use_global_arguments=False, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self._parameters = AsyncParameterClient(node, node_name)
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._inputs: list[Any] = [
            node.create_publisher(kind, topic + ending, reliable_keep_all())
            for topic in input_topics(rig.mode, rectify)
            for kind, ending in [message_type(topic, transport)]
        ]
        self._as_message = image_message if transport == "raw" else compressed_image_message
        self._depth_as_message = partial(depth_message, compressed=transport == "compressed")
        node.create_subscription(Odometry, "odom", self._keep_odometry, _DEPTH)
        node.create_subscription(RelativePose, f"{node_name}/relative_pose", self._keep(self.relative_poses), _DEPTH)
        # The last one: the node learns of subscriptions in this order, so once its status arrives, so does the rest.
        node.create_subscription(OdometryStatus, f"{node_name}/status", self._keep_status, _DEPTH)
        self._static = StaticTransformBroadcaster(node)
        self._send_static_transforms(rig)

    def _keep(self, kept: dict[int, Any]) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            kept[stamp_to_ns(message.header.stamp)] = message

        return keep

    def _keep_odometry(self, message: Odometry) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.odometry[stamp_ns], self.arrived_s[stamp_ns] = message, time.monotonic()

    def _keep_status(self, message: OdometryStatus) -> None:
        self.latest = message
        # Without a frame it tells about silence, not about an image.
        if message.header.frame_id:
            self.status[stamp_to_ns(message.header.stamp)] = message

    def _send_static_transforms(self, rig: Rig) -> None:
        header = Header(frame_id=BASE_FRAME)
        offsets = [0.0] if rig.baseline_m is None else [0.0, rig.baseline_m]
        self._static.sendTransform(
            [
                transform_message(T_BODY_OPTICAL @ se3(np.eye(3), np.array([offset, 0.0, 0.0])), header, name)
                for name, offset in zip(self._frame_ids, offsets, strict=True)
            ]
        )

    @property
    def finished(self) -> int:
        """Sets of images that the node has processed or dropped."""
        return 0 if self.latest is None else self.latest.frames_processed + self.latest.frames_dropped

    def publish(self, frame: Frame) -> float:
        """The clock, then camera_info and image of each camera, and the depth. Returns when the first image went out.

        That is a time of time.monotonic(), s.
        """
        return self.send(frame.stamp_ns, self.messages(frame))

    def messages(self, frame: Frame) -> list[Any]:
        """Of a frame, in the order of the node's topics."""
        stamp = stamp_from_ns(frame.stamp_ns)
        headers = [Header(stamp=stamp, frame_id=name) for name in self._frame_ids]
        infos = camera_info_messages(frame.rig, headers[0], headers[-1])
        images = (frame.image, frame.right_image)
        messages: list[Any] = []
        for header, image, info in zip(headers, images, infos, strict=False):
            assert image is not None
            messages += [self._as_message(image, header), info]
        if frame.depth is not None:
            messages.append(self._depth_as_message(frame.depth, headers[0]))
        return messages

    def send(self, stamp_ns: int, messages: Sequence[Any]) -> float:
        """The clock and the messages of a frame. Returns as `publish` does."""
        self._clock.publish(Clock(clock=stamp_from_ns(stamp_ns)))
        start_s = time.monotonic()
        for publisher, message in zip(self._inputs, messages, strict=True):
            publisher.publish(message)
        return start_s

    def wait_for_node(self, timeout_s: float) -> None:
        """Until the node is active and both sides know each other. Raises SubpxError after the timeout."""

        def connected() -> bool:
            return self.latest is not None and all(each.get_subscription_count() > 0 for each in self._inputs)

        self.spin_until(connected, timeout_s, "the node to become active")

    def read_parameters(self, names: Sequence[str], timeout_s: float) -> dict[str, Any]:
        """Parameters of the node by name."""
        self.spin_until(self._parameters.services_are_ready, timeout_s, "the node's parameter services")
        future = self._parameters.get_parameters(list(names))
        self.spin_until(future.done, timeout_s, "the node's parameters")
        response = future.result()
        assert response is not None
        return dict(zip(names, map(parameter_value_to_python, response.values), strict=True))

    def set_parameter(self, name: str, value: Any, timeout_s: float) -> None:
        """Of the running node. Raises SubpxError where the node refuses it."""
        self.spin_until(self._parameters.services_are_ready, timeout_s, "the node's parameter services")
        future = self._parameters.set_parameters([Parameter(name, value=value)])
        self.spin_until(future.done, timeout_s, f"the node to take {name}")
        response = future.result()
        assert response is not None
        if not response.results[0].successful:
            raise SubpxError(f"the node does not take {name}={value}: {response.results[0].reason}")

    def spin_for(self, seconds: float) -> None:
        """Handles messages for so long, at least those that are there."""
        end_s = time.monotonic() + seconds
        self._executor.spin_once(timeout_sec=0.0)
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Handles messages until the condition holds.

        Raises:
            SubpxError: it does not within the timeout, or `check` says that it never will.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline_s:
                raise SubpxError(f"waited {timeout_s:.0f} s in vain for {what}")
            self._executor.spin_once(timeout_sec=_SPIN_S)

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
