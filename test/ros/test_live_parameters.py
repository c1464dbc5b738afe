"""Parameters of a running node, over real DDS: what changes without a restart, and what a parameter file may hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from scene import frame
from session import START_S, Session

from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node import NODE_NAME


def change(session: Session, **values: Any) -> tuple[bool, str]:
    request = SetParametersAtomically.Request()
    request.parameters = [
        Parameter(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()
    ]
    answer = session.listener.call(SetParametersAtomically, f"{NODE_NAME}/set_parameters_atomically", request)
    return answer.result.successful, answer.result.reason


def test_a_change_holds_from_the_next_frame_on_and_tracking_goes_on(running: Session) -> None:
    running.begin()
    running.play(frame(0), frame(1))
    assert change(running, features__max_keypoints=120, publish_tf=False, path_length=1) == (True, "")
    running.play(frame(2))
    assert change(running, features__max_keypoints=400, publish_tf=True) == (True, "")
    running.play(frame(3))
    status = [running.player.status[frame(index).stamp_ns] for index in range(4)]
    assert [each.state for each in status[1:]] == [OdometryStatus.TRACKING] * 3
    assert status[1].keypoints > 120 >= status[2].keypoints > 50 and status[3].keypoints > 120
    transforms = running.listener.received["/tf"]

    def sent() -> set[int]:
        return {stamp_to_ns(each.header.stamp) for message in transforms for each in message.transforms}

    running.listener.wait(lambda: frame(3).stamp_ns in sent(), "the transform of the last frame")
    assert frame(1).stamp_ns in sent() and frame(2).stamp_ns not in sent()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"features__max_keypoints": 200, "odom_frame": "map"}, "odom_frame can change only while"),
        ({"features__max_keypoints": 200, "pose__min_inlier_ratio": 1.5}, "pose.min_inlier_ratio"),
        ({"features__max_keypoints": 200, "features__nonsense": 3}, "undeclared"),
    ],
)
def test_a_set_of_changes_is_taken_whole_or_not_at_all(running: Session, values: dict[str, Any], text: str) -> None:
    before = running.player.read_parameters(["features.max_keypoints", "odom_frame"], START_S)
    successful, reason = change(running, **values)
    assert not successful and text in reason
    assert running.player.read_parameters(["features.max_keypoints", "odom_frame"], START_S) == before


def test_a_parameter_file_with_a_mistake_ends_the_node_with_its_name(domain: int, tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("/**: {ros__parameters: {pose: {min_inlier: 3}}}")
    command = [sys.executable, "-m", "subpx_ros.node_program", "--ros-args", "--params-file", str(file)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=START_S)
    assert ended.returncode == 2
    assert "unknown parameter 'pose.min_inlier' (did you mean 'pose.min_inliers'?)" in ended.stderr
    assert "Traceback" not in ended.stderr
