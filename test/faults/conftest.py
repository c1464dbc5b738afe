"""Real ROS 2 in a domain of this process; this process plays the faults, nodes run in processes of their own."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("subpx_ros.msg", reason="the messages of subpx_ros are not built")

from graph import context, domain

__all__ = ["context", "domain"]
