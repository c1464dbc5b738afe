"""A camera at rest stays exactly where it is, and one that creeps is followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.config import OdometryConfig, load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Camera, Features, Frame, OdometryResult, Rig, TrackingState
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.judgement import Standstill
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
RIG = Rig(CAMERA, CAMERA, 0.5)
CONFIG = load_config({"preset": "sift", "device": "cpu", "refiner": "none", "threads": 1})
SECOND_NS = 1_000_000_000
PER_MINUTE_M = 1e-3


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(CONFIG)


@pytest.fixture(scope="module")
def view() -> Frame:
    return next(iter(StreetSequence(StreetConfig(seed=3, length_m=50.0), frames=1, rig=RIG)))


def stills(view: Frame, noise: float, count: int, stereo: bool) -> Iterator[Frame]:
    """One view for `count` tenths of a second, each image with noise of its own (standard deviation, grey levels)."""
    rng = np.random.default_rng(0)

    def noisy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.clip(np.rint(image + rng.normal(0.0, noise, image.shape)), 0, 255).astype(np.uint8)

    assert view.right_image is not None
    for index in range(count):
        stamp, left = index * SECOND_NS // 10, noisy(view.image)
        yield Frame(stamp, left, RIG, noisy(view.right_image)) if stereo else Frame(stamp, left, Rig(CAMERA))


@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
@pytest.mark.parametrize("stereo", [True, False], ids=["stereo", "mono"])
def test_stills_do_not_drift(front_end: FrontEnd, view: Frame, noise: float, stereo: bool) -> None:
    odometry = VisualOdometry(CONFIG, RIG if stereo else Rig(CAMERA), front_end=front_end)
    count = 12
    results = [odometry.process(frame) for frame in stills(view, noise, count, stereo)]
    assert all(result.state is TrackingState.TRACKING for result in results[1:])
    assert all(result.reference_stamp_ns == 0 for result in results[1:])
    distances = [float(np.linalg.norm(result.T_odom_camera[:3, 3])) for result in results]
    assert max(distances) < PER_MINUTE_M * count / 600
    assert np.trace(results[-1].covariance) < 3.0 * np.trace(results[1].covariance) + 1e-12


def test_integer_keypoints_of_identical_images_are_no_motion(front_end: FrontEnd, view: Frame) -> None:
    class Rounded(FrontEnd):
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
            return [replace(found, keypoints=found.keypoints.round()) for found in super().detect(images)]

    odometry = VisualOdometry(CONFIG, RIG, front_end=Rounded(CONFIG))
    results = [odometry.process(frame) for frame in stills(view, 0.0, 3, stereo=True)]
    assert [result.state for result in results[1:]] == [TrackingState.TRACKING] * 2
    assert np.allclose(results[-1].T_odom_camera, np.eye(4), atol=1e-9)


@pytest.fixture(scope="module")
def creep(front_end: FrontEnd) -> tuple[NDArray[np.float64], list[OdometryResult]]:
    """Truth and results of a drive at 6 mm a frame, far less than one pixel."""
    street = StreetSequence(StreetConfig(seed=3, length_m=50.0), frames=16, rig=RIG)
    truth = np.array([se3(np.eye(3), np.array([0.0, 0.0, 0.006 * index])) for index in range(16)])
    street.poses = street.poses[0] @ truth
    odometry = VisualOdometry(CONFIG, RIG, front_end=front_end)
    return truth, [odometry.process(frame) for frame in street]


def test_a_slow_motion_is_followed(creep: tuple[NDArray[np.float64], list[OdometryResult]]) -> None:
    truth, results = creep
    errors = [np.linalg.norm(found.T_odom_camera[:3, 3] - T[:3, 3]) for found, T in zip(results, truth, strict=True)]
    travelled = float(np.linalg.norm(truth[-1, :3, 3] - truth[0, :3, 3]))
    assert travelled > 0.08
    assert errors[-1] < 0.4 * travelled
    assert np.linalg.norm(results[-1].T_odom_camera[:3, 3]) > 0.5 * travelled


def test_a_pose_that_stays_covers_what_it_does_not_follow(
    creep: tuple[NDArray[np.float64], list[OdometryResult]],
) -> None:
    truth, results = creep
    for found, T in list(zip(results, truth, strict=True))[1:]:
        error = found.T_odom_camera[:3, 3] - T[:3, 3]
        deviation = np.sqrt(error @ np.linalg.solve(found.covariance[:3, :3], error))
        assert deviation < 5.0


SHOWN = se3(rotation_from_vector(np.array([0.0, 0.3, 0.0])), np.array([1.0, 2.0, 3.0]))
FOUND = se3(rotation_from_vector(np.array([0.002, 0.0, 0.0])) @ SHOWN[:3, :3], SHOWN[:3, 3] + [0.03, 0.0, 0.0])
COVARIANCE = np.diag([1e-4, 1e-4, 1e-4, 1e-6, 1e-6, 1e-6])
APART = float(np.sqrt(13.0))
"""Standard deviations from SHOWN to FOUND: 3 by the translation and 2 by the rotation."""


def test_what_is_within_the_noise_is_shown_where_it_was() -> None:
    standstill = Standstill()
    for _ in range(5):
        held, spread = standstill.shown(SHOWN, FOUND, COVARIANCE, APART + 0.01)
        assert held is SHOWN
        np.testing.assert_allclose(np.diag(spread - COVARIANCE), [9e-4, 0, 0, 4e-6, 0, 0], rtol=0.01, atol=1e-9)


def test_a_motion_is_believed_when_frame_after_frame_confirms_it() -> None:
    standstill, sigmas = Standstill(), APART - 0.01
    for _ in range(2):
        assert standstill.shown(SHOWN, FOUND, COVARIANCE, sigmas)[0] is SHOWN
    followed, own = standstill.shown(SHOWN, FOUND, COVARIANCE, sigmas)
    assert followed is FOUND and own is COVARIANCE


def test_single_wild_estimates_are_not_followed() -> None:
    standstill, sigmas = Standstill(), APART - 0.01
    for _ in range(5):
        for found in (FOUND, FOUND, SHOWN):
            assert np.array_equal(standstill.shown(SHOWN, found, COVARIANCE, sigmas)[0], SHOWN)
        standstill.shown(SHOWN, FOUND, COVARIANCE, sigmas)
        standstill.leave()


def test_holding_can_be_switched_off(front_end: FrontEnd, view: Frame) -> None:
    config = load_config({"preset": "sift", "device": "cpu", "refiner": "none", "odometry": {"standstill_sigmas": 0.0}})
    odometry = VisualOdometry(config, RIG, front_end=front_end)
    results = [odometry.process(frame) for frame in stills(view, 3.0, 3, stereo=True)]
    assert 0.0 < np.linalg.norm(results[-1].T_odom_camera[:3, 3]) < 0.02
    assert OdometryConfig().standstill_sigmas > 0.0
