"""What the odometry says of gaps, bad images and weak poses, and how it goes on after them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_street import CAMERA, config, small_street

from subpx_ros.datasets.street import StreetSequence
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.datatypes import Frame, OdometryResult, PoseStatus, Rig, TrackingState
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

SECOND_NS = 1_000_000_000
INITIALISING, TRACKING, DEGRADED, LOST = TrackingState


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return small_street(frames=5)


@pytest.fixture(scope="module")
def frames(street: StreetSequence) -> list[Frame]:
    return list(street)


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(config())


def run(front_end: FrontEnd, *frames: Frame, **odometry: Any) -> list[OdometryResult]:
    made = VisualOdometry(config(**odometry), frames[0].rig, front_end=front_end)
    return [made.process(frame) for frame in frames]


def later(frame: Frame, seconds: float) -> Frame:
    return dataclasses.replace(frame, stamp_ns=frame.stamp_ns + round(seconds * SECOND_NS))


def changed(frame: Frame, change: Any) -> Frame:
    right = None if frame.right_image is None else np.ascontiguousarray(change(frame.right_image))
    return dataclasses.replace(frame, image=np.ascontiguousarray(change(frame.image)), right_image=right)


def left_only(frame: Frame) -> Frame:
    return Frame(frame.stamp_ns, frame.image, Rig(CAMERA))


def is_unknown(result: OdometryResult) -> bool:
    return bool(np.all(np.diag(result.covariance)[:3] >= UNKNOWN_VARIANCE))


@pytest.mark.parametrize("stereo", [True, False], ids=["stereo", "mono"])
def test_a_gap_in_the_stamps_is_not_bridged(front_end: FrontEnd, frames: list[Frame], stereo: bool) -> None:
    drive = frames if stereo else [left_only(frame) for frame in frames]
    before, gap, after = run(front_end, *drive[:2], *(later(frame, 5.0) for frame in drive[2:4]))[1:]
    assert (gap.state, gap.relative_pose.status) == (LOST, PoseStatus.LOST)
    assert gap.reason == gap.relative_pose.reason == "gap of 5.1 s between frames, 1 s are bridged"
    assert gap.reference_stamp_ns is None and not gap.located and is_unknown(gap)
    assert np.array_equal(gap.T_odom_camera, before.T_odom_camera)
    assert after.state is TRACKING and after.reason == "" and after.located
    assert after.reference_stamp_ns == gap.stamp_ns and is_unknown(after)


def test_a_gap_within_the_limit_is_bridged(front_end: FrontEnd, frames: list[Frame]) -> None:
    drive = [*frames[:2], later(frames[2], 5.0)]
    assert run(front_end, *drive, max_gap_s=5.2)[-1].state is TRACKING
    assert run(front_end, *drive, max_gap_s=5.0)[-1].state is LOST


def test_after_a_gap_into_the_dark_it_stays_lost_until_it_sees(front_end: FrontEnd, frames: list[Frame]) -> None:
    black = changed(later(frames[2], 2.0), np.zeros_like)
    dark, seen, after = run(front_end, *frames[:2], black, *(later(frame, 2.0) for frame in frames[3:]))[2:]
    assert dark.state is seen.state is LOST and is_unknown(dark) and is_unknown(seen)
    assert dark.reason == "gap of 2.1 s between frames, 1 s are bridged: 0 left-right matches, 12 needed to begin"
    assert (after.state, after.reference_stamp_ns) == (TRACKING, seen.stamp_ns)


@pytest.mark.parametrize("change", [np.flipud, lambda image: np.full_like(image, 255)], ids=["upside down", "white"])
def test_one_bad_image_costs_neither_the_reference_nor_the_position(
    front_end: FrontEnd, frames: list[Frame], change: Any
) -> None:
    before, bad, after = run(front_end, *frames[:2], changed(frames[2], change), frames[3])[1:]
    assert bad.state is LOST and not bad.located and bad.reason
    assert after.state is TRACKING and after.located and after.reference_stamp_ns == before.stamp_ns
    assert np.diag(after.covariance).max() < 1.0


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"degraded_inliers": 9999}, " inliers, 9999 wanted"),
        ({"degraded_inlier_ratio": 1.0}, "agree with the pose, 100% wanted"),
    ],
)
def test_a_weak_pose_is_degraded_and_used(
    front_end: FrontEnd, frames: list[Frame], limit: dict[str, Any], reason: str
) -> None:
    normal, weak = run(front_end, *frames[:2])[1], run(front_end, *frames[:2], **limit)[1]
    assert (normal.state, weak.state) == (TRACKING, DEGRADED)
    assert weak.reason.startswith("only ") and reason in weak.reason
    assert weak.located and weak.relative_pose.ok
    assert np.array_equal(weak.T_odom_camera, normal.T_odom_camera)


def test_before_the_first_frame_that_it_can_use_it_is_nowhere(front_end: FrontEnd, frames: list[Frame]) -> None:
    dark, first, second = run(front_end, changed(frames[0], np.zeros_like), *frames[1:3])
    assert dark.state is first.state is INITIALISING
    assert not dark.located and is_unknown(dark)
    assert first.located and not first.covariance.any() and first.reason == "first frame"
    assert second.state is TRACKING and np.diag(second.covariance).max() < 1.0


def test_matched_points_are_where_the_street_is(
    front_end: FrontEnd, frames: list[Frame], street: StreetSequence
) -> None:
    first, result = run(front_end, *frames[:2])
    assert first.points.shape == (0, 3)
    kept = result.relative_pose.inliers & np.isfinite(result.points[:, 2])
    assert result.metric and np.count_nonzero(kept) > 50
    pixels = result.matches.refined1[kept]
    np.testing.assert_allclose(CAMERA.project(result.points[kept]), pixels, atol=1e-9)
    columns, rows = np.rint(pixels).astype(int).T
    truth = street.view(1).depth[rows, columns]
    assert np.median(np.abs(result.points[kept, 2] / truth - 1.0)) < 0.02
    (mono,) = run(front_end, *(left_only(frame) for frame in frames[:2]))[1:]
    assert not mono.metric and mono.points.shape == (len(mono.matches), 3) and np.isnan(mono.points).all()


def test_one_camera_that_turns_on_the_spot_is_not_where_it_was(front_end: FrontEnd, street: StreetSequence) -> None:
    here = street.poses[0]

    def seen(stamp: int, degrees: float) -> Frame:
        turned = here @ se3(rotation_from_vector(np.array([0.0, np.deg2rad(degrees), 0.0])), np.zeros(3))
        image = expose(street.street.render(CAMERA, turned).image, street.config, stamp, 0)
        return Frame(stamp * SECOND_NS // 10, image, Rig(CAMERA))

    first, turned, back = run(front_end, seen(0, 0.0), seen(1, 3.0), seen(2, 0.0))
    assert first.located
    assert turned.state is DEGRADED and "px parallax" in turned.reason
    assert not turned.located and is_unknown(turned)
    assert back.state is TRACKING and back.located and back.reference_stamp_ns == 0
    assert np.array_equal(back.T_odom_camera, np.eye(4)) and not back.covariance.any()
