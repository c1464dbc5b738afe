"""Where ROS or the built messages are missing, the ROS side says so in one sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("missing", "text"), [("rclpy", "ROS 2 is needed"), ("subpx_ros.msg", "the messages of subpx_ros")]
)
@pytest.mark.parametrize("module", ["node", "replay"])
def test_what_is_missing_is_named(missing: str, text: str, module: str) -> None:
    if missing != "rclpy":
        pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from subpx_ros.errors import SubpxError\n"
        f"try:\n    import subpx_ros.ros.{module}\n"
        "except SubpxError as error:\n    print(error)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert text in output and len(output.splitlines()) == 1
