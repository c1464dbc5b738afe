"""Where the camera sits on the robot, told over /tf_static by a real publisher, early, late or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Header

from subpx_ros.config import NodeConfig
from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError
from subpx_ros.frames import T_BODY_OPTICAL
from subpx_ros.geometry import invert, rotation_from_vector, se3
from subpx_ros.ros.distro import StaticTransformBroadcaster
from subpx_ros.ros.extrinsics import Extrinsics, Mount
from subpx_ros.ros.results import transform_message
from subpx_ros.transforms import StaticTransforms

A = se3(rotation_from_vector(np.array([0.1, -0.4, 0.9])), np.array([0.3, 0.1, 1.2]))
B = se3(rotation_from_vector(np.array([-1.0, 0.2, 0.3])), np.array([-0.1, 0.05, 0.4]))
LONG_S = 30.0

Send = Callable[[str, str, Array], None]
Make = Callable[..., Extrinsics]


@pytest.fixture
def node(context: Context) -> Iterator[Node]:
    """Served by a thread of its own, as the node's executor does."""
    own = Node("extrinsics", context=context, use_global_arguments=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(own)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield own
    executor.shutdown()
    thread.join(10.0)
    own.destroy_node()


@pytest.fixture
def send(node: Node) -> Send:
    broadcaster = StaticTransformBroadcaster(node)
    return lambda parent, child, pose: broadcaster.sendTransform(
        transform_message(pose, Header(frame_id=parent), child)
    )


@pytest.fixture
def make(node: Node) -> Iterator[Make]:
    made: list[Extrinsics] = []

    def build(**settings: object) -> Extrinsics:
        made.append(Extrinsics(node, NodeConfig(**{"extrinsics_timeout_s": LONG_S, **settings})))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for each in made:
        each.close()


def mount_later(extrinsics: Extrinsics, frame_id: str) -> tuple[threading.Thread, list[Mount]]:
    found: list[Mount] = []
    thread = threading.Thread(target=lambda: found.append(extrinsics.mount(frame_id)))
    thread.start()
    return thread, found


def test_transforms_sent_before_it_listens_are_found_through_a_chain(make: Make, send: Send) -> None:
    send("base_link", "mast", A)
    send("mast", "camera_optical", B)
    mount = make().mount("camera_optical")
    assert mount.note == ""
    np.testing.assert_allclose(mount.T_base_optical, A @ B, atol=1e-12)


def test_one_that_comes_late_is_waited_for(make: Make, send: Send) -> None:
    thread, found = mount_later(make(base_frame="chassis"), "eye")
    send("elsewhere", "eye", B)
    send("chassis", "eye", A)
    thread.join(LONG_S)
    np.testing.assert_allclose(found[0].T_base_optical, A, atol=1e-12)


def test_without_one_the_camera_looks_forward_and_says_that_it_is_assumed(make: Make, send: Send) -> None:
    extrinsics = make(extrinsics_timeout_s=0.2)
    mount = extrinsics.mount("nowhere")
    np.testing.assert_array_equal(mount.T_base_optical, T_BODY_OPTICAL)
    assert "no transform from base_link to nowhere after 0.2 s" in mount.note and "looking forward" in mount.note
    begin_s = time.monotonic()
    assert extrinsics.mount("nowhere") is mount
    assert time.monotonic() - begin_s < 0.2
    # Known too late for this drive, and in time for the next one.
    send("base_link", "nowhere", A)
    later = make()
    np.testing.assert_allclose(later.mount("nowhere").T_base_optical, A, atol=1e-12)
    assert extrinsics.mount("nowhere") is mount
    deadline_s = time.monotonic() + LONG_S
    while extrinsics.mount("nowhere").note:
        assert time.monotonic() < deadline_s
        extrinsics.forget()
    np.testing.assert_allclose(extrinsics.mount("nowhere").T_base_optical, A, atol=1e-12)


def test_images_without_a_frame_are_not_waited_for(make: Make) -> None:
    assert "no frame_id" in make().mount("").note


def test_a_wait_can_be_ended_and_comes_once(make: Make) -> None:
    extrinsics = make()
    thread, found = mount_later(extrinsics, "camera")
    extrinsics.stop_waiting()
    thread.join(LONG_S / 3)
    assert not thread.is_alive() and found[0].note
    begin_s = time.monotonic()
    extrinsics.forget()
    assert extrinsics.mount("camera").note and time.monotonic() - begin_s < LONG_S / 3


def test_what_is_no_rotation_is_ignored(make: Make, send: Send, node: Node) -> None:
    broken = transform_message(np.eye(4), Header(frame_id="base_link"), "camera")
    broken.transform.rotation.w = 0.0
    StaticTransformBroadcaster(node).sendTransform(broken)
    send("base_link", "other", A)
    extrinsics = make(extrinsics_timeout_s=LONG_S)
    np.testing.assert_allclose(extrinsics.mount("other").T_base_optical, A, atol=1e-12)
    quick = make(extrinsics_timeout_s=0.2)
    assert quick.mount("camera").note


def test_the_parameter_comes_first(make: Make, send: Send) -> None:
    send("base_link", "camera", A)
    mount = make(camera_in_base="1 2 3 0 0 0").mount("camera")
    np.testing.assert_allclose(mount.T_base_optical, se3(np.eye(3), np.array([1.0, 2, 3])) @ T_BODY_OPTICAL)
    assert mount.note == ""
    with pytest.raises(ConfigError, match="six finite numbers"):
        make(camera_in_base="1 2")


def test_frames_are_found_up_and_down_the_tree() -> None:
    tree = StaticTransforms()
    tree.add("base", "left", A)
    tree.add("/base", "/right", B)
    tree.add("map", "base", B)
    found: dict[tuple[str, str], Any] = {
        pair: tree.find(*pair) for pair in [("base", "base"), ("left", "right"), ("left", "map"), ("left", "none")]
    }
    np.testing.assert_array_equal(found["base", "base"], np.eye(4))
    np.testing.assert_allclose(found["left", "right"], invert(A) @ B, atol=1e-12)
    np.testing.assert_allclose(found["left", "map"], invert(B @ A), atol=1e-12)
    assert found["left", "none"] is None
    tree.add("left", "base", A)  # a loop
    assert tree.find("left", "none") is None
