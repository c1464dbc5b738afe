"""Poses from points that do not err independently: the covariance still says how far off they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chi2

from subpx_ros.config import PoseConfig
from subpx_ros.datatypes import Array, Camera, RelativePose, Rig
from subpx_ros.geometry import homogeneous, invert, rotation_from_vector, se3, transform_points, vector_from_rotation
from subpx_ros.least_squares import FLOOR_PX
from subpx_ros.pose import estimate_mono, estimate_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import StereoPoints, stereo_covariance

CAMERA = Camera(700.0, 700.0, 602.0, 183.0, 1226, 370)
RIG = Rig(CAMERA, CAMERA, 0.54)
FORWARD = se3(rotation_from_vector(np.array([0.01, -0.03, 0.005])), np.array([0.05, -0.02, 0.9]))
CERTAIN = RightCentre()
WIDE = PoseConfig(reprojection_threshold_px=20.0)
TRIALS = 100


def groups(rng: np.random.Generator, count: int, size: int) -> Array:
    """Points (count * size, 3) before the reference camera, in groups that lie on one surface within a few pixels."""
    middles = rng.uniform([20.0, 20.0], [1206.0, 350.0], (count, 2)).repeat(size, axis=0)
    depth = 1.0 / rng.uniform(1.0 / 40.0, 1.0 / 5.0, count).repeat(size)
    pixels = middles + rng.uniform(-3.0, 3.0, middles.shape) * (size > 1)
    return np.asarray(homogeneous(CAMERA.normalise(pixels)) * depth[:, None])


def alike_noise(rng: np.random.Generator, pixels: Array, size: int, sigma_px: float) -> Array:
    """(M, 3) that correlates within groups of so many points as overlapping patches do."""
    grouped = pixels.reshape(-1, size, 2)
    squared = ((grouped[:, :, None] - grouped[:, None]) ** 2).sum(axis=3)
    correlation = 0.65 * np.exp(-squared / 6.0**2) + 0.35 * np.eye(size)
    root = np.linalg.cholesky(correlation)
    return np.asarray(sigma_px * (root @ rng.standard_normal((len(grouped), size, 3))).reshape(-1, 3))


def seen(points: Array, noise: Array, covariance: Array | None = None) -> StereoPoints:
    """What the rig sees of points (M, 3) with noise (M, 3) of left x, left y and right x."""
    left = CAMERA.project(points)
    right_x = CAMERA.project(points - [0.54, 0.0, 0.0])[:, 0] + noise[:, 2]
    left = left + noise[:, :2]
    return StereoPoints(left, left[:, 0] - right_x, covariance)


def pose_of(reference: StereoPoints, current: StereoPoints, known: RightCentre = CERTAIN) -> RelativePose:
    return estimate_stereo(reference, current, RIG, WIDE, known)[0]


def mean_nees(trial: Callable[[np.random.Generator], RelativePose], truth: Array = FORWARD) -> float:
    values = []
    for seed in range(TRIALS):
        pose = trial(np.random.default_rng(seed))
        T, covariance = pose.T_reference_current, pose.covariance
        assert T is not None and covariance is not None
        turned = vector_from_rotation(T[:3, :3] @ truth[:3, :3].T)
        error = np.concatenate([T[:3, 3] - truth[:3, 3], turned])
        # One camera's covariance has no spread along the translation.
        values.append(error @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ error)
    return float(np.mean(values))


def assert_consistent(nees: float, freedom: int = 6) -> None:
    low, high = chi2.ppf([0.025, 0.975], freedom * TRIALS) / TRIALS
    assert low < nees < high, f"mean NEES {nees:.2f}, from {low:.2f} to {high:.2f} expected"


@pytest.mark.parametrize("size", [1, 3])
def test_points_beside_each_other_that_err_alike(size: int) -> None:
    def trial(rng: np.random.Generator) -> RelativePose:
        points = groups(rng, 240 // size, size)
        pixels = CAMERA.project(points)
        noise0, noise1 = (alike_noise(rng, pixels, size, 0.2) for _ in range(2))
        return pose_of(seen(points, noise0), seen(transform_points(invert(FORWARD), points), noise1))

    assert_consistent(mean_nees(trial))


def test_one_camera_and_points_beside_each_other() -> None:
    truth = se3(FORWARD[:3, :3], FORWARD[:3, 3] / np.linalg.norm(FORWARD[:3, 3]))

    def trial(rng: np.random.Generator) -> RelativePose:
        points = groups(rng, 100, 3)
        first = CAMERA.project(points)
        second = CAMERA.project(transform_points(invert(FORWARD), points))
        noisy = [pixels + alike_noise(rng, first, 3, 0.2)[:, :2] for pixels in (first, second)]
        return estimate_mono(noisy[0], noisy[1], CAMERA, CAMERA, WIDE)

    assert_consistent(mean_nees(trial, truth), freedom=5)


def test_disparities_that_are_misjudged_alike_in_both_frames() -> None:
    disparity_px, alike = 0.5, 0.6
    between = disparity_px**2 * np.array([[1.0, alike], [alike, 1.0]])

    def trial(rng: np.random.Generator) -> RelativePose:
        points = groups(rng, 200, 1)
        left_px = np.exp(rng.uniform(np.log(0.05), np.log(0.5), len(points)))
        left = left_px[:, None, None] ** 2 * np.eye(2)
        disparity = rng.multivariate_normal(np.zeros(2), between, len(points))
        floors = FLOOR_PX * rng.standard_normal((2, len(points), 3))
        # The first point is where it is seen; the second one takes its right point along.
        second = left_px[:, None] * rng.standard_normal((len(points), 2))
        noise = [np.zeros((len(points), 3)), np.column_stack([second, second[:, 0]])]
        for each, floor, error in zip(noise, floors, disparity.T, strict=True):
            each += floor
            each[:, 2] -= error
        variance = np.full(len(points), disparity_px**2)
        reference = seen(points, noise[0], stereo_covariance(np.zeros_like(left), variance))
        there = transform_points(invert(FORWARD), points)
        return pose_of(reference, seen(there, noise[1], stereo_covariance(left, variance)))

    assert_consistent(mean_nees(trial))


def test_what_the_right_centre_makes_of_a_pose() -> None:
    rng = np.random.default_rng(5)
    points = groups(rng, 200, 1)
    there = transform_points(invert(FORWARD), points)
    pair = [seen(each, 0.1 * rng.standard_normal((200, 3))) for each in (points, there)]
    known, step_px = RightCentre(0.0, 0.02**2), 1e-3
    pose = pose_of(pair[0], pair[1], known)
    moved = [pose_of(pair[0], pair[1], RightCentre(sign * step_px, known.variance_px2)) for sign in (1, -1)]
    ahead, back = (each.T_reference_current for each in moved)
    assert ahead is not None and back is not None and pose.right_centre is not None
    by_shift = np.concatenate([ahead[:3, 3] - back[:3, 3], vector_from_rotation(ahead[:3, :3] @ back[:3, :3].T)])
    found = pose.right_centre.by_shift
    # A robust loss shares out between pair and prior a little otherwise than its normal matrix says.
    np.testing.assert_allclose(found, by_shift / (2.0 * step_px), atol=0.1 * np.abs(found).max())


def test_a_calibration_that_is_certain_moves_no_pose() -> None:
    points = groups(np.random.default_rng(0), 100, 1)
    there = transform_points(invert(FORWARD), points)
    noise = 0.1 * np.random.default_rng(1).standard_normal((2, 100, 3))
    pose = pose_of(seen(points, noise[0]), seen(there, noise[1]))
    assert pose.right_centre is not None and pose.covariance is not None
    part = pose.right_centre.variance_px2 * pose.right_centre.by_shift**2
    assert np.all(part < 1e-6 * np.diag(pose.covariance))
