"""Nodes with settings of their own over real DDS: overload, one camera, lifecycle, signals."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from scene import PERIOD_NS, RIG, frame
from session import LOSSLESS, START_S, Session, position, start
from std_srvs.srv import Trigger

from subpx_ros.datatypes import Frame, Rig
from subpx_ros.msg import OdometryStatus, RelativePose
from subpx_ros.ros.node import NODE_NAME


@pytest.fixture
def own_session(context: Context, request: pytest.FixtureRequest) -> Iterator[Session]:
    yield from start(context, *request.param)


def assert_silence_is_told(session: Session) -> None:
    """Before the first set, status names the topics that are silent."""
    latest = session.player.latest
    assert latest is not None and latest.state == OdometryStatus.INITIALISING
    assert latest.reason.startswith("nothing received on") and "/right/camera_info" in latest.reason
    assert latest.time_since_good_pose == -1.0


@pytest.mark.parametrize("own_session", [({"mode": "mono", **LOSSLESS}, Rig(RIG.left))], indirect=True)
def test_one_camera(own_session: Session) -> None:
    session = own_session
    frames = [Frame(each.stamp_ns, each.image, Rig(RIG.left)) for each in map(frame, range(3))]
    session.play(*frames)
    last = frames[-1].stamp_ns
    session.wait(lambda: last in session.player.odometry and last in session.player.relative_poses)
    relative = session.player.relative_poses[last]
    assert (relative.status, relative.metric, relative.header.frame_id) == (RelativePose.OK, False, "camera_optical")
    assert position(session.player.odometry[last])[0] > 0.9


@pytest.mark.parametrize("own_session", [({"reliable": True, "keep_all": False}, RIG)], indirect=True)
def test_under_overload_the_newest_set_wins_and_drops_are_counted(own_session: Session) -> None:
    session = own_session
    assert_silence_is_told(session)
    frames = [frame(index % 6, stamp_ns=1_000_000_000 + index * PERIOD_NS) for index in range(60)]
    for each in frames:
        session.player.publish(each)
    session.wait(lambda: session.player.finished == 60 and frames[-1].stamp_ns in session.player.status)
    last = session.player.status[frames[-1].stamp_ns]
    assert last.frames_received == 60 == last.frames_processed + last.frames_dropped
    assert last.frames_dropped > 0
    assert list(session.player.status) == sorted(session.player.status)
    assert len(session.player.status) == last.frames_processed


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


@pytest.mark.parametrize(("number", "loaded"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
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
