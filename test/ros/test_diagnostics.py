"""/diagnostics: which level for what, and that its reason is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from subpx_ros.config import DiagnosticsConfig
from subpx_ros.datatypes import TrackingState
from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Machine
from subpx_ros.ros.messages import float_array

INITIALISING, TRACKING, DEGRADED, LOST = TrackingState
PERIOD_S = 0.1


class Robot:
    """Ten sets of images a second, all of them good unless said otherwise."""

    def __init__(self, **limits: Any) -> None:
        self.now_s = 100.0
        self.received = self.processed = self.dropped = 0
        self.diagnostics = Diagnostics("robot/subpx_odometry", DiagnosticsConfig(**limits), lambda: self.now_s)

    def frames(
        self, count: int, state: TrackingState = TRACKING, reason: str = "", *, replaced: int = 0, **fields: Any
    ) -> None:
        """`count` processed sets, `replaced` others before each of them."""
        for _ in range(count):
            self.now_s += PERIOD_S
            self.received += 1 + replaced
            self.dropped += replaced
            self.processed += 1
            given = {"matches": 400, "inliers": 300, "keypoints": 900, "stereo_matches": 500}
            given |= {"latency": 0.05, "sync_difference": 0.0} | fields
            status = self._status(state, reason, **given)
            status.stage_names, status.stage_milliseconds = ["pose", "total"], float_array(np.array([4.0, 30.0]))
            self.diagnostics.hear(status, silent=False)

    def refused(self, reason: str) -> None:
        self.now_s += PERIOD_S
        self.received += 1
        self.dropped += 1
        self.diagnostics.hear(self._status(LOST, reason, latency=0.01, sync_difference=0.0), silent=False)

    def silence(self, state: TrackingState, reason: str) -> None:
        self.now_s += 0.5
        self.diagnostics.hear(self._status(state, reason, latency=-1.0, sync_difference=-1.0), silent=True)

    def _status(self, state: TrackingState, reason: str, **fields: Any) -> OdometryStatus:
        counts = {
            "frames_received": self.received,
            "frames_processed": self.processed,
            "frames_dropped": self.dropped,
        }
        return OdometryStatus(state=state.value, reason=reason, **counts, **fields)

    def report(self, machine: Machine | None = None, assumed: str = "") -> dict[str, DiagnosticStatus]:
        array = self.diagnostics.report(Time(sec=7), machine or Machine(), assumed)
        assert array.header.stamp == Time(sec=7)
        names = [status.name for status in array.status]
        assert names == [f"robot/subpx_odometry: {name}" for name in ("tracking", "images", "processing")]
        return {status.name.partition(": ")[2]: status for status in array.status}

    def levels(self, **given: Any) -> tuple[bytes, bytes, bytes]:
        tracking, images, processing = self.report(**given).values()
        return tracking.level, images.level, processing.level


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


def test_a_good_drive_is_ok_and_has_its_figures() -> None:
    robot = Robot()
    robot.frames(80, replaced=1)
    assert robot.levels() == (OK, OK, OK)
    report = robot.report()
    tracking, images, processing = (values(report[name]) for name in ("tracking", "images", "processing"))
    assert (tracking["state"], tracking["inlier share"], tracking["inliers"]) == ("TRACKING", "0.75", "300")
    assert images["received"] == "160" and float(images["rate (Hz)"]) == pytest.approx(20.0, rel=0.05)
    assert float(processing["rate (Hz)"]) == pytest.approx(10.0, rel=0.05)
    assert float(processing["dropped share"]) == pytest.approx(0.5)
    assert (processing["latency, median (s)"], processing["total (ms)"], processing["pose (ms)"]) == ("0.05", "30", "4")
    assert (processing["processed"], processing["dropped"], processing["device"]) == ("80", "80", "cpu")


@pytest.mark.parametrize(("state", "level"), [(INITIALISING, WARN), (DEGRADED, WARN), (LOST, ERROR)])
def test_the_state_decides_at_once_and_is_left_at_once(state: TrackingState, level: bytes) -> None:
    robot = Robot()
    robot.frames(20)
    robot.frames(1, state, "too dark")
    tracking = robot.report()["tracking"]
    assert (tracking.level, tracking.message) == (level, f"{state.name}: too dark")
    robot.frames(1)
    assert robot.report()["tracking"].level == OK


def test_before_any_image_it_waits() -> None:
    robot = Robot()
    assert robot.levels() == (WARN, WARN, OK)
    robot.silence(INITIALISING, "nothing received on /left/image_rect")
    report = robot.report()
    assert report["images"].level == WARN and "/left/image_rect" in report["images"].message


def test_images_that_stop_are_an_error() -> None:
    robot = Robot()
    robot.frames(20)
    robot.silence(LOST, "nothing received on /camera_info since the last set")
    assert robot.levels() == (ERROR, ERROR, OK)
    assert "/camera_info" in robot.report()["images"].message


def test_refused_images_are_named_for_some_seconds() -> None:
    robot = Robot()
    robot.frames(20)
    robot.refused("P of camera_info has NaN")
    robot.frames(20)
    images = robot.report()["images"]
    assert images.level == WARN and images.message == "1 refused in 4 s, the last: P of camera_info has NaN"
    assert values(images)["refused lately"] == "1"
    robot.frames(60)
    assert robot.levels() == (OK, OK, OK)


@pytest.mark.parametrize(
    ("limit", "fields", "entry", "level", "text"),
    [
        ({"min_inlier_ratio": 0.5}, {"inliers": 190}, "tracking", WARN, "inlier share 0.475, limit 0.5"),
        ({"max_sync_difference_s": 0.005}, {"sync_difference": 0.008}, "images", WARN, "differ by 0.008 s"),
        ({"max_latency_s": 0.2}, {"latency": 0.3}, "processing", WARN, "latency 0.300 s, limit 0.2 s"),
        ({"max_latency_s": 0.2}, {"latency": 0.9}, "processing", ERROR, "latency 0.900 s, limit 0.2 s"),
        ({"min_rate_hz": 20.0}, {}, "processing", WARN, "Hz processed, limit 20 Hz"),
        ({"max_drop_ratio": 0.5}, {"replaced": 3}, "processing", WARN, "75% dropped, limit 50%"),
    ],
)
def test_each_limit_acts(limit: dict[str, float], fields: dict[str, Any], entry: str, level: bytes, text: str) -> None:
    robot = Robot(**limit)
    robot.frames(60, **fields)
    found = robot.report()
    assert found[entry].level == level and text in found[entry].message
    assert [status.level for name, status in found.items() if name != entry] == [OK, OK]
    robot.diagnostics.limits = DiagnosticsConfig()
    if level == WARN:
        assert robot.levels() == (OK, OK, OK)


def test_what_is_assumed_or_missing_is_a_warning() -> None:
    robot = Robot()
    robot.frames(60)
    assert robot.levels(assumed="/tf_static has no transform") == (WARN, OK, OK)
    less = Machine("cpu", ("running on the CPU",))
    assert robot.levels(machine=less) == (OK, OK, WARN)
    assert robot.report(machine=less)["processing"].message == "running on the CPU"
    full = Machine("GPU", (), gpu_used_mb=9900.0, gpu_total_mb=10000.0)
    assert robot.levels(machine=full) == (OK, OK, WARN)
    assert values(robot.report(machine=full)["processing"])["GPU memory in use (MiB)"] == "9900"


def test_the_worst_comes_first() -> None:
    robot = Robot(min_inlier_ratio=0.9)
    robot.frames(10)
    robot.frames(1, LOST, "too dark")
    tracking = robot.report()["tracking"]
    assert tracking.level == ERROR and tracking.message.startswith("LOST: too dark; inlier share")
