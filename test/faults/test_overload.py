"""Ten times more images than the node can take: it answers for the newest, soon, and accounts for the others."""

from __future__ import annotations

import time
from statistics import median

import pytest
import shots
from bench import Bench, bench
from nav_msgs.msg import Odometry
from rclpy.context import Context
from scale import LONG, record

from subpx_ros.ros.messages import stamp_to_ns

_SECONDS = 60.0 if LONG else 4.0
_UNLOADED = 60 if LONG else 15
_FACTOR = 10


class Camera:
    """Sends frames, and notes when each was sent and when its odometry arrived, in seconds."""

    def __init__(self, node: Bench) -> None:
        self.node = node
        self.sent: dict[int, float] = {}
        self.arrived: dict[int, float] = {}
        node.listener.node.create_subscription(Odometry, "odom", self._note, 1000)

    def _note(self, odometry: Odometry) -> None:
        stamp = stamp_to_ns(odometry.header.stamp)
        if stamp in self.sent:
            self.arrived[stamp] = time.monotonic()

    def send(self) -> int:
        shot = self.node.shot()
        self.sent[self.node.stamp_ns] = time.monotonic()
        self.node.send(shot)
        return self.node.stamp_ns

    def send_until_answered(self) -> int:
        """A frame at leisure. Once it is answered, what was sent before is through, or lost on its way."""
        for _ in range(30):
            stamp = self.send()
            deadline_s = time.monotonic() + 2.0
            while stamp not in self.arrived and time.monotonic() < deadline_s:
                self.node.listener.spin(0.05)
            if stamp in self.arrived:
                return stamp
        raise AssertionError("no frame is answered after the overload")

    def latency_s(self, stamps: list[int]) -> float:
        """Median, from publication to arrival."""
        return median(self.arrived[stamp] - self.sent[stamp] for stamp in stamps)


@pytest.mark.parametrize("reliable", [False, True], ids=["sensor data", "reliable"])
def test_overload(context: Context, reliable: bool) -> None:
    with bench(context, shots.stereo, {"reliable": reliable}) as node:
        camera = Camera(node)
        node.begin()
        first = node.finished
        for _ in range(_UNLOADED):
            stamp = camera.send()
            node.wait(lambda stamp=stamp: stamp in camera.arrived, "the odometry of a frame")
        unloaded = list(camera.arrived)
        frame_s = median(each.stage_milliseconds[-1] for each in node.statuses if each.stage_names) * 1e-3

        start_s = time.monotonic()
        while time.monotonic() < start_s + _SECONDS:
            camera.send()
            due_s = start_s + (len(camera.sent) - _UNLOADED) * frame_s / _FACTOR
            node.listener.spin(due_s - time.monotonic())
        closing = camera.send_until_answered()
        node.wait(lambda: stamp_to_ns(node.statuses[-1].header.stamp) >= closing, "the status of the last frame")
        sent = len(camera.sent)
        if reliable:
            node.wait(lambda: node.finished == first + sent, "an account of every set that was sent")
        node.wait(lambda: node.statuses[-1].frames_received == node.finished, "an account of every set received")
        processed = {stamp_to_ns(each.header.stamp) for each in node.statuses if each.stage_names} - set(unloaded)
        node.wait(lambda: processed & set(camera.sent) <= set(camera.arrived), "the odometry of every frame processed")

        last = node.statuses[-1]
        assert last.frames_received == last.frames_processed + last.frames_dropped <= first + sent
        assert sent - _UNLOADED > 2 * len(processed), "it was not overloaded"
        assert not reliable or last.frames_dropped > (sent - _UNLOADED) // 4
        stamps = list(camera.arrived)
        assert stamps == sorted(stamps), "stamps do not increase"
        loaded_s = camera.latency_s([stamp for stamp in stamps if stamp not in unloaded])
        limit_s = 1.5 * camera.latency_s(unloaded) + frame_s
        record(
            f"latency under overload, {'reliable' if reliable else 'sensor data'}",
            1e3 * loaded_s,
            "ms",
            f"<= {1e3 * limit_s:.0f}",
        )
        if LONG:
            assert loaded_s <= limit_s
        node.check_outputs()
