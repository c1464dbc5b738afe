"""`subpx bench throughput`, and a node that converts ahead for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from subpx_ros.config import NodeConfig, load_config
from subpx_ros.errors import ConfigError
from subpx_ros.ros.node_process import ros_environment
from subpx_ros.ros.throughput import measure_throughput
from subpx_ros.ros.tracker import Tracker
from subpx_ros.ros.worker import converts_ahead

FAST: dict[str, Any] = {"preset": "orb", "refiner": "none", "threads": 1, "features": {"max_keypoints": 200}}


def test_a_compressed_unrectified_pair_is_measured_on_and_off(drive: Path, tmp_path: Path) -> None:
    with ros_environment():
        content = measure_throughput(str(drive), tmp_path, FAST, ("compressed-unrectified",), frames=3, rounds=1)
    assert json.loads((tmp_path / "throughput.json").read_text()) == content
    for side in ("off", "on"):
        figures = content["items"]["compressed-unrectified"][side]
        assert set(figures) == {"idle_ms", "overload_ms", "frames_per_s"} and min(figures.values()) > 0.0
        assert 1e3 / figures["frames_per_s"] < 10.0 * figures["idle_ms"]


@pytest.mark.parametrize(("kinds", "frames"), [(("grey", "smell"), 3), (("grey",), 1)])
def test_what_cannot_be_measured_is_refused(kinds: tuple[str, ...], frames: int, drive: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        measure_throughput(str(drive), tmp_path, FAST, kinds, frames, 1)


def test_automatic_conversion_ahead_needs_cores_that_the_networks_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker(load_config({"preset": "sift", "refiner": "none", "mode": "stereo"}), lambda line: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(4)))
    for threads, expected in ((2, True), (3, False), (4, False)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert converts_ahead(NodeConfig(), tracker) is expected
        assert converts_ahead(NodeConfig(convert_ahead="on"), tracker)
        assert not converts_ahead(NodeConfig(convert_ahead="off"), tracker)
