"""What the node publishes beside poses, over real DDS: velocity, landmarks, pictures, diagnostics; and what it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listener import Listener
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.lifecycle import LifecycleNode
from scene import PERIOD_NS, RIG, STEP_M, frame
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from session import LOSSLESS, Session, start
from std_msgs.msg import Header

from subpx_ros.config import NodeConfig, load_config
from subpx_ros.datatypes import Frame, OdometryResult
from subpx_ros.drawing import draw_matches
from subpx_ros.msg import OdometryStatus
from subpx_ros.odometry import VisualOdometry
from subpx_ros.ros.extrinsics import Extrinsics
from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.outputs import Outputs
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

PICTURES = {
    f"{NODE_NAME}/landmarks": PointCloud2,
    f"{NODE_NAME}/match_image": Image,
    f"{NODE_NAME}/match_image/compressed": CompressedImage,
}
ENTRIES = ("tracking", "images", "processing")


def entries(message: DiagnosticArray) -> dict[str, DiagnosticStatus]:
    return {status.name.removeprefix(f"{NODE_NAME}: "): status for status in message.status}


def test_without_the_gpu_asked_for_the_node_runs_on_the_cpu(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the other tests of this file, whose node would hear the same images."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    looker = Listener(context, {"/diagnostics": DiagnosticArray})
    try:
        for session in start(context, LOSSLESS | {"device": "cuda"}, RIG):
            assert session.player.read_parameters(["device"], 30.0) == {"device": "cpu"}
            session.play(frame(0), frame(1))
            first, second = (session.player.status[frame(index).stamp_ns] for index in (0, 1))
            assert first.reason == (
                "first frame; running on the CPU: device 'cuda' was asked for, but PyTorch sees no GPU"
            )
            assert (second.state, second.reason) == (OdometryStatus.TRACKING, ""), "said once, and it tracks"
            looker.wait(
                lambda: any(
                    "running on the CPU" in entries(each)["processing"].message
                    for each in looker.received["/diagnostics"]
                ),
                "the warning in the diagnostics",
            )
    finally:
        looker.close()


def later(index: int, seconds: float) -> Frame:
    return frame(index, frame(index).stamp_ns + round(seconds * 1e9))


def messages_by_stamp(messages: list[Any]) -> dict[int, Any]:
    return {stamp_to_ns(message.header.stamp): message for message in messages}


def test_velocity_is_that_of_the_drive_and_unknown_without_a_pose(session: Session) -> None:
    dark = replace(frame(3), image=np.zeros_like(frame(3).image), right_image=np.zeros_like(frame(3).image))
    session.play(frame(0), frame(1), frame(2), dark, frame(4), frame(5))
    odometry = session.player.odometry
    stamps = [frame(index).stamp_ns for index in range(6)]
    session.wait(lambda: set(stamps) <= set(odometry))
    assert list(odometry) == stamps, "published stamps strictly increase"
    known = [index for index, stamp in enumerate(stamps) if odometry[stamp].twist.covariance[0] < UNKNOWN_VARIANCE]
    assert known == [1, 2, 5], "both it and the frame before have a pose"
    for index, stamp in enumerate(stamps):
        twist, covariance = odometry[stamp].twist.twist, odometry[stamp].twist.covariance.reshape(6, 6)
        speed = STEP_M / (PERIOD_NS * 1e-9) if index in known else 0.0
        assert twist.linear.x == pytest.approx(speed, abs=0.15)
        assert np.isfinite(covariance).all() and np.linalg.eigvalsh(covariance).min() > 0
        if index in known:
            assert abs(twist.linear.x - speed) < 6.0 * np.sqrt(covariance[0, 0]) and covariance[0, 0] < 0.1


def test_status_has_the_times_of_the_set(session: Session) -> None:
    session.play(frame(0), frame(1))
    status = session.player.status[frame(1).stamp_ns]
    assert stamp_to_ns(status.last_good_stamp) == frame(1).stamp_ns
    assert status.sync_difference == 0.0
    total_s = status.stage_milliseconds[-1] * 1e-3
    assert total_s < status.latency < total_s + 10.0


def test_a_gap_is_lost_and_left_with_the_next_frame(session: Session) -> None:
    drive = [frame(0), frame(1), later(2, 3.0), later(3, 3.0)]
    session.play(*drive)
    gap, after = (session.player.status[each.stamp_ns] for each in drive[2:])
    session.wait(lambda: {each.stamp_ns for each in drive} <= set(session.player.odometry))
    assert gap.state == OdometryStatus.LOST and gap.reason == "gap of 3.1 s between frames, 1 s are bridged"
    assert gap.time_since_good_pose == pytest.approx(3.1) and stamp_to_ns(gap.last_good_stamp) == drive[1].stamp_ns
    assert (after.state, after.reason, after.time_since_good_pose) == (OdometryStatus.TRACKING, "", 0.0)
    lost, found = (session.player.odometry[each.stamp_ns] for each in drive[2:])
    assert min(np.diag(lost.pose.covariance.reshape(6, 6))) == UNKNOWN_VARIANCE
    assert min(np.diag(found.pose.covariance.reshape(6, 6))[:3]) >= UNKNOWN_VARIANCE
    transforms = session.listener.received["/tf"]

    def sent() -> set[int]:
        return {stamp_to_ns(each.header.stamp) for message in transforms for each in message.transforms}

    session.listener.wait(lambda: drive[3].stamp_ns in sent(), "the transform after the gap")
    assert drive[2].stamp_ns not in sent()


def test_a_frame_that_comes_too_late_is_refused_and_costs_nothing(session: Session) -> None:
    session.play(frame(0), frame(2), frame(1), frame(3))
    late, after = (session.player.status[frame(index).stamp_ns] for index in (1, 3))
    assert "came too late" in late.reason and not late.stage_names
    assert after.state == OdometryStatus.TRACKING and after.reason == ""
    session.wait(lambda: frame(3).stamp_ns in session.player.odometry)
    assert frame(1).stamp_ns not in session.player.odometry


def test_landmarks_and_pictures_come_to_those_who_subscribe(session: Session, context: Context) -> None:
    looker = Listener(context, PICTURES)
    try:
        looker.wait(lambda: all(looker.node.count_publishers(topic) for topic in PICTURES), "the publishers")
        index = 0

        def newest() -> list[tuple[int, Any]]:
            """Of this test's frames: a picture of the last test's one may still be on its way."""
            answered = session.player.status
            by_topic = [messages_by_stamp(received) for received in looker.received.values()]
            return [
                max(each.items())
                for each in ({s: m for s, m in kept.items() if s in answered} for kept in by_topic)
                if each
            ]

        while len(newest()) < len(PICTURES):  # until the node has seen the subscriptions
            index += 1
            session.play(frame(index % 2, 1_000_000_000 + index * PERIOD_NS))
            looker.spin(0.1)
            assert index < 100
        pictures = newest()
    finally:
        looker.close()
    (_, cloud), (stamp, raw), (_, jpeg) = pictures
    values = np.frombuffer(cloud.data, dtype="<f4").reshape(-1, 4)
    assert cloud.header.frame_id == "odom" and len(values) == cloud.width > 50 and np.isfinite(values).all()
    assert abs(np.median(values[:, 0]) - 4.0) < 0.5, "the plane is four metres ahead of the origin"
    assert raw.header.frame_id == "left_camera_optical" and stamp in session.player.status
    drawn = np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, 3)
    assert raw.encoding == "bgr8" and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 256, "colours on grey"
    decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None and decoded.shape == drawn.shape


def test_diagnostics_come_once_a_second_with_and_without_images(session: Session, context: Context) -> None:
    looker = Listener(context, {"/diagnostics": DiagnosticArray})
    received = looker.received["/diagnostics"]

    def latest_says(level: bytes, name: str) -> bool:
        return bool(received) and entries(received[-1])[name].level == level

    try:
        session.play(*(frame(index) for index in range(3)))
        looker.wait(lambda: latest_says(DiagnosticStatus.ERROR, "images"), "the silence to be noticed")
        silent = entries(received[-1])
        assert tuple(silent) == ENTRIES
        assert "nothing received on" in silent["images"].message and "/left/image_rect" in silent["images"].message
        assert silent["tracking"].level == DiagnosticStatus.ERROR and silent["tracking"].message.startswith("LOST")
        goal = len(received) + 3
        looker.wait(lambda: len(received) >= goal, "diagnostics while nothing happens")
        stamps = [stamp_to_ns(message.header.stamp) * 1e-9 for message in received]
        assert np.median(np.diff(stamps)) == pytest.approx(1.0, abs=0.3)
    finally:
        looker.close()


def test_the_causes_of_refused_sets_are_in_the_diagnostics(session: Session, context: Context) -> None:
    looker = Listener(context, {"/diagnostics": DiagnosticArray})
    try:
        session.play(frame(0), frame(1), frame(1))
        looker.wait(
            lambda: any(
                "was there before" in entries(each)["images"].message for each in looker.received["/diagnostics"]
            ),
            "the duplicate in the diagnostics",
        )
    finally:
        looker.close()


def test_pictures_are_drawn_only_while_somebody_looks(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(image: NDArray[np.uint8], result: OdometryResult) -> NDArray[np.uint8]:
        drawn.append(result)
        return draw_matches(image, result)

    monkeypatch.setattr("subpx_ros.ros.outputs.draw_matches", draw)
    config = load_config({"preset": "sift", "refiner": "none", "threads": 1, "features": {"max_keypoints": 100}})
    odometry = VisualOdometry(config, RIG)
    result = [odometry.process(frame(index)) for index in (0, 1)][1]
    node = LifecycleNode("artist", context=context, use_global_arguments=False)
    settings = NodeConfig(camera_in_base="0 0 0 0 0 0")
    extrinsics = Extrinsics(node, settings)
    outputs = Outputs(node, settings, extrinsics)
    looker = Listener(context)

    def show() -> int:
        drawn.clear()
        outputs.show(result, frame(1).image, Header(frame_id="camera"))
        return len(drawn)

    try:
        node.trigger_configure()
        node.trigger_activate()
        assert show() == 0
        for kind, topic in ((Image, "artist/match_image"), (CompressedImage, "artist/match_image/compressed")):
            looker.node.create_subscription(kind, topic, lambda message: None, 1)
            looker.wait(lambda topic=topic: node.count_subscribers(topic) == 1, "the subscription")  # type: ignore[misc]
            assert show() == 1
    finally:
        outputs.destroy()
        extrinsics.close()
        looker.close()
        node.destroy_node()
