"""The node as a process of its own, over real DDS: what it publishes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scene import PERIOD_NS, RIG, STEP_M, frame
from session import Session, position
from std_srvs.srv import Trigger

from subpx_ros.datatypes import Frame, Rig
from subpx_ros.msg import OdometryStatus, RelativePose
from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.whereabouts import UNKNOWN_VARIANCE


def black(index: int) -> Frame:
    seen = frame(index)
    return replace(seen, image=np.zeros_like(seen.image), right_image=np.zeros_like(seen.image))


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
        assert (relative.status, relative.metric) == (
            (RelativePose.OK, True) if index else (RelativePose.NO_REFERENCE, False)
        )
        assert (relative.pose.covariance[0] == -1.0) == (index == 0)
        assert status.frames_received - session.received == status.frames_processed - session.processed == index + 1
        assert status.state == (OdometryStatus.TRACKING if index else OdometryStatus.INITIALISING)
        assert status.time_since_good_pose == (0.0 if index else -1.0)
        assert status.frames_dropped == session.dropped
        assert list(status.stage_names)[-1] == "total" and len(status.stage_milliseconds) == len(status.stage_names)
    received = session.listener.received
    session.listener.wait(lambda: len(received[f"{NODE_NAME}/matches"]) == 4, "the matches")
    session.listener.wait(lambda: len(received["/tf"]) >= 5 and bool(received["path"]), "transforms and a path")
    matches = received[f"{NODE_NAME}/matches"][-1]
    assert (matches.detector, matches.refiner) == ("sift", "none")
    assert stamp_to_ns(matches.reference_stamp) == stamps[3] and stamp_to_ns(matches.header.stamp) == stamps[4]
    count = len(matches.scores)
    assert count > 50 and np.mean(matches.inlier) > 0.5
    arrays = (
        matches.reference_keypoints,
        matches.current_keypoints,
        matches.reference_offsets,
        matches.current_offsets,
    )
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
    assert player.relative_poses[lost].pose.covariance[0] == -1.0
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
    session.play(frame(0), frame(1))
    unrectified = replace(frame(2), rig=Rig(replace(RIG.left, cx=100.0), replace(RIG.left, cx=100.0, cy=80.0), 0.2))
    session.play(unrectified, frame(3))
    refused, good = (session.player.status[1_000_000_000 + index * PERIOD_NS] for index in (2, 3))
    assert (refused.frames_processed - session.processed, refused.frames_dropped - session.dropped) == (2, 1)
    assert refused.state == OdometryStatus.LOST and "rectified" in refused.reason
    assert (good.frames_processed - session.processed, good.frames_dropped - session.dropped) == (3, 1)
    assert good.state == OdometryStatus.TRACKING and good.frames_received == good.frames_processed + good.frames_dropped
