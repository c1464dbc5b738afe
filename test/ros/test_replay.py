"""`subpx replay`: the same trajectory as offline, and clear ends when something fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subpx_ros.config import load_config
from subpx_ros.datasets import open_sequence
from subpx_ros.errors import ConfigError, SubpxError
from subpx_ros.geometry import rotation_angle
from subpx_ros.odometry import VisualOdometry
from subpx_ros.ros.replay import replay

SETTINGS: dict[str, Any] = {"preset": "sift", "refiner": "none", "threads": 1, "features": {"max_keypoints": 400}}


@pytest.mark.parametrize(("mode", "rate"), [("stereo", 0.0), ("mono", 20.0)])
def test_the_trajectory_equals_the_offline_one(drive: Path, tmp_path: Path, mode: str, rate: float) -> None:
    summary = replay(str(drive), out=tmp_path, overrides=SETTINGS, mode=mode, rate=rate, frames=(1, 7))
    sequence = open_sequence(str(drive), mode, (1, 7))
    odometry = VisualOdometry(load_config(SETTINGS | {"mode": mode}), sequence.rig)
    offline = np.array([odometry.process(frame).T_odom_camera for frame in sequence])
    played = np.loadtxt(tmp_path / "poses.txt").reshape(-1, 3, 4)
    assert played.shape == (6, 3, 4)
    assert np.abs(played[:, :, 3] - offline[:, :3, 3]).max() < 1e-6
    assert max(rotation_angle(a[:, :3].T @ b[:3, :3]) for a, b in zip(played, offline, strict=True)) < 1e-6
    assert np.linalg.norm(offline[-1, :3, 3]) > 0.45
    assert (summary["frames"], summary["lost"], summary["mode"]) == (6, 0, mode)
    assert (summary["preset"], summary["refiner"], summary["device"]) == ("sift", "none", "cpu")
    assert {"features", "total"} <= set(summary["stage_ms"]) and summary["peak_rss_mb"] > 10
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    written = {"config.yaml", "frames.png", "poses.txt", "summary.json", "trajectory.png", "trajectory.tum"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_a_node_that_cannot_start_tells_why(drive: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"features": {"detector": "nope"}}
    with pytest.raises(SubpxError, match=r"exit code 2\).*unknown detector 'nope'"):
        replay(str(drive), out=tmp_path / "out", overrides=settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("overrides", [{"preset": "nope"}, {"pose": {"sed": 1}}, {"mode": "mono", "threads": -1}])
def test_bad_settings_are_refused_before_anything_starts(
    drive: Path, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        replay(str(drive), out=tmp_path, overrides=overrides)
    with pytest.raises(ConfigError, match="rate"):
        replay(str(drive), out=tmp_path, rate=-1.0)


def test_a_killed_node_is_noticed_and_a_stopped_replay_leaves_no_node(drive: Path, tmp_path: Path) -> None:
    """One child replays at a crawl; its node is killed. Another is told to stop."""
    code = (
        "import sys; from pathlib import Path; from subpx_ros.ros.replay import replay\n"
        f"replay({str(drive)!r}, out=Path({str(tmp_path / 'out')!r}), overrides={SETTINGS!r}, rate=1e-3)"
    )
    for number in (None, signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                assert "starting the node" in process.stderr.readline()
                (node,) = _wait_for_children(process.pid)
                if number is None:
                    os.kill(node, signal.SIGKILL)
                else:
                    process.send_signal(number)
                _, errors = process.communicate(timeout=30)
            finally:
                process.kill()
            expected = "ended early (exit code -9)" if number is None else "KeyboardInterrupt"
            assert expected in errors
            assert not Path(f"/proc/{node}").exists()
    assert not (tmp_path / "out").exists()


def _wait_for_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while not (found := children.read_text().split()):
        pass
    return [int(child) for child in found]
