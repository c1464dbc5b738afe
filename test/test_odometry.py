"""Visual odometry over a short rendered street, with SIFT, which needs no weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subpx_ros.config import Config, load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import (
    Camera,
    Features,
    Frame,
    Matches,
    OdometryResult,
    PoseStatus,
    Predicted,
    Rig,
    TrackingState,
)
from subpx_ros.errors import DataError
from subpx_ros.geometry import angle_between, invert, rotation_angle
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.refiner import Refinement, Refiner
from subpx_ros.settings import merge
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

Array = NDArray[np.float64]

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
RIG = Rig(CAMERA, CAMERA, 0.5)
MONO = Rig(CAMERA)
CONFIG = load_config({"preset": "sift", "device": "cpu", "refiner": "none"})
FRAMES = 8
STEREO_BOUND = 0.005
"""Of the distance travelled; 0.0007 was measured."""


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=RIG)


@pytest.fixture(scope="module")
def frames(street: StreetSequence) -> list[Frame]:
    return list(street)


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(CONFIG)


@pytest.fixture
def stereo(front_end: FrontEnd) -> VisualOdometry:
    return VisualOdometry(CONFIG, RIG, front_end=front_end)


@pytest.fixture
def mono(front_end: FrontEnd) -> VisualOdometry:
    return VisualOdometry(CONFIG, MONO, front_end=front_end)


def left_only(frame: Frame) -> Frame:
    return Frame(frame.stamp_ns, frame.image, MONO)


def black(frame: Frame) -> Frame:
    dark = np.zeros_like(frame.image)
    return dataclasses.replace(frame, image=dark, right_image=None if frame.right_image is None else dark)


def process_all(odometry: VisualOdometry, frames: Sequence[Frame]) -> list[OdometryResult]:
    results = [odometry.process(frame) for frame in frames]
    for result in results:
        assert_sound(result)
    return results


def assert_sound(result: OdometryResult) -> None:
    """What holds for every result, found or lost."""
    assert np.all(np.isfinite(result.T_odom_camera)) and np.all(np.isfinite(result.covariance))
    rotation = result.T_odom_camera[:3, :3]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.all(np.linalg.eigvalsh(result.covariance) > -1e-12)
    assert set(result.counts) == {"keypoints", "stereo_matches", "matches", "inliers"}
    assert result.counts["matches"] == len(result.matches) >= result.counts["inliers"]
    assert len(result.relative_pose.inliers) in (0, len(result.matches))
    assert list(result.stage_ms)[-1] == "total"
    assert all(np.isfinite(value) and value >= 0 for value in result.stage_ms.values())
    assert (result.relative_pose.T_reference_current is not None) == result.relative_pose.ok
    assert bool(result.relative_pose.reason) != result.relative_pose.ok


def rotation_error_deg(T: Array, truth: Array) -> float:
    return float(np.rad2deg(rotation_angle(T[:3, :3].T @ truth[:3, :3])))


def test_stereo_follows_the_street(stereo: VisualOdometry, street: StreetSequence, frames: list[Frame]) -> None:
    results = process_all(stereo, frames)
    assert street.truth is not None
    assert [result.state for result in results[1:]] == [TrackingState.TRACKING] * (FRAMES - 1)
    assert [result.stamp_ns for result in results] == list(street.stamps_ns)
    length = float(np.sum(np.linalg.norm(np.diff(street.truth[:, :3, 3], axis=0), axis=1)))
    assert length > 2.5
    last = results[-1].T_odom_camera
    assert np.linalg.norm(last[:3, 3] - street.truth[-1, :3, 3]) < STEREO_BOUND * length
    assert rotation_error_deg(last, street.truth[-1]) < 0.3
    for result in results[1:]:
        assert result.relative_pose.metric
        assert result.counts["inliers"] > 0.5 * result.counts["matches"] > 20
        assert set(result.stage_ms) == {"features", "stereo", "refinement", "matching", "pose", "total"}


def test_covariance_of_the_odometry_grows_along_the_way(front_end: FrontEnd, frames: list[Frame]) -> None:
    def spreads(keyframes: int) -> Array:
        config = merge(CONFIG, {"odometry": {"window_keyframes": keyframes}})
        results = process_all(VisualOdometry(config, RIG, front_end=front_end), frames)
        return np.array([np.trace(result.covariance[:3, :3]) for result in results])

    alone, together = spreads(0), spreads(8)
    assert alone[0] == together[0] == 0.0
    assert np.all(np.diff(alone) > 0)
    # While the first frame's points are seen, the way does not add up.
    assert 0.0 < together[1] < together[-1] < alone[-1]


def test_mono_follows_the_rotation_and_the_direction(
    mono: VisualOdometry, street: StreetSequence, frames: list[Frame]
) -> None:
    results = process_all(mono, [left_only(frame) for frame in frames])
    assert street.truth is not None
    rotations, directions = [], []
    for index, result in enumerate(results[1:], start=1):
        assert result.state is TrackingState.TRACKING and not result.relative_pose.metric
        T = result.relative_pose.T_reference_current
        assert T is not None and np.linalg.norm(T[:3, 3]) == pytest.approx(1.0, abs=1e-9)
        truth = invert(street.truth[index - 1]) @ street.truth[index]
        rotations.append(rotation_error_deg(T, truth))
        directions.append(np.rad2deg(angle_between(T[:3, 3], truth[:3, 3])))
    assert np.median(rotations) < 0.1 and np.max(rotations) < 0.3
    assert np.median(directions) < 1.5


def test_the_first_frame_has_nothing_to_relate_to(stereo: VisualOdometry, frames: list[Frame]) -> None:
    result = stereo.process(frames[0])
    assert_sound(result)
    assert result.relative_pose.status is PoseStatus.NO_REFERENCE
    assert result.state is TrackingState.INITIALISING
    assert result.reference_stamp_ns is None
    assert np.array_equal(result.T_odom_camera, np.eye(4)) and not result.covariance.any()
    assert result.counts["keypoints"] > 0 and result.counts["stereo_matches"] > 0
    assert len(result.matches) == 0


def test_results_name_the_frame_they_refer_to(stereo: VisualOdometry, frames: list[Frame]) -> None:
    results = process_all(stereo, frames[:3])
    assert [result.reference_stamp_ns for result in results] == [None, frames[0].stamp_ns, frames[1].stamp_ns]


@pytest.mark.parametrize("cameras", ["stereo", "mono"])
def test_a_black_frame_is_lost_and_the_next_good_pair_recovers(
    cameras: str, request: pytest.FixtureRequest, frames: list[Frame]
) -> None:
    odometry: VisualOdometry = request.getfixturevalue(cameras)
    drive = frames if cameras == "stereo" else [left_only(frame) for frame in frames]
    before, dark, again, recovered = process_all(odometry, [*drive[:2], black(drive[2]), *drive[3:5]])[1:]
    assert before.state is TrackingState.TRACKING
    assert dark.state is TrackingState.LOST
    assert dark.relative_pose.status is PoseStatus.FEW_MATCHES
    assert dark.counts["keypoints"] == 0
    assert np.array_equal(dark.T_odom_camera, before.T_odom_camera)
    assert np.all(np.diag(dark.covariance) == UNKNOWN_VARIANCE)
    # The frame before the dark one is kept as the reference, so that no motion goes missing.
    assert again.state is TrackingState.TRACKING
    assert again.reference_stamp_ns == before.stamp_ns
    assert np.diag(again.covariance).max() < 1.0
    assert recovered.state is TrackingState.TRACKING
    step = invert(again.T_odom_camera) @ recovered.T_odom_camera
    assert recovered.relative_pose.T_reference_current is not None
    assert np.allclose(step, recovered.relative_pose.T_reference_current, atol=1e-9)


def test_the_odometry_is_the_product_of_its_steps(stereo: VisualOdometry, frames: list[Frame]) -> None:
    T_odom_camera = np.eye(4)
    for result in process_all(stereo, frames[:4])[1:]:
        assert result.relative_pose.T_reference_current is not None and "window" not in result.stage_ms
        T_odom_camera = T_odom_camera @ result.relative_pose.T_reference_current
        assert np.allclose(result.T_odom_camera, T_odom_camera, atol=1e-12)


def test_a_drive_may_begin_in_the_dark(stereo: VisualOdometry, frames: list[Frame]) -> None:
    results = process_all(stereo, [black(frames[0]), *frames[1:4]])
    assert [result.relative_pose.status for result in results[:2]] == [PoseStatus.NO_REFERENCE] * 2
    assert [result.relative_pose.reason for result in results[:2]] == [
        "0 left-right matches, 12 needed to begin",
        "first frame",
    ]
    assert [result.state for result in results[:2]] == [TrackingState.INITIALISING] * 2
    assert [result.state for result in results[2:]] == [TrackingState.TRACKING] * 2


def test_after_a_cut_the_pose_goes_on_but_nobody_knows_where(stereo: VisualOdometry, frames: list[Frame]) -> None:
    elsewhere = [
        dataclasses.replace(
            frame,
            image=np.ascontiguousarray(frame.image[::-1]),
            right_image=None if frame.right_image is None else np.ascontiguousarray(frame.right_image[::-1]),
        )
        for frame in frames[2:4]
    ]
    _, before, lost, again = process_all(stereo, [*frames[:2], *elsewhere])
    assert lost.state is TrackingState.LOST
    assert np.array_equal(lost.T_odom_camera, before.T_odom_camera)
    assert again.state is TrackingState.TRACKING
    assert again.reference_stamp_ns == lost.stamp_ns
    assert np.diag(again.covariance)[:3].min() >= UNKNOWN_VARIANCE


def test_identical_images_are_no_motion_in_stereo(stereo: VisualOdometry, frames: list[Frame]) -> None:
    results = process_all(stereo, [frames[0]] + [dataclasses.replace(frames[0], stamp_ns=n) for n in (1, 2, 3)])
    for result in results[1:]:
        assert result.state is TrackingState.TRACKING and result.relative_pose.ok
        assert np.allclose(result.T_odom_camera, np.eye(4), atol=1e-6)


def test_identical_images_are_degenerate_but_not_lost_for_one_camera(mono: VisualOdometry, frames: list[Frame]) -> None:
    still = left_only(frames[0])
    results = process_all(mono, [still, still, still, left_only(frames[1])])
    for result in results[1:3]:
        assert result.relative_pose.status is PoseStatus.DEGENERATE
        assert result.state is not TrackingState.LOST
        assert np.array_equal(result.T_odom_camera, np.eye(4))
    assert results[3].state is TrackingState.TRACKING
    assert results[3].reference_stamp_ns == still.stamp_ns


class UnequalRefiner(Refiner):
    """Moves every third second point by noise of 1 px, and says so."""

    name = "unequal"

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        generator = torch.Generator().manual_seed(len(matches))
        spread = torch.where(torch.arange(len(matches)) % 3 == 0, 1.0, 0.05)[:, None]
        noise = spread * torch.randn(len(matches), 2, generator=generator)
        covariance1 = spread[:, None] ** 2 * torch.eye(2)
        return Refinement(
            features0.keypoints[matches.indices0], features1.keypoints[matches.indices1] + noise, covariance1
        )


@pytest.mark.parametrize("rig", [RIG, MONO], ids=["stereo", "mono"])
def test_the_covariance_of_matches_reaches_the_pose(rig: Rig, street: StreetSequence, frames: list[Frame]) -> None:
    front_end = FrontEnd(CONFIG)
    front_end.refiner = UnequalRefiner()
    truth = street.truth
    assert truth is not None
    errors = []
    for weighed in (True, False):
        config = merge(CONFIG, {"pose": {"use_match_covariance": weighed}})
        odometry = VisualOdometry(config, rig, front_end=front_end)
        results = process_all(odometry, [frame if rig.stereo else left_only(frame) for frame in frames])
        turns = []
        for result in results[1:]:
            reference, current = (street.stamps_ns.index(s) for s in (result.reference_stamp_ns, result.stamp_ns))
            found = result.relative_pose.T_reference_current
            assert found is not None
            turns.append(rotation_error_deg(found, invert(truth[reference]) @ truth[current]))
        errors.append(np.mean(turns))
    assert errors[0] < 0.8 * errors[1]


class ListeningRefiner(UnequalRefiner):
    """Remembers what it was told of how patches change."""

    def __init__(self) -> None:
        self.told: list[Predicted | None] = []
        self.counts: list[int] = []

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        self.told.append(matches.predicted)
        self.counts.append(len(matches))
        return super()._refine(features0, features1, matches)


def test_the_refiner_is_told_how_patches_change_once_a_motion_is_known(frames: list[Frame]) -> None:
    front_end = FrontEnd(merge(CONFIG, {"matching": {"stereo": "patches"}}))
    listening = ListeningRefiner()
    front_end.refiner = listening
    process_all(VisualOdometry(CONFIG, RIG, front_end=front_end), frames[:4])
    first, *later = listening.told
    assert first is not None and first.places is None and len(later) == 2
    assert torch.equal(first.warps[:, :2], torch.eye(2).expand(len(first.warps), -1, -1))
    for predicted in later:
        # Driving forward, everything grows, far points by little.
        assert predicted is not None and 0.75 < float(predicted.warps[:, :2].det().sqrt().median()) < 1.0


def test_matches_that_no_refinement_can_mend_stay_as_they_are(frames: list[Frame]) -> None:
    def run(within_px: float) -> tuple[OdometryResult, int]:
        config = merge(CONFIG, {"odometry": {"refine_within_px": within_px}})
        front_end, listening = FrontEnd(config), ListeningRefiner()
        front_end.refiner = listening
        *_, last = process_all(VisualOdometry(config, RIG, front_end=front_end), frames)
        return last, listening.counts[-1]

    every, count = run(0.0)
    assert count == len(every.matches)
    chosen, count = run(3.0)
    matches, agree = chosen.matches, chosen.relative_pose.inliers
    refined = np.any(matches.refined1 != matches.detected1, axis=1)
    assert len(matches) == len(every.matches) and matches.covariance1 is not None
    assert np.count_nonzero(refined) == count < len(matches)
    assert np.count_nonzero(agree) > 0.8 * len(matches) and not np.any(agree & ~refined)
    assert matches.covariance1[~refined].min(axis=0)[0, 0] > matches.covariance1[refined].max(axis=0)[0, 0]


def test_a_blind_right_camera_is_told_although_the_pose_is_known(
    stereo: VisualOdometry, street: StreetSequence, frames: list[Frame]
) -> None:
    assert street.truth is not None and frames[3].right_image is not None
    blind = dataclasses.replace(frames[3], right_image=np.zeros_like(frames[3].right_image))
    *_, result, after = process_all(stereo, [*frames[:3], blind, frames[4]])
    assert result.state is TrackingState.DEGRADED and "have a depth in this frame" in result.reason
    truth = invert(street.truth[0]) @ street.truth[3]
    assert result.located and np.linalg.norm(result.T_odom_camera[:3, 3] - truth[:3, 3]) < 0.05
    # The frame before has depths, and the next frame is related to that one.
    assert after.state is TrackingState.TRACKING and after.reference_stamp_ns == frames[2].stamp_ns


def test_reset_makes_the_next_frame_the_origin(stereo: VisualOdometry, frames: list[Frame]) -> None:
    fresh = process_all(stereo, frames[3:6])
    stereo.reset()
    again = process_all(stereo, frames[3:6])
    assert again[0].relative_pose.status is PoseStatus.NO_REFERENCE
    for before, after in zip(fresh, again, strict=True):
        assert np.array_equal(before.T_odom_camera, after.T_odom_camera)
        assert np.array_equal(before.covariance, after.covariance)


def test_the_same_frames_give_the_same_poses(front_end: FrontEnd, frames: list[Frame]) -> None:
    runs = [process_all(VisualOdometry(CONFIG, RIG, front_end=front_end), frames[:4]) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert np.array_equal(first.T_odom_camera, second.T_odom_camera)


def test_new_settings_hold_from_the_next_frame_on(frames: list[Frame]) -> None:
    odometry = VisualOdometry(CONFIG, RIG)
    before = process_all(odometry, frames[:3])[-1]
    features = dataclasses.replace(CONFIG.features, max_keypoints=150)
    pose = dataclasses.replace(CONFIG.pose, min_inliers=1000)
    odometry.reconfigure(dataclasses.replace(CONFIG, features=features))
    fewer = odometry.process(frames[3])
    assert before.counts["keypoints"] > 150 >= fewer.counts["keypoints"] > 100
    assert fewer.state is TrackingState.TRACKING and fewer.reference_stamp_ns == frames[2].stamp_ns
    odometry.reconfigure(dataclasses.replace(CONFIG, features=features, pose=pose))
    refused = odometry.process(frames[4])
    assert refused.state is TrackingState.LOST and "1000" in refused.relative_pose.reason


def test_a_frame_of_another_rig_is_refused(stereo: VisualOdometry, mono: VisualOdometry, frames: list[Frame]) -> None:
    with pytest.raises(DataError, match="rig .* was required; got one of"):
        stereo.process(left_only(frames[0]))
    with pytest.raises(DataError, match="was required"):
        mono.process(frames[0])
    moved = dataclasses.replace(RIG, baseline_m=0.51)
    with pytest.raises(DataError, match="was required"):
        stereo.process(dataclasses.replace(frames[0], rig=moved))


def test_mode_must_fit_the_rig(front_end: FrontEnd) -> None:
    def made(mode: str, rig: Rig) -> str:
        return VisualOdometry(dataclasses.replace(CONFIG, mode=mode), rig, front_end=front_end).mode

    with pytest.raises(DataError, match="'stereo' needs a rig of two cameras; got one"):
        made("stereo", MONO)
    assert (made("auto", RIG), made("auto", MONO), made("mono", RIG), made("stereo", RIG)) == (
        "stereo", "mono", "mono", "stereo",
    )  # fmt: skip


def test_mode_mono_leaves_the_right_image_out(front_end: FrontEnd, frames: list[Frame]) -> None:
    odometry = VisualOdometry(dataclasses.replace(CONFIG, mode="mono"), RIG, front_end=front_end)
    results = process_all(odometry, frames[:2])
    assert results[1].relative_pose.ok and not results[1].relative_pose.metric
    assert results[1].counts["stereo_matches"] == 0


def test_it_names_its_parts(stereo: VisualOdometry) -> None:
    assert (stereo.detector, stereo.matcher, stereo.refiner, stereo.device) == ("sift", "mutual_nn", "none", "cpu")


class CountingFrontEnd(FrontEnd):
    """Counts the images that are described."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.described: list[bytes] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        self.described += [image.tobytes() for image in images]
        return super().detect(images)


@pytest.mark.parametrize(("rig", "cameras"), [(RIG, 2), (MONO, 1)])
def test_each_image_is_described_once(rig: Rig, cameras: int, frames: list[Frame]) -> None:
    front_end = CountingFrontEnd(CONFIG)
    odometry = VisualOdometry(CONFIG, rig, front_end=front_end)
    for frame in frames[:4]:
        odometry.process(frame if cameras == 2 else left_only(frame))
    assert len(front_end.described) == len(set(front_end.described)) == 4 * cameras
