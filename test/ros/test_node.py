"""The node as a process of its own, over real DDS."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from listener import Listener
from nav_msgs.msg import Path
from rclpy.context import Context
from scene import PERIOD_NS, RIG, STEP_M, frame
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from subpx_ros.datatypes import Frame, Rig
from subpx_ros.errors import SubpxError
from subpx_ros.msg import OdometryStatus, RefinedMatches, RelativePose
from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.node_process import NodeProcess
from subpx_ros.ros.player import Player
from subpx_ros.ros.results import UNKNOWN_VARIANCE

START_S = 60.0
ANSWER_S = 10.0
FAST: dict[str, Any] = {"preset": "sift", "features.max_keypoints": 400, "refiner": "none", "threads": 1}
LOSSLESS = {"reliable": True, "keep_all": True}
TOPICS = {
    "path": Path,
    "/tf": TFMessage,
    f"{NODE_NAME}/matches": RefinedMatches,
}


class Session:
    """A running node with somebody who plays to it and somebody who listens."""

    def __init__(self, context: Context, parameters: dict[str, Any], rig: Rig = RIG) -> None:
        self.node = NodeProcess(FAST | parameters)
        self.node.__enter__()
        self.listener = Listener(context, TOPICS)
        self.player = Player(context, NODE_NAME, rig, self.node.check)

    def play(self, *frames: Frame) -> None:
        """Publishes the frames one after the other, each after the answer to the one before."""
        for each in frames:
            goal = self.player.finished + 1
            self.player.publish(each)
            self.wait(lambda goal=goal, each=each: self.player.finished >= goal and each.stamp_ns in self.player.status)

    def wait(self, condition: Any) -> None:
        try:
            self.player.spin_until(condition, ANSWER_S, "the node")
        except SubpxError as error:
            raise AssertionError(f"{error}; its log ends with: {self.node.last_words()}") from error

    def close(self) -> None:
        self.player.close()
        self.listener.close()
        self.node.__exit__()


@pytest.fixture
def session(context: Context, request: pytest.FixtureRequest) -> Iterator[Session]:
    parameters, rig = getattr(request, "param", (LOSSLESS, RIG))
    made = Session(context, parameters, rig)
    try:
        made.player.wait_for_node(START_S)
        yield made
    finally:
        made.close()


def black(index: int) -> Frame:
    seen = frame(index)
    return replace(seen, image=np.zeros_like(seen.image), right_image=np.zeros_like(seen.image))


def position(odometry: Any) -> np.ndarray[Any, Any]:
    point = odometry.pose.pose.position
    return np.array([point.x, point.y, point.z])


def test_a_stereo_drive_gives_every_output_for_every_frame(session: Session) -> None:
    frames = [frame(index) for index in range(5)]
    session.play(*frames)
    player, stamps = session.player, [each.stamp_ns for each in frames]
    session.wait(lambda: set(stamps) <= set(player.odometry) and set(stamps) <= set(player.relative_poses))
    for index, stamp in enumerate(stamps):
        odometry, relative, status = player.odometry[stamp], player.relative_poses[stamp], player.status[stamp]
        assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
        np.testing.assert_allclose(position(odometry), [index * STEP_M, 0.0, 0.0], atol=0.01)
        assert relative.header.frame_id == "left_camera_optical"
        assert (relative.status, relative.metric) == ((RelativePose.OK, True) if index else (RelativePose.NO_REFERENCE, False))
        assert np.isfinite(relative.pose.pose.position.z) == (index > 0)
        assert status.frames_received == status.frames_processed == index + 1
        assert (status.frames_dropped, status.time_since_good_pose) == (0, 0.0)
        assert list(status.stage_names)[-1] == "total" and len(status.stage_milliseconds) == len(status.stage_names)
    received = session.listener.received
    session.listener.wait(lambda: len(received[f"{NODE_NAME}/matches"]) == 4, "the matches")
    session.listener.wait(lambda: len(received["/tf"]) >= 5 and bool(received["path"]), "transforms and a path")
    matches = received[f"{NODE_NAME}/matches"][-1]
    assert (matches.detector, matches.refiner) == ("sift", "none")
    assert stamp_to_ns(matches.reference_stamp) == stamps[3] and stamp_to_ns(matches.header.stamp) == stamps[4]
    count = len(matches.scores)
    assert count > 50 and np.mean(matches.inlier) > 0.5
    arrays = (matches.reference_keypoints, matches.current_keypoints, matches.reference_offsets, matches.current_offsets)
    assert {len(each) for each in arrays} == {2 * count} and len(matches.inlier) == count
    sent = [each for message in received["/tf"] for each in message.transforms]
    moved = next(each for each in sent if stamp_to_ns(each.header.stamp) == stamps[4])
    assert (moved.header.frame_id, moved.child_frame_id) == ("odom", "base_link")
    assert moved.transform.translation.x == player.odometry[stamps[4]].pose.pose.position.x


def test_while_lost_the_pose_stays_put_and_no_transform_is_sent(session: Session) -> None:
    session.play(frame(0), frame(1), black(2), frame(3), frame(4))
    player = session.player
    lost, before, after = (1_000_000_000 + index * PERIOD_NS for index in (2, 1, 4))
    session.wait(lambda: {lost, before, after} <= set(player.odometry))
    assert player.status[lost].state == OdometryStatus.LOST and player.status[lost].reason
    assert player.status[lost].time_since_good_pose == pytest.approx(0.1)
    np.testing.assert_array_equal(position(player.odometry[lost]), position(player.odometry[before]))
    assert np.diag(player.odometry[lost].pose.covariance.reshape(6, 6)).tolist() == [UNKNOWN_VARIANCE] * 6
    assert np.isnan(player.relative_poses[lost].pose.pose.position.x)
    assert player.status[after].state == OdometryStatus.TRACKING
    transforms = session.listener.received["/tf"]

    def stamps() -> set[int]:
        return {stamp_to_ns(each.header.stamp) for message in transforms for each in message.transforms}

    session.listener.wait(lambda: after in stamps(), "the transform after the loss")
    assert before in stamps() and lost not in stamps()


def test_reset_starts_again_at_the_origin(session: Session) -> None:
    session.play(frame(0), frame(1))
    answer = session.listener.call(Trigger, f"{NODE_NAME}/reset", Trigger.Request())
    assert answer.success
    session.play(frame(2), frame(3))
    first, second = (1_000_000_000 + index * PERIOD_NS for index in (2, 3))
    session.wait(lambda: second in session.player.odometry)
    assert session.player.relative_poses[first].status == RelativePose.NO_REFERENCE
    assert session.player.status[first].reason == "reset on request"
    assert position(session.player.odometry[first]).tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(position(session.player.odometry[second]), [STEP_M, 0.0, 0.0], atol=0.01)


def test_a_set_that_cannot_be_used_is_counted_and_named(session: Session) -> None:
    session.play(frame(0))
    session.play(frame(1, stamp_ns=frame(0).stamp_ns + 1), frame(1, stamp_ns=frame(0).stamp_ns + 2))
    smaller = replace(frame(2), rig=Rig(replace(RIG.left, cx=100.0), replace(RIG.left, cx=100.0, cy=80.0), 0.2))
    session.play(smaller, frame(3))
    refused, good = (session.player.status[1_000_000_000 + index * PERIOD_NS] for index in (2, 3))
    assert (refused.frames_processed, refused.frames_dropped, refused.state) == (3, 1, OdometryStatus.LOST)
    assert "rectified" in refused.reason
    assert (good.frames_processed, good.frames_dropped, good.state) == (4, 1, OdometryStatus.TRACKING)


@pytest.mark.parametrize("session", [({"mode": "mono", **LOSSLESS}, Rig(RIG.left))], indirect=True)
def test_one_camera(session: Session) -> None:
    frames = [Frame(each.stamp_ns, each.image, Rig(RIG.left)) for each in map(frame, range(3))]
    session.play(*frames)
    last = frames[-1].stamp_ns
    session.wait(lambda: last in session.player.odometry and last in session.player.relative_poses)
    relative = session.player.relative_poses[last]
    assert (relative.status, relative.metric, relative.header.frame_id) == (RelativePose.OK, False, "camera_optical")
    assert position(session.player.odometry[last])[0] > 0.9


@pytest.mark.parametrize("session", [({"reliable": True, "keep_all": False}, RIG)], indirect=True)
def test_under_overload_the_newest_set_wins_and_drops_are_counted(session: Session) -> None:
    frames = [frame(index % 6, stamp_ns=1_000_000_000 + index * PERIOD_NS) for index in range(60)]
    for each in frames:
        session.player.publish(each)
    session.wait(lambda: session.player.finished == 60 and frames[-1].stamp_ns in session.player.status)
    last = session.player.status[frames[-1].stamp_ns]
    assert last.frames_received == 60 == last.frames_processed + last.frames_dropped
    assert last.frames_dropped > 0
    assert list(session.player.status) == sorted(session.player.status)
    assert len(session.player.status) == last.frames_processed


@pytest.mark.parametrize("session", [({**LOSSLESS, "autostart": True}, RIG)], indirect=True)
def test_silence_is_told_with_the_topics_that_are_silent(session: Session) -> None:
    assert session.player.latest is not None
    assert session.player.latest.state == OdometryStatus.INITIALISING
    assert "nothing received on" in session.player.latest.reason and "/right/camera_info" in session.player.latest.reason
    assert session.player.latest.time_since_good_pose == -1.0


def test_a_lifecycle_manager_can_drive_it(context: Context) -> None:
    made = Session(context, {**LOSSLESS, "autostart": False})
    listener, player = made.listener, made.player
    try:
        assert listener.state(NODE_NAME) == "unconfigured"
        assert not listener.call(Trigger, f"{NODE_NAME}/reset", Trigger.Request()).success
        for _ in range(2):
            assert listener.change_state(NODE_NAME, Transition.TRANSITION_CONFIGURE)
            assert listener.change_state(NODE_NAME, Transition.TRANSITION_ACTIVATE)
            assert listener.state(NODE_NAME) == "active"
            player.latest = None
            player.wait_for_node(START_S)
            made.play(frame(0), frame(1))
            assert player.status[frame(1).stamp_ns].state == OdometryStatus.TRACKING
            assert listener.change_state(NODE_NAME, Transition.TRANSITION_DEACTIVATE)
            assert listener.state(NODE_NAME) == "inactive"
            listener.wait(lambda: listener.node.count_subscribers("/left/image_rect") == 0, "the end of subscriptions")
            assert listener.change_state(NODE_NAME, Transition.TRANSITION_CLEANUP)
            player.status.clear()
        assert listener.state(NODE_NAME) == "unconfigured"
    finally:
        made.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_signal_ends_it_in_order(context: Context, number: int, loaded: bool) -> None:
    made = Session(context, LOSSLESS)
    try:
        made.player.wait_for_node(START_S)
        if loaded:
            for index in range(12):
                made.player.publish(frame(index % 6, stamp_ns=1_000_000_000 + index * PERIOD_NS))
            made.wait(lambda: made.player.finished > 0)
        assert made.node.stop(number) == 0
        assert "Traceback" not in made.node.last_words() and "rror" not in made.node.last_words()
    finally:
        made.close()
