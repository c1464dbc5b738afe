"""Metres for one camera from another odometry or a known speed: exact motions, slip, gaps, jumps, rests, and the odometry with it."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.config import Config, OdometryConfig, load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import (
    Camera,
    Frame,
    OdometryResult,
    PoseStatus,
    RefinedMatches,
    RelativePose,
    Rig,
    TrackingState,
)
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.frames import T_BODY_OPTICAL, base_from_optical, odom_from_camera_path
from subpx_ros.geometry import invert, rotation_from_vector, se3
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.scale import MonoScale, OtherOdometry, metres_from, mono_scale
from subpx_ros.scale.length import Length, LengthSource, UnitMotion
from subpx_ros.scale.other_odometry import LONGEST_AHEAD_S, LONGEST_GAP_S, Sample
from subpx_ros.scale.speed import FromSpeed
from subpx_ros.scale.wheels import FromWheels
from subpx_ros.velocity import Velocimeter
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

Array = NDArray[np.float64]
TENTH_NS = 100_000_000
SECOND_NS = 10 * TENTH_NS
NOWHERE = np.zeros((0, 2))
MOUNT = base_from_optical("0.9 -0.2 1.4 0.02 0.1 0.3")


def heard(*samples: Sample, mount: Array = T_BODY_OPTICAL) -> OtherOdometry:
    other = OtherOdometry()
    other.mount = mount
    for each in samples:
        other.add(each)
    return other


def at(seconds: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, **claims: Any) -> Sample:
    pose = se3(rotation_from_vector(np.array([0.0, 0.0, yaw])), np.array([x, y, 0.0]))
    return Sample(round(seconds * SECOND_NS), pose, **claims)


def drive(speed: float, seconds: float, start_s: float = 0.0, start_m: float = 0.0) -> list[Sample]:
    times = np.arange(0.0, seconds + 1e-9, 0.02)
    return [at(start_s + time, start_m + speed * time) for time in times]


def seen(T_reference_current: Array, reference_s: float = 0.0, current_s: float = 0.1, **rest: Any) -> UnitMotion:
    """What exact images show of a motion."""
    unit = T_reference_current.copy()
    unit[:3, 3] /= np.linalg.norm(unit[:3, 3])
    start_ns, end_ns = round(reference_s * SECOND_NS), round(current_s * SECOND_NS)
    fields = {"moving_since_ns": start_ns, "moving_share": 1.0} | rest
    return UnitMotion(unit, np.zeros((6, 6)), NOWHERE, NOWHERE, start_ns, current_ns=end_ns, **fields)


MOTIONS = {
    "forwards": ((0.8, 0.0, 0.0), (0.0, 0.0, 0.0)),
    "backwards": ((-0.4, 0.0, 0.0), (0.0, 0.0, 0.02)),
    "sideways": ((0.0, 0.3, 0.0), (0.0, 0.0, 0.0)),
    "round a bend": ((0.7, 0.03, 0.0), (0.0, 0.0, 0.12)),
    "on the spot": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.2)),
    "over a bump": ((0.5, 0.0, 0.02), (0.03, -0.06, 0.01)),
}


@pytest.mark.parametrize("name", MOTIONS)
@pytest.mark.parametrize("heading", [0.0, 2.0])
def test_the_length_is_that_of_the_cameras_own_way(name: str, heading: float) -> None:
    translation, turn = (np.array(values) for values in MOTIONS[name])
    T_odom_first = se3(rotation_from_vector(np.array([0.0, 0.0, heading])), np.array([5.0, -3.0, 0.0]))
    T_step = se3(rotation_from_vector(turn), translation)
    other = heard(Sample(0, T_odom_first), Sample(TENTH_NS, T_odom_first @ T_step), mount=MOUNT)
    T_camera = invert(MOUNT) @ T_step @ MOUNT
    length = FromWheels(other, 0.02).length(seen(T_camera))
    assert length.reason == ""
    assert length.metres == pytest.approx(float(np.linalg.norm(T_camera[:3, 3])), rel=1e-9)
    assert 0.0 < length.variance < (0.03 * length.metres + 0.01) ** 2


def test_wheels_that_turn_wrongly_do_not_matter_to_the_lever() -> None:
    """Skid-steered robots do not know how far they turned; the images do."""
    T_step = se3(rotation_from_vector(np.array([0.0, 0.0, 0.2])), np.zeros(3))
    other = heard(at(0.0), at(0.1, yaw=0.05), mount=MOUNT)
    T_camera = invert(MOUNT) @ T_step @ MOUNT
    length = FromWheels(other, 0.02).length(seen(T_camera))
    assert length.metres == pytest.approx(float(np.linalg.norm(T_camera[:3, 3])), rel=1e-9)


FORWARDS = invert(T_BODY_OPTICAL) @ se3(np.eye(3), np.array([1.0, 0.0, 0.0])) @ T_BODY_OPTICAL


def length_of(other: OtherOdometry, reference_s: float, current_s: float, **rest: Any) -> Length:
    return FromWheels(other, 0.02).length(seen(FORWARDS, reference_s, current_s, **rest))


def test_poses_are_interpolated_and_continued_for_a_while() -> None:
    other = heard(*drive(speed=2.0, seconds=1.0))
    assert length_of(other, 0.105, 0.333).metres == pytest.approx(0.456, rel=1e-6)
    short, long = (length_of(other, 0.9, 1.0 + ahead) for ahead in (0.01, LONGEST_AHEAD_S))
    assert short.metres == pytest.approx(0.22, rel=1e-6) and long.metres == pytest.approx(0.4, rel=1e-6)
    assert 0.02**2 * 0.4**2 + 0.01**2 < long.variance < 0.05**2, "a robot may brake meanwhile"
    assert short.variance < 0.01**2


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "none has been heard"),
        ([at(0.25), at(0.3, 1.0)], "it begins 0.050 s after a frame"),
        ([at(0.0), at(0.15, 1.0)], "it ends 0.150 s before a frame, 0.1 s are bridged"),
        ([at(0.25, 1.0)], "it begins"),
        ([at(0.0), at(0.05, 0.1), at(0.05 + LONGEST_GAP_S + 0.05, 0.2)], "it pauses for 0.550 s"),
        ([at(0.0), at(0.19, 0.4), at(0.21, 9.0), at(0.4, 9.4)], "it jumped"),
        ([at(0.0), at(0.22, 0.4), at(0.25, 9.0), at(0.4, 9.4)], "it jumped"),
    ],
)
def test_what_is_not_known_is_said(samples: list[Sample], reason: str) -> None:
    length = length_of(heard(*samples), 0.2, 0.3)
    assert length.reason.startswith("wheel odometry: ") and reason in length.reason
    assert np.isnan(length.metres) and np.isinf(length.variance)


def test_a_frame_right_after_a_jump_is_measured_again() -> None:
    other = heard(*drive(2.0, 0.5), *drive(2.0, 0.5, start_s=0.52, start_m=-7.0))
    assert "jumped" in length_of(other, 0.4, 0.6).reason
    assert length_of(other, 0.6, 0.8).metres == pytest.approx(0.4, rel=1e-6)


def test_a_reset_of_the_wheels_is_a_jump_to_those_who_claim_a_speed() -> None:
    slow = [at(0.02 * k, 0.5 + 0.004 * k, speed=0.2) for k in range(10)]
    assert heard(*slow).add(at(0.2, 0.0, speed=0.2)) == "it jumped by 0.536 m in 0.020 s"
    unclaimed = [dataclasses.replace(each, speed=0.0) for each in slow]
    assert heard(*unclaimed).add(at(0.2, 0.0, speed=0.0)) == "", "a driver that leaves the twist empty"


def test_late_and_repeated_poses_are_refused_and_time_may_start_again() -> None:
    other = heard(*drive(2.0, 1.0))
    for late_s in (1.0, 0.4):
        with pytest.raises(DataError, match="newer than the one before"):
            other.add(at(late_s, 50.0))
    assert length_of(other, 0.5, 1.0).metres == pytest.approx(1.0, rel=1e-6)
    assert length_of(other, 0.5, 1.3).reason.endswith(
        "the last one was refused: a stamp must be newer than the one before; it is 0.600 s older"
    )
    other.add(at(5.0, 8.0))
    assert "went back by 4.500 s" in other.add(at(0.5, 1.0))
    assert "it begins" in length_of(other, 0.4, 0.5).reason
    other.refuse("nonsense")
    assert length_of(other, 0.5, 0.9).reason.endswith("; the last one was refused: nonsense")
    other.clear()
    assert "none has been heard" in length_of(other, 0.5, 0.9).reason


def test_the_memory_is_bounded_unless_it_is_of_a_file() -> None:
    forever = OtherOdometry(kept_s=float("inf"))
    lately = OtherOdometry(kept_s=5.0)
    for other in (forever, lately):
        other.mount = T_BODY_OPTICAL
        for each in drive(1.0, 20.0):
            other.add(each)
    assert length_of(forever, 1.0, 1.5).metres == pytest.approx(0.5, rel=1e-6)
    assert "it begins" in length_of(lately, 14.0, 14.5).reason
    assert length_of(lately, 15.5, 16.0).metres == pytest.approx(0.5, rel=1e-6)


def test_wheels_that_stand_while_the_camera_slides_give_no_length() -> None:
    length = length_of(heard(*drive(0.0, 1.0)), 0.2, 0.3)
    assert length.reason == "wheel odometry moved the camera by 0.000 m, give or take 0.001 m"


def test_wheels_that_go_elsewhere_give_no_length() -> None:
    backwards = length_of(heard(*drive(-2.0, 1.0)), 0.2, 0.3)
    assert backwards.reason == "wheel odometry moved the camera 180 deg away from where the images show it going"
    unmounted = heard(*drive(2.0, 1.0))
    unmounted.mount, unmounted.unmounted = None, "no transform"
    assert length_of(unmounted, 0.2, 0.3).reason == "wheel odometry: no transform"


def test_wheels_that_spun_while_the_camera_rested_do_not_count() -> None:
    """At rest from 0 to 3 s, on ice from 1 s on; then both move: 0.2 m until 3.1 s."""
    ice = [*drive(0.0, 1.0), *drive(2.0, 2.1, start_s=1.02)]
    rest = {"moving_since_ns": 3 * SECOND_NS, "moving_share": 0.9}
    spun = length_of(heard(*ice), 0.0, 3.1, **rest)
    assert spun.reason == "" and spun.metres == pytest.approx(0.2 / 0.9, rel=1e-6)
    grip = [*drive(0.0, 3.0), *drive(2.0, 0.1, start_s=3.02)]
    held = length_of(heard(*grip), 0.0, 3.1, **rest)
    assert held.metres == pytest.approx(0.16, rel=1e-6), "the whole way where nothing spun"
    assert spun.variance > (0.1 * spun.metres) ** 2 > held.variance
    long_ago = length_of(heard(*drive(2.0, 1.0, start_s=2.5)), 0.0, 3.1, **rest)
    assert long_ago.metres == pytest.approx(0.2 / 0.9, rel=1e-6), "a rest that is longer than the memory"


@pytest.mark.parametrize("claims", [None, np.diag([0.04, 1.0, 1.0]), np.diag([0.0, -1.0, 1.0])])
def test_the_variance_is_what_the_messages_claim(claims: Array | None) -> None:
    samples = [dataclasses.replace(each, velocity_covariance=claims) for each in drive(5.0, 1.0)]
    deviation = np.sqrt(length_of(heard(*samples), 0.2, 0.6).variance)
    expected = 0.4 * 0.2 if claims is not None and claims[0, 0] > 0.0 else 0.02 * 2.0
    assert deviation == pytest.approx(expected, rel=0.01)
    unsure = [dataclasses.replace(each, velocity_covariance=1e6 * np.eye(3)) for each in drive(5.0, 1.0)]
    assert "2.000 m, give or take 400.0" in length_of(heard(*unsure), 0.2, 0.6).reason


def test_errors_of_the_length_are_as_large_as_it_says() -> None:
    rng = np.random.default_rng(4)
    errors = []
    for _ in range(300):
        steps = 0.5 * (1.0 + 0.02 * rng.normal())
        other = heard(at(0.0, rng.normal() * 1e-3), at(0.1, steps + rng.normal() * 1e-3))
        length = length_of(other, 0.0, 0.1)
        errors.append((length.metres - 0.5) ** 2 / length.variance)
    assert 0.8 < np.mean(errors) < 1.2


class Recorded(LengthSource):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.motions: list[UnitMotion] = []
        self.rests = 0

    def length(self, motion: UnitMotion) -> Length:
        self.motions.append(motion)
        return Length(2.0, 0.01)

    def rested(self) -> None:
        self.rests += 1


def matches(moved_px: float) -> RefinedMatches:
    places = np.random.default_rng(0).uniform(0.0, 100.0, (40, 2))
    moved = places + [moved_px, 0.0]
    return RefinedMatches(places, moved, places, moved, np.ones(40, dtype=np.float32))


GOOD = RelativePose(PoseStatus.OK, "", FORWARDS, np.zeros((6, 6)), False, np.ones(40, dtype=bool))
STILL = RelativePose(PoseStatus.DEGENERATE, "no parallax")


def test_a_rest_before_a_motion_is_not_part_of_it() -> None:
    source = Recorded()
    scale = MonoScale(source)
    for tenths in range(1, 300):
        assert scale.metric(STILL, matches(0.4), 0, tenths * TENTH_NS) is STILL
    assert source.rests > 200, "what it knew of the speed is of no use"
    scaled = scale.metric(GOOD, matches(2.4), 0, 300 * TENTH_NS)
    assert scaled.metric and scaled.T_reference_current is not None and scaled.reason == ""
    np.testing.assert_allclose(scaled.T_reference_current[:3, 3], 2.0 * FORWARDS[:3, 3], atol=1e-12)
    (motion,) = source.motions
    assert motion.moving_since_ns == 299 * TENTH_NS and motion.moving_share == pytest.approx(2.0 / 2.4)
    assert motion.seconds == pytest.approx(0.12)
    scale.metric(GOOD, matches(2.4), 300 * TENTH_NS, 301 * TENTH_NS)
    assert source.motions[-1].seconds == pytest.approx(0.1), "the rest was at another reference"
    scale.metric(STILL, matches(0.9), 301 * TENTH_NS, 302 * TENTH_NS)
    scale.metric(GOOD, matches(1.5), 301 * TENTH_NS, 303 * TENTH_NS)
    assert source.motions[-1].seconds == pytest.approx(0.2), "most of the motion came before the last rest"


def test_a_creeping_camera_at_known_speed_keeps_its_speed() -> None:
    """0.3 px and 1 cm a frame: the reference is kept for seven frames."""
    scale = MonoScale(FromSpeed(0.1))
    for step in range(1, 7):
        scale.metric(STILL, matches(0.3 * step), 0, step * TENTH_NS)
    scaled = scale.metric(GOOD, matches(2.1), 0, 7 * TENTH_NS)
    assert scaled.T_reference_current is not None
    assert np.linalg.norm(scaled.T_reference_current[:3, 3]) == pytest.approx(0.07, rel=1e-6)


def test_without_a_length_the_pose_says_why() -> None:
    scale = MonoScale(FromWheels(heard(), 0.02))
    unscaled = scale.metric(GOOD, matches(5.0), 0, TENTH_NS)
    assert unscaled.ok and not unscaled.metric
    assert unscaled.reason == "the length of the motion is not known: wheel odometry: none has been heard"
    assert "no time" in scale.metric(GOOD, matches(5.0), TENTH_NS, TENTH_NS).reason


def test_the_first_source_that_is_asked_for_counts() -> None:
    camera = Camera(200.0, 200.0, 100.0, 50.0, 200, 100)
    every: dict[str, Any] = {"wheel_odometry": True, "camera_height_m": 1.5, "speed_mps": 2.0}
    for left_out, expected in enumerate(("wheels", "height", "speed", "")):
        assert metres_from(OdometryConfig(**dict(list(every.items())[left_out:]))) == expected
    assert mono_scale(OdometryConfig(), camera, None) is None
    with pytest.raises(ConfigError, match="--scale-from"):
        mono_scale(OdometryConfig(wheel_odometry=True), camera, None)


# The odometry with it, along a rendered street.

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
MONO = Rig(CAMERA)
FRAMES = 8
START_NS = SECOND_NS


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=Rig(CAMERA, CAMERA, 0.5))


@pytest.fixture(scope="module")
def frames(street: StreetSequence) -> list[Frame]:
    return [Frame(START_NS + index * TENTH_NS, frame.image, MONO) for index, frame in enumerate(street)]


def config(**odometry: Any) -> Config:
    settings = {"preset": "sift", "device": "cpu", "refiner": "none", "threads": 1}
    return load_config(settings | {"odometry": {"wheel_odometry": True} | odometry})


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(config())


def true_samples(street: StreetSequence) -> list[Sample]:
    assert street.truth is not None
    poses = odom_from_camera_path(street.truth, MOUNT)
    return [Sample(START_NS + index * TENTH_NS, pose) for index, pose in enumerate(poses)]


def position_errors(results: list[OdometryResult], street: StreetSequence) -> Array:
    """Of the last frames."""
    assert street.truth is not None
    found = np.array([result.T_odom_camera[:3, 3] for result in results])
    return np.asarray(np.linalg.norm(found - street.truth[-len(results) :, :3, 3], axis=1))


def test_the_odometry_of_one_camera_is_in_metres(
    front_end: FrontEnd, street: StreetSequence, frames: list[Frame]
) -> None:
    other = heard(*true_samples(street), mount=MOUNT)
    odometry = VisualOdometry(config(), MONO, front_end=front_end, other=other)
    results = [odometry.process(frame) for frame in frames]
    assert all(result.metric and result.located for result in results)
    assert all(result.relative_pose.metric for result in results[1:])
    assert {result.state for result in results[1:]} == {TrackingState.TRACKING}
    assert position_errors(results, street).max() < 0.02 * 0.5 * (FRAMES - 1)


def test_motions_without_metres_are_not_added_and_nothing_is_missing_afterwards(
    front_end: FrontEnd, street: StreetSequence, frames: list[Frame]
) -> None:
    samples = true_samples(street)
    other = heard(*samples[:3], mount=MOUNT)
    odometry, meter = VisualOdometry(config(), MONO, front_end=front_end, other=other), Velocimeter()
    results, velocities = [], []
    for index, frame in enumerate(frames):
        if index == 6:
            for each in samples[3:]:
                other.add(each)
        results.append(odometry.process(frame))
        velocities.append(meter.update(results[-1]))
    for result, velocity in zip(results[4:6], velocities[4:6], strict=True):
        assert result.state is TrackingState.DEGRADED and not result.located
        assert "the length of the motion is not known: wheel odometry: it ends" in result.reason
        assert result.relative_pose.ok and not result.relative_pose.metric
        np.testing.assert_array_equal(result.T_odom_camera, results[3].T_odom_camera)
        assert np.all(np.diag(result.covariance) >= UNKNOWN_VARIANCE)
        assert not velocity.twist.any() and np.all(np.diag(velocity.covariance) >= UNKNOWN_VARIANCE)
    assert all(result.located and result.state is TrackingState.TRACKING for result in results[6:])
    reference_ns = results[6].reference_stamp_ns
    assert reference_ns is not None and reference_ns <= frames[3].stamp_ns, "measured over the whole gap"
    assert position_errors(results[6:], street).max() < 0.03 * 0.5 * (FRAMES - 1)
    assert np.all(np.diag(results[-1].covariance) < 1.0)


def test_slipping_wheels_do_not_move_a_camera_at_rest(front_end: FrontEnd, frames: list[Frame]) -> None:
    spinning = [Sample(START_NS + k * TENTH_NS, at(0.0, 0.3 * k).T_odom_tracked) for k in range(9)]
    odometry = VisualOdometry(config(), MONO, front_end=front_end, other=heard(*spinning))
    still = [dataclasses.replace(frames[0], stamp_ns=START_NS + k * TENTH_NS) for k in range(8)]
    results = [odometry.process(frame) for frame in still]
    assert all(np.array_equal(result.T_odom_camera, np.eye(4)) and result.located for result in results)
    moved = odometry.process(dataclasses.replace(frames[1], stamp_ns=START_NS + 8 * TENTH_NS))
    assert moved.located and np.linalg.norm(moved.T_odom_camera[:3, 3]) == pytest.approx(0.3, rel=0.01)


def test_intervals_add_up(street: StreetSequence) -> None:
    """Whatever the stamps of the frames, the wheels' way between them is the whole way."""
    samples = true_samples(street)
    other = heard(*samples)
    stamps = np.linspace(samples[0].stamp_ns, samples[-1].stamp_ns, 23).astype(np.int64).tolist()
    parts = sum(other.travel(a, b).metres for a, b in pairwise(stamps))
    corners = sum(
        float(np.linalg.norm(b.T_odom_tracked[:3, 3] - a.T_odom_tracked[:3, 3])) for a, b in pairwise(samples)
    )
    assert parts == pytest.approx(corners, rel=1e-2)
