"""The way goes around a frame whose pose is poor, where that tells more of it. Exact synthetic truth."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_street import config, small_street

from subpx_ros.datasets.street import StreetSequence
from subpx_ros.datatypes import Features, Frame, OdometryResult, PoseStatus, RefinedMatches, RelativePose, TrackingState
from subpx_ros.dead_reckoning import Uncertainty
from subpx_ros.judgement import TypicalVagueness, vagueness
from subpx_ros.motion_model import Place
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.references import Outcome, Reference, References
from subpx_ros.relative_motion import Motion, View
from subpx_ros.triangulation import Disparities

PERIOD_NS = 100_000_000
USUAL = np.diag([1e-6, 1e-6, 4e-6, 1e-10, 4e-10, 1e-10])
"""m^2 and rad^2 of a pose over one period."""
WARM = 8
"""Frames after which it is known what is usual."""


@pytest.mark.parametrize("metres", [1.0, 1000.0])
def test_more_than_the_variance_of_two_usual_poses_is_too_much_in_any_unit(metres: float) -> None:
    usual = np.diag(np.r_[np.full(3, metres), np.ones(3)]) ** 2 @ USUAL
    typical = TypicalVagueness()
    assert not any(typical.is_exceeded(usual * factor, 0.1) for factor in (1.0, 1.1, 0.9, 1.0, 100.0, 1.0))
    for factor, exceeded in ((1.9, False), (2.3, True), (0.1, False)):
        assert typical.is_exceeded(usual * factor, 0.1) == exceeded
    assert not typical.is_exceeded(usual * 3.9, 0.2), "twice the way may have twice the variance"


def test_what_lasts_becomes_usual() -> None:
    typical = TypicalVagueness()
    for _ in range(20):
        typical.is_exceeded(USUAL, 0.1)
    told = [typical.is_exceeded(9.0 * USUAL, 0.1) for _ in range(20)]
    assert all(told[:5]) and not any(told[15:])


def test_vagueness_tells_ratios() -> None:
    assert vagueness(5.0 * USUAL) - vagueness(USUAL) == pytest.approx(np.log(5.0))


def test_a_direction_that_is_certain_is_no_verdict_by_rounding() -> None:
    """As of one camera whose length comes from elsewhere."""
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    told = []
    for size in (1.0, 1.1, 0.9, 1.05):
        certain = USUAL.copy()
        certain[:3, :3] = size * 1e-6 * turned @ np.diag([1.0, 1.0, 0.0]) @ turned.T
        told.append(vagueness(certain))
    assert max(told) - min(told) < np.log(1.3)


class Drive:
    """References followed through frames whose relations to each of them are made up."""

    def __init__(self, *, metric: bool = True) -> None:
        self.references = References(metric=metric)
        self.frame = 0
        self.references.stand_beside(self._view(), Place(0, np.eye(4), Uncertainty(np.zeros((6, 6)))), measured=True)

    def related(self, *variances: float, doubtful: bool = False) -> list[int]:
        """Go on to the next frame, whose pose in each reference has so many times the usual variance.

        Returns:
            The numbers of the references that were tried, the one that counts last.
        """
        self.frame += 1
        outcomes = []
        for reference, variance in zip(self.references, variances, strict=True):
            outcomes.append(self._outcome(reference, variance, doubtful))
            if self.references.settled_by(outcomes[-1]):
                break
        best = self.references.best(outcomes, self.frame * PERIOD_NS, around_poor=True)
        place = Place(self.frame * PERIOD_NS, np.eye(4), Uncertainty(np.zeros((6, 6))))
        self.references.follow(self._view(), place, best)
        return [outcome.reference.view.stamp_ns // PERIOD_NS for outcome in (*outcomes, best) if outcome.reference]

    @property
    def kept(self) -> list[int]:
        """Numbers of the frames that the next one is related to."""
        return [reference.view.stamp_ns // PERIOD_NS for reference in self.references]

    def _view(self) -> View:
        empty = torch.zeros(0)
        features = Features(torch.zeros(0, 2), empty, torch.zeros(0, 64), torch.zeros(1, 1))
        return View(self.frame * PERIOD_NS, features, Disparities(np.zeros(0)))

    @staticmethod
    def _outcome(reference: Reference, variance: float, doubtful: bool) -> Outcome:
        pose = RelativePose(PoseStatus.OK, "", np.eye(4), variance * USUAL, True)
        none, pixels = np.zeros(0, dtype=np.intp), np.zeros((0, 2))
        matches = RefinedMatches(pixels, pixels, pixels, pixels, np.zeros(0, dtype=np.float32))
        motion = Motion(matches, pose, np.zeros((0, 3)), none, none, doubtful)
        return Outcome(reference, motion, TrackingState.TRACKING, "", True)


@pytest.fixture
def drive() -> Drive:
    begun = Drive()
    for frame in range(1, WARM):
        begun.related(1.0)
        assert begun.kept == [frame]
    return begun


def test_a_poor_frame_is_gone_around_without_being_tried(drive: Drive) -> None:
    drive.related(6.0)
    assert drive.kept == [WARM - 1, WARM]
    assert drive.related(2.0, 6.0) == [WARM - 1, WARM - 1]
    assert drive.kept == [WARM + 1]


def test_where_the_way_around_may_be_worse_both_are_tried(drive: Drive) -> None:
    drive.related(3.0)
    assert drive.related(3.5, 1.0) == [WARM - 1, WARM, WARM - 1]  # 3.5 against 3 + 1
    drive.related(3.0)
    assert drive.related(4.5, 1.0) == [WARM + 1, WARM + 2, WARM + 2]  # 4.5 against 3 + 1
    assert drive.kept == [WARM + 3]


def test_a_frame_is_not_poor_by_the_poor_one_that_it_is_related_to(drive: Drive) -> None:
    drive.related(3.0)
    assert drive.related(8.0, 3.0)[-1] == WARM
    assert drive.kept == [WARM + 1]


def test_what_is_to_be_doubted_does_not_settle_a_frame_however_certain_it_claims_to_be(drive: Drive) -> None:
    drive.related(3.0)
    assert drive.related(0.1, 1.0, doubtful=True) == [WARM - 1, WARM, WARM - 1]
    assert drive.kept == [WARM - 1, WARM + 1]


def test_patience_ends_and_begins_anew_with_a_good_frame(drive: Drive) -> None:
    last = WARM - 1
    drive.related(6.0)
    for poor in (2, 3):
        assert drive.related(10.0 * poor, 20.0)[-1] == last
        assert drive.kept == [last, last + poor]
    for poor in (4, 5):
        drive.related(*[40.0] * len(drive.kept))
        assert drive.kept == [last + poor]
    drive.related(1.0)
    drive.related(6.0)
    assert drive.kept == [last + 6, last + 7]


def test_motions_without_length_are_never_gone_around() -> None:
    drive = Drive(metric=False)
    for variance in [1.0] * WARM + [6.0]:
        drive.related(variance)
        assert drive.kept == [drive.frame]


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return small_street(frames=WARM + 3)


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(config())


def blurred(frame: Frame) -> Frame:
    """As with an exposure during which the camera shook."""
    rng = np.random.default_rng(0)

    def smeared(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        noisy = cv2.blur(image, (5, 3)) + rng.normal(0.0, 2.0, image.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)

    assert frame.right_image is not None
    return dataclasses.replace(frame, image=smeared(frame.image), right_image=smeared(frame.right_image))


@pytest.mark.parametrize("keyframes", [0, 4], ids=["frame to frame", "window"])
def test_a_blurred_frame_has_a_pose_and_spoils_no_other(
    front_end: FrontEnd, street: StreetSequence, keyframes: int
) -> None:
    """Frame to frame later frames are as exact as if it had been missing; a window keeps its tracks and weighs."""
    assert street.truth is not None

    def run(frames: list[Frame]) -> list[OdometryResult]:
        odometry = VisualOdometry(config(window_keyframes=keyframes), street.rig, front_end=front_end)
        return [odometry.process(frame) for frame in frames]

    frames = list(street)
    poor = run([*frames[:WARM], blurred(frames[WARM]), *frames[WARM + 1 :]])
    without = run([*frames[:WARM], *frames[WARM + 1 :]])
    assert all(result.state is TrackingState.TRACKING for result in poor[1:])
    references = [result.reference_stamp_ns for result in poor[WARM:]]
    related_to = (WARM - 1, WARM, WARM + 1) if keyframes else (WARM - 1, WARM - 1, WARM + 1)
    assert references == [frames[index].stamp_ns for index in related_to]
    assert np.linalg.norm(poor[WARM].T_odom_camera[:3, 3] - street.truth[WARM, :3, 3]) < 0.05
    tolerance = 0.01 if keyframes else 0.001
    for after, expected in zip(poor[WARM + 1 :], without[WARM:], strict=True):
        np.testing.assert_allclose(after.T_odom_camera, expected.T_odom_camera, atol=tolerance)
