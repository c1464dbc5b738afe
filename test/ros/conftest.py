"""Real ROS 2 in a domain of this process, and a small synthetic stereo drive on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("subpx_ros.msg", reason="the messages of subpx_ros are not built")

from graph import context, domain
from scene import write_drive
from session import running, session

__all__ = ["context", "domain", "running", "session"]


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KITTI sequence folder: 8 stereo frames, 0.1 m forward each."""
    return write_drive(tmp_path_factory.mktemp("drive"), frames=8)
