"""SIGINT and SIGTERM at any moment: exit code 0, soon, without a traceback, and nothing half said."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
import shots
from bench import RELATIVE, bench
from listener import Listener
from rclpy.context import Context
from scale import LONG, record
from session import FAST, START_S
from vitals import has_loaded

from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node_process import NodeProcess

_LONGEST_S = 2.0 if LONG else 4.5
"""The bar is 2 s; a machine that runs other tests beside this one gets more time."""
_LOADING = {**FAST, "refiner": "subpx"}

MOMENTS: dict[str, Callable[[NodeProcess], bool]] = {
    "at once": lambda node: True,
    "while ROS is imported": lambda node: has_loaded(node.pid, "_rclpy"),
    "while torch is imported": lambda node: has_loaded(node.pid, "libtorch_cpu"),
    "while models load": lambda node: has_loaded(node.pid, "librmw_fastrtps"),
    "when it is configured": lambda node: "configured" in node.log(),
    "when it is active": lambda node: "active" in node.log(),
}


def stop(node: NodeProcess, number: int) -> None:
    """Sends the signal, twice as a hasty hand does, and checks how the node ends."""
    start_s = time.monotonic()
    node.send_signal(number)
    assert node.stop(number) == 0, node.log()
    took_s = time.monotonic() - start_s
    assert took_s < _LONGEST_S
    record("end after a signal", took_s, "s", "< 2")
    assert "Traceback" not in node.log() and "rror" not in node.log(), node.log()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_the_start(context: Context, moment: str, number: int) -> None:
    listener = Listener(context)
    with NodeProcess(_LOADING) as node:
        try:
            listener.wait(lambda: MOMENTS[moment](node), moment, START_S)
            stop(node, number)
        finally:
            listener.close()


@pytest.mark.skipif(not LONG, reason="part of make soak")
@pytest.mark.parametrize("tenths", range(40))
def test_a_signal_at_every_tenth_of_a_second(tenths: int) -> None:
    with NodeProcess(_LOADING) as node:
        time.sleep(0.1 * tenths)
        stop(node, signal.SIGINT if tenths % 2 else signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_under_load_lets_the_frame_in_work_be_told_in_full(context: Context, number: int) -> None:
    with bench(context, shots.stereo, {"refiner": "subpx"}) as node:
        for _ in range(40):
            node.send(node.shot())
        node.wait(lambda: node.finished > 0, "the first answer")
        stop(node.process, number)
        received = node.listener.received

        def told() -> list[set[int]]:
            processed = [each for each in node.statuses if each.stage_names]
            return [
                {stamp_to_ns(each.header.stamp) for each in kind}
                for kind in (processed, received["odom"], received[RELATIVE])
            ]

        node.listener.wait(
            lambda: told()[0] == told()[1] == told()[2] != set(), "status, odometry and pose of each frame"
        )
