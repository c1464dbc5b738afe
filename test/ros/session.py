"""A node process in a test: played to, listened to, ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from listener import Listener
from nav_msgs.msg import Path
from rclpy.context import Context
from scene import RIG
from tf2_msgs.msg import TFMessage

from subpx_ros.datatypes import Frame, Rig
from subpx_ros.errors import SubpxError
from subpx_ros.msg import RefinedMatches
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.node_process import NodeProcess
from subpx_ros.ros.player import Player

START_S = 60.0
ANSWER_S = 10.0
FAST: dict[str, Any] = {"preset": "sift", "features.max_keypoints": 400, "refiner": "none", "threads": 1}
LOSSLESS = {"reliable": True, "keep_all": True}
TOPICS = {
    "path": Path,
    "/tf": TFMessage,
    f"{NODE_NAME}/matches": RefinedMatches,
}


class Session:
    """A running node with somebody who plays to it and somebody who listens."""

    received = processed = dropped = 0
    """What the node had counted when the test began."""

    def __init__(self, context: Context, parameters: dict[str, Any], rig: Rig = RIG) -> None:
        self.node = NodeProcess(FAST | parameters)
        self.node.__enter__()
        self.listener = Listener(context, TOPICS)
        transport = parameters.get("image_transport", "raw")
        self.player = Player(context, NODE_NAME, rig, self.node.check, transport)

    def begin(self) -> None:
        """Forgets what came before, for a test that shares the node. The drive's stamps go back, so it starts again."""
        for kept in (self.player.odometry, self.player.relative_poses, self.player.status):
            kept.clear()
        for messages in self.listener.received.values():
            messages.clear()
        if self.player.latest is not None:
            latest = self.player.latest
            self.received, self.processed, self.dropped = (
                latest.frames_received,
                latest.frames_processed,
                latest.frames_dropped,
            )

    def play(self, *frames: Frame) -> None:
        """Publishes the frames one after the other, each after the answer to the one before."""
        for each in frames:
            goal = self.player.finished + 1
            self.player.publish(each)
            self.wait(lambda goal=goal, each=each: self.player.finished >= goal and each.stamp_ns in self.player.status)

    def wait(self, condition: Any) -> None:
        try:
            self.player.spin_until(condition, ANSWER_S, "the node")
        except SubpxError as error:
            raise AssertionError(f"{error}; its log ends with: {self.node.last_words()}") from error

    def close(self) -> None:
        self.player.close()
        self.listener.close()
        self.node.__exit__()


def start(context: Context, parameters: dict[str, Any], rig: Rig) -> Iterator[Session]:
    made = Session(context, parameters, rig)
    try:
        made.player.wait_for_node(START_S)
        yield made
    finally:
        made.close()


def position(odometry: Any) -> np.ndarray[Any, Any]:
    point = odometry.pose.pose.position
    return np.array([point.x, point.y, point.z])


@pytest.fixture(scope="module")
def running(context: Context) -> Iterator[Session]:
    """Stereo, every set kept; one node for all tests of a file."""
    yield from start(context, LOSSLESS, RIG)


@pytest.fixture
def session(running: Session) -> Session:
    """The file's node, which has forgotten the test before."""
    running.begin()
    return running
