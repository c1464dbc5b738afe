"""Fixtures of every test over DDS: a ROS domain of this process, and a context in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

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
