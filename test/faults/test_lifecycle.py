"""A lifecycle manager takes the node up and down again and again: nothing leaks, and an inactive node is silent."""

from __future__ import annotations

import pytest
import shots
from bench import OUTPUTS, Bench
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from scale import record
from vitals import vitals

from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.node import NODE_NAME

_CYCLES = 20
_WARM = 4
"""Cycles after which everything that is made once has been made."""


@pytest.fixture
def node(context: Context) -> Bench:
    return Bench(context, shots.stereo, {"autostart": False})


def change(node: Bench, *transitions: int) -> None:
    for transition in transitions:
        assert node.listener.change_state(NODE_NAME, transition), f"transition {transition}"


def test_twenty_times_up_and_down(node: Bench) -> None:
    try:
        for cycle in range(_CYCLES):
            change(node, Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
            forget(node)
            node.wait_until_connected()
            node.begin()
            change(node, Transition.TRANSITION_DEACTIVATE)
            assert_silent_while_inactive(node)
            change(node, Transition.TRANSITION_CLEANUP)
            if cycle == _WARM:
                before = vitals(node.process.pid)
        after = vitals(node.process.pid)
        record("lifecycle: threads more after 15 cycles", after.threads - before.threads, "", "0")
        record("lifecycle: files more after 15 cycles", after.files - before.files, "", "0")
        record("lifecycle: memory growth over 15 cycles", after.rss_mb - before.rss_mb, "MiB", "< 15")
        assert (after.threads, after.files) == (before.threads, before.files)
        assert after.rss_mb - before.rss_mb < 15.0
    finally:
        node.close()


def forget(node: Bench) -> None:
    for messages in node.listener.received.values():
        messages.clear()


def assert_silent_while_inactive(node: Bench) -> None:
    """What was sent before may still arrive; of what is sent now, nothing is answered."""
    assert node.statuses[-1].state == OdometryStatus.TRACKING
    node.wait(lambda: node.listener.node.count_subscribers("/left/image_rect") == 0, "the end of subscriptions")
    forget(node)
    node.send(node.shot())
    # The node answers requests in the order in which they come, so a late message would be here by now.
    assert node.listener.state(NODE_NAME) == "inactive"
    assert not [topic for topic in OUTPUTS if node.listener.received[topic]]
