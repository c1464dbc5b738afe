"""Real ROS 2 in a domain of this process, and a small synthetic stereo drive on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("subpx_ros.msg", reason="the messages of subpx_ros are not built")

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from scene import write_drive

from subpx_ros.ros.node_process import ros_environment


@pytest.fixture(scope="session", autouse=True)
def domain() -> Iterator[int]:
    """The ROS domain of this test process; child processes inherit it."""
    with ros_environment() as number:
        yield number


@pytest.fixture(scope="session")
def context(domain: int) -> Iterator[Context]:
    own = Context()
    rclpy.init(args=[], context=own, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    yield own
    own.try_shutdown()


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KITTI sequence folder: 8 stereo frames, 0.1 m forward each."""
    return write_drive(tmp_path_factory.mktemp("drive"), frames=8)
