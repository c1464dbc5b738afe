"""Our stand-ins for message_filters, tf2_ros and cv_bridge, and the choice between them and the real ones."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from subpx_ros.ros import distro
from subpx_ros.ros.messages import image_message, stamp_from_ns
from subpx_ros.ros.standins import cv_bridge
from subpx_ros.ros.standins.message_filters import (
    ApproximateTimeSynchronizer,
    SimpleFilter,
    Subscriber,
    TimeSynchronizer,
)
from subpx_ros.ros.standins.tf2_ros import StaticTransformBroadcaster, TransformBroadcaster


@dataclass(frozen=True)
class Stamped:
    name: str
    stamp_ns: int
    header: Header = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", Header(stamp=stamp_from_ns(self.stamp_ns)))


class Inputs:
    """Filters named a, b, ... that can be fed by hand, and the sets that came out."""

    def __init__(self, count: int) -> None:
        self.filters = [SimpleFilter() for _ in range(count)]
        self.sets: list[list[int]] = []

    def feed(self, index: int, *stamps_ns: int) -> None:
        for stamp in stamps_ns:
            self.filters[index].signalMessage(Stamped("abcd"[index], stamp))

    def keep(self, *messages: Stamped) -> None:
        assert [message.name for message in messages] == list("abcd"[: len(messages)])
        self.sets.append([message.stamp_ns for message in messages])


def test_sets_of_equal_stamps_come_out_once_whatever_the_order_of_arrival() -> None:
    inputs = Inputs(3)
    TimeSynchronizer(inputs.filters, 10).registerCallback(inputs.keep)
    inputs.feed(0, 1, 2, 3)
    inputs.feed(2, 3, 1)
    assert inputs.sets == []
    inputs.feed(1, 1, 2, 3, 3)
    assert inputs.sets == [[1, 1, 1], [3, 3, 3]]
    inputs.feed(2, 2)
    assert inputs.sets == [[1, 1, 1], [3, 3, 3], [2, 2, 2]]


def test_stamps_differ_by_a_nanosecond() -> None:
    inputs = Inputs(2)
    TimeSynchronizer(inputs.filters, 10).registerCallback(inputs.keep)
    inputs.feed(0, 1_700_000_000_000_000_001)
    inputs.feed(1, 1_700_000_000_000_000_002)
    assert inputs.sets == []


def test_queues_are_bounded_and_forget_what_came_first() -> None:
    inputs = Inputs(2)
    synchroniser = TimeSynchronizer(inputs.filters, 3)
    synchroniser.registerCallback(inputs.keep)
    inputs.feed(0, *range(100, 0, -1))
    assert [len(queue) for queue in synchroniser.queues] == [3, 0]
    inputs.feed(1, 100, 1, 2, 3)
    assert inputs.sets == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize("kind", ["exact", "approximate"])
def test_an_exception_in_the_callback_stalls_nobody(kind: str) -> None:
    inputs = Inputs(2)
    synchroniser = (
        TimeSynchronizer(inputs.filters, 5)
        if kind == "exact"
        else ApproximateTimeSynchronizer(inputs.filters, 5, slop=0.0)
    )

    def fail_first(*messages: Stamped) -> None:
        inputs.keep(*messages)
        if len(inputs.sets) == 1:
            raise ValueError("first")

    synchroniser.registerCallback(fail_first)
    inputs.feed(0, 1)
    with pytest.raises(ValueError, match="first"):
        inputs.feed(1, 1)

    def feed_both() -> None:
        inputs.feed(0, 2)
        inputs.feed(1, 2)

    feeder = threading.Thread(target=feed_both, daemon=True)
    feeder.start()
    feeder.join(timeout=10)
    assert inputs.sets == [[1, 1], [2, 2]]


def test_other_topics_go_on_while_a_callback_works() -> None:
    inputs = Inputs(2)
    synchroniser = TimeSynchronizer(inputs.filters, 5)
    entered, release = threading.Event(), threading.Event()

    def work(*messages: Stamped) -> None:
        entered.set()
        assert release.wait(timeout=10)

    synchroniser.registerCallback(work)
    inputs.feed(0, 1)
    slow = threading.Thread(target=inputs.feed, args=(1, 1))
    slow.start()
    assert entered.wait(timeout=10)
    other = threading.Thread(target=inputs.feed, args=(0, 2), daemon=True)
    other.start()
    other.join(timeout=10)
    stored = not other.is_alive()
    release.set()
    slow.join(timeout=10)
    assert stored


def test_approximate_sets_take_the_nearest_within_the_slop() -> None:
    inputs = Inputs(2)
    ApproximateTimeSynchronizer(inputs.filters, 10, slop=0.01).registerCallback(inputs.keep)
    ms = 1_000_000
    inputs.feed(0, 100 * ms, 108 * ms)
    inputs.feed(1, 130 * ms, 106 * ms)
    assert inputs.sets == [[108 * ms, 106 * ms]]
    inputs.feed(1, 110 * ms)
    assert inputs.sets[1:] == [[100 * ms, 110 * ms]]
    inputs.feed(0, 141 * ms)
    assert len(inputs.sets) == 2


class _Node:
    """Records what is created on it."""

    def __init__(self) -> None:
        self.created: list[tuple[Any, ...]] = []
        self.published: list[Any] = []

    def create_subscription(self, *arguments: Any, **options: Any) -> Any:
        self.created.append((*arguments, options))
        return SimpleNamespace(topic_name=arguments[1])

    def create_publisher(self, *arguments: Any) -> Any:
        self.created.append(arguments)
        return SimpleNamespace(publish=self.published.append)


def test_subscriber_passes_on_what_it_receives() -> None:
    node, got = _Node(), []
    subscriber = Subscriber(node, Image, "image", qos_profile=5)
    subscriber.registerCallback(lambda message, extra: got.append((message, extra)), "extra")
    kind, topic, callback, options = node.created[0]
    callback("message")
    assert (kind, topic, subscriber.getTopic(), options) == (Image, "image", "image", {"qos_profile": 5})
    assert got == [("message", "extra")]


def _transform(child: str) -> TransformStamped:
    return TransformStamped(header=Header(frame_id="parent"), child_frame_id=child)


def test_transforms_go_to_tf() -> None:
    node = _Node()
    broadcaster = TransformBroadcaster(node)
    broadcaster.sendTransform(_transform("a"))
    broadcaster.sendTransform([_transform("b"), _transform("c")])
    assert node.created[0][1] == "/tf" and node.created[0][2].depth == 100
    sent = [[each.child_frame_id for each in message.transforms] for message in node.published]
    assert sent == [["a"], ["b", "c"]]


def test_static_transforms_are_kept_for_late_subscribers() -> None:
    node = _Node()
    broadcaster = StaticTransformBroadcaster(node)
    broadcaster.sendTransform(_transform("a"))
    broadcaster.sendTransform([_transform("b"), _transform("a")])
    assert node.created[0][1] == "/tf_static" and node.created[0][2].durability.name == "TRANSIENT_LOCAL"
    assert sorted(each.child_frame_id for each in node.published[-1].transforms) == ["a", "b"]


def test_cv_bridge_refuses_in_its_own_way() -> None:
    bridge = cv_bridge.CvBridge()
    image = image_message(np.zeros((2, 2), np.uint8), Header())
    with pytest.raises(cv_bridge.CvBridgeError, match="mono8"):
        bridge.imgmsg_to_cv2(image, desired_encoding="bgr8")
    with pytest.raises(cv_bridge.CvBridgeError, match="encoding"):
        bridge.imgmsg_to_cv2(Image(height=1, width=1, step=1, encoding="odd", data=[0]), desired_encoding="mono8")


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content)
    return module


class _MisreadsPadding:
    def imgmsg_to_cv2(self, message: Any, desired_encoding: str) -> Any:
        return np.frombuffer(message.data, np.uint8)[: message.height].reshape(message.height, 1)


class _ReadsPadding:
    def imgmsg_to_cv2(self, message: Any, desired_encoding: str) -> Any:
        return np.array([[10], [20]], np.uint8)


@pytest.mark.parametrize(("bridge", "real"), [(_MisreadsPadding, False), (_ReadsPadding, True)])
def test_a_cv_bridge_is_used_only_when_it_works(monkeypatch: pytest.MonkeyPatch, bridge: type, real: bool) -> None:
    installed = _module("cv_bridge", CvBridge=bridge)
    monkeypatch.setitem(sys.modules, "cv_bridge", installed)
    chosen = distro.distribution_or_standin("cv_bridge", distro.reads_padded_rows)
    assert (chosen is installed) == real


def test_the_distributions_package_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = _module("message_filters")
    monkeypatch.setitem(sys.modules, "message_filters", installed)
    assert distro.distribution_or_standin("message_filters") is installed
    monkeypatch.setitem(sys.modules, "message_filters", None)
    assert distro.distribution_or_standin("message_filters").__name__ == "subpx_ros.ros.standins.message_filters"
