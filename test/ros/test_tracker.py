"""When the odometry starts again, what it refuses, and what it does with less than was asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from scene import PERIOD_NS, RIG, frame

from subpx_ros.config import load_config
from subpx_ros.datatypes import Frame, PoseStatus, Rig
from subpx_ros.errors import DataError
from subpx_ros.features.sift import SiftDetector
from subpx_ros.ros.diagnostics import Machine
from subpx_ros.ros.tracker import Tracker

SETTINGS: dict[str, Any] = {
    "preset": "sift",
    "refiner": "none",
    "mode": "stereo",
    "threads": 1,
    "features": {"max_keypoints": 300},
}
OK, FIRST = PoseStatus.OK, PoseStatus.NO_REFERENCE


@pytest.fixture
def tracker() -> Tracker:
    return Tracker(load_config(SETTINGS), lambda line: None)


def statuses(tracker: Tracker, *frames: Frame) -> list[tuple[PoseStatus, str]]:
    results = [tracker.process(each) for each in frames]
    return [(found.relative_pose.status, why) for found, why in results]


def test_it_starts_again_on_request(tracker: Tracker) -> None:
    assert statuses(tracker, frame(0), frame(1)) == [(FIRST, ""), (OK, "")]
    tracker.ask_reset()
    assert statuses(tracker, frame(2), frame(3)) == [(FIRST, "reset on request"), (OK, "")]


def test_it_starts_again_when_time_goes_back(tracker: Tracker) -> None:
    again = statuses(tracker, frame(4), frame(5), frame(0), frame(1))
    assert again == [(FIRST, ""), (OK, ""), (FIRST, "started again: stamps went back by 0.500 s"), (OK, "")]


def test_it_starts_again_when_time_goes_back_to_the_frame_before(tracker: Tracker) -> None:
    assert statuses(tracker, frame(0), frame(1), frame(0))[2] == (FIRST, "started again: stamps went back by 0.100 s")


def test_it_refuses_a_repeated_stamp_and_goes_on(tracker: Tracker) -> None:
    tracker.process(frame(0))
    with pytest.raises(DataError, match="was there before"):
        tracker.process(frame(0))
    assert statuses(tracker, frame(1)) == [(OK, "")]


def test_it_refuses_a_frame_that_was_overtaken_and_goes_on(tracker: Tracker) -> None:
    statuses(tracker, frame(0), frame(2))
    with pytest.raises(DataError, match=r"too late: its stamp is 0\.100 s before"):
        tracker.process(frame(1))
    found, why = tracker.process(frame(3))
    assert (found.relative_pose.status, why) == (OK, "") and found.reference_stamp_ns == frame(2).stamp_ns


def test_it_starts_again_with_another_calibration(tracker: Tracker) -> None:
    other = dataclasses.replace(RIG.left, fx=250.0, fy=250.0)
    rig = Rig(other, other, 0.2)
    frames = [frame(0), frame(1), dataclasses.replace(frame(2), rig=rig), dataclasses.replace(frame(3), rig=rig)]
    found = statuses(tracker, *frames)
    assert [status for status, _ in found] == [FIRST, OK, FIRST, OK]
    assert found[2][1] == "started again: the calibration or the image size changed"
    assert frames[3].stamp_ns - frames[2].stamp_ns == PERIOD_NS


def test_without_the_gpu_asked_for_it_runs_on_the_cpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said: list[str] = []
    tracker = Tracker(load_config(SETTINGS | {"device": "cuda"}), said.append)
    note = "running on the CPU: device 'cuda' was asked for, but PyTorch sees no GPU"
    assert tracker.device == "cpu" and tracker.notes == [note] and note in said
    assert (tracker.machine().device, tracker.machine().notes) == ("cpu", (note,))
    assert statuses(tracker, frame(0), frame(1)) == [(FIRST, ""), (OK, "")]
    tracker.reconfigure(load_config(SETTINGS | {"device": "cuda"}))
    assert tracker.notes == [note] and statuses(tracker, frame(2)) == [(OK, "")]


class Hungry:
    """A SIFT that needs more memory than there is for more than `limit` keypoints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.limit = limit
        detect = SiftDetector._detect

        def detect_within(detector: SiftDetector, images: torch.Tensor) -> Any:
            if detector._config.max_keypoints > self.limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return detect(detector, images)

        monkeypatch.setattr(SiftDetector, "_detect", detect_within)


def test_a_failed_gpu_allocation_halves_the_keypoints_and_says_so(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(tracker, frame(0), frame(1))
    Hungry(monkeypatch, limit=200)
    found, why = tracker.process(frame(2))
    assert (found.relative_pose.status, why) == (OK, "") and found.reference_stamp_ns == frame(1).stamp_ns
    assert 100 < found.counts["keypoints"] <= 150
    assert tracker.notes == ["features.max_keypoints halved from 300 to 150: the GPU is out of memory"]
    assert statuses(tracker, frame(3)) == [(OK, "")] and len(tracker.notes) == 1


def test_when_no_number_of_keypoints_fits_frames_are_refused_until_one_does(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses(tracker, frame(0), frame(1))
    hungry = Hungry(monkeypatch, limit=10)
    for index in (2, 3):
        with pytest.raises(DataError, match="out of memory with 150 keypoints"):
            tracker.process(frame(index))
    hungry.limit = 1000
    assert statuses(tracker, frame(4)) == [(OK, "")]
    tracker.reconfigure(load_config(SETTINGS))
    assert tracker.notes == []
    found, _ = tracker.process(frame(5))
    assert found.counts["keypoints"] > 150


def test_the_memory_of_a_gpu_is_reported_and_one_that_fails_is_named(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 2**20
    monkeypatch.setattr(tracker._front_end, "device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (25 * mib, 100 * mib))
    assert tracker.machine() == Machine("a GPU", (), gpu_used_mb=75.0, gpu_total_mb=100.0)

    def fails(device: torch.device) -> None:
        raise RuntimeError("CUDA error: device-side assert\nmore lines")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fails)
    assert tracker.machine() == Machine("cuda", ("the GPU does not answer: CUDA error: device-side assert",))
