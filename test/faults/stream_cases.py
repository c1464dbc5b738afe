"""Headers, order and timing of messages, and messages that do not come."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench import PERIOD_NS, Bench
from fault_case import REPEATED, Case, Change, bad, unheard
from shots import LEFT, LEFT_INFO, RIGHT, RIGHT_INFO, Shot
from std_msgs.msg import Header

from subpx_ros.ros.messages import stamp_from_ns, stamp_to_ns


def _frame_id(text: str) -> Change:
    def change(shot: Shot) -> None:
        for message in shot.values():
            message.header.frame_id = text

    return change


def _stamp(seconds: int, nanoseconds: int = 0) -> Change:
    def change(shot: Shot) -> None:
        for message in shot.values():
            message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds

    return change


def _right_later(shot: Shot) -> None:
    header = shot[RIGHT].header
    later = stamp_from_ns(stamp_to_ns(header.stamp) + 1_000_000)
    shot[RIGHT].header = Header(stamp=later, frame_id=header.frame_id)


def _looping_bag(bench: Bench) -> None:
    for _ in range(REPEATED):
        bench.stamp_ns -= 5 * PERIOD_NS
        bench.play(bench.shot())
        bench.play(bench.shot())


def _duplicates(bench: Bench) -> None:
    shot = bench.shot()
    for _ in range(1 + REPEATED):
        bench.play(shot)


def _gap(bench: Bench) -> None:
    bench.stamp_ns += 10_000_000_000
    bench.play(bench.shot())


def _far_future(bench: Bench) -> None:
    shot = bench.shot()
    _stamp(2**31 - 1, 999_999_999)(shot)
    bench.play(shot)
    bench.play(bench.shot())


def _late_camera_info(bench: Bench) -> None:
    """camera_info comes three frames after its images."""
    shots = [bench.shot() for _ in range(6)]
    done = bench.finished
    for index, shot in enumerate(shots):
        bench.send({topic: shot[topic] for topic in (LEFT, RIGHT)})
        if index >= 3:
            bench.send({topic: shots[index - 3][topic] for topic in (LEFT_INFO, RIGHT_INFO)})
            bench.wait(lambda index=index: bench.finished >= done + index - 2, "an answer to a set that was late")


def _burst(bench: Bench) -> None:
    """A driver that wakes up."""
    shots = [bench.shot() for _ in range(40)]
    done = bench.finished
    for shot in shots:
        bench.send(shot)
    bench.wait(lambda: bench.finished == done + len(shots), "an account of every set")


def _missing(topic: str, seconds: float) -> Callable[[Bench], None]:
    """The topic falls silent while the others go on at the camera's rate."""

    def play(bench: Bench) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            shot = bench.shot()
            del shot[topic]
            bench.send(shot)
            due_s = time.monotonic() + PERIOD_NS * 1e-9
            bench.wait(lambda due_s=due_s: time.monotonic() >= due_s, "the next frame")
        bench.wait_for_reason(topic)

    return play


STREAM_CASES = [
    bad("empty frame id", "", _frame_id("")),
    bad("endless frame id", "", _frame_id("camera/" * 10_000)),
    bad("frame id with odd characters", "", _frame_id("//\n\u202e cam'); DROP")),
    bad("stamp 0", "stamp", _stamp(0)),
    unheard("negative stamps", "stamp", _stamp(-5)),
    unheard("a stamp with more than 10^9 ns", "stamp", _stamp(5, 3_000_000_000)),
    unheard("left and right stamped differently", "stamp", _right_later),
    Case("stamps that go back, as in a looping bag", "back", _looping_bag),
    Case("the same stamp again", "stamp", _duplicates),
    Case("a gap of ten seconds", "gap", _gap),
    Case("one stamp far in the future", "back", _far_future),
    Case("camera_info that comes late", "", _late_camera_info),
    Case("forty sets at once", "", _burst),
    Case("right image missing for 5 s", RIGHT, _missing(RIGHT, 5.0)),
    Case("left image missing", LEFT, _missing(LEFT, 1.0)),
    Case("camera_info missing", LEFT_INFO, _missing(LEFT_INFO, 1.0)),
]
