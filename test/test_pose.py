"""Relative pose on synthetic scenes: exact at truth, honest about its covariance, and named failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import poselib
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from subpx_ros.config import PoseConfig
from subpx_ros.datatypes import Camera, PoseStatus, RelativePose, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import (
    angle_between,
    homogeneous,
    invert,
    rotation_angle,
    rotation_from_vector,
    se3,
    transform_points,
)
from subpx_ros.least_squares import FLOOR_PX
from subpx_ros.pose import estimate_mono, estimate_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import StereoPoints, stereo_covariance, triangulate

Array = NDArray[np.float64]

CAMERA = Camera(700.0, 710.0, 602.0, 183.0, 1226, 370)
RIGHT = dataclasses.replace(CAMERA, cx=598.0)
RIG = Rig(CAMERA, RIGHT, 0.54)
CONFIG = PoseConfig()
AS_CALIBRATED = RightCentre()
FORWARD = se3(rotation_from_vector(np.array([0.01, -0.03, 0.005])), np.array([0.05, -0.02, 0.9]))

MOTIONS = {
    "forward": FORWARD,
    "backward": invert(FORWARD),
    "sideways": se3(np.eye(3), np.array([0.6, 0.0, 0.0])),
    "upward": se3(rotation_from_vector(np.array([0.05, 0.0, 0.0])), np.array([0.0, -0.4, 0.0])),
    "roll": se3(rotation_from_vector(np.array([0.0, 0.0, 0.5])), np.array([0.1, 0.2, 0.6])),
    "sharp turn": se3(rotation_from_vector(np.array([0.0, 0.25, 0.0])), np.array([0.4, 0.0, 0.9])),
}


def scene(rng: np.random.Generator, count: int = 150, farthest: float = 40.0) -> Array:
    """Points (count, 3) before camera 0, spread over its image, from 4 m on with evenly spread disparities."""
    pixels = rng.uniform([10.0, 10.0], [1216.0, 360.0], (count, 2))
    depth = 1.0 / rng.uniform(1.0 / farthest, 1.0 / 4.0, count)
    return homogeneous(CAMERA.normalise(pixels)) * depth[:, None]


def observed(
    points: Array, shift: float = 0.0, rng: np.random.Generator | None = None, sigma: float = 0.0
) -> StereoPoints:
    """What the rig sees of points in its frame; `shift` is added to all right columns, noise to all coordinates."""
    left = CAMERA.project(points)
    right = RIGHT.project(points - [0.54, 0.0, 0.0]) + [shift, 0.0]
    if rng is not None:
        left = left + rng.normal(0.0, sigma, left.shape)
        right = right + rng.normal(0.0, sigma, right.shape)
    return StereoPoints(left, left[:, 0] - right[:, 0])


def stereo_pose(
    reference: StereoPoints, current: StereoPoints, config: PoseConfig = CONFIG, known: RightCentre = AS_CALIBRATED
) -> RelativePose:
    return estimate_stereo(reference, current, RIG, config, known)[0]


def mono_pose(pixels0: Array, pixels1: Array, config: PoseConfig = CONFIG) -> RelativePose:
    return estimate_mono(pixels0, pixels1, CAMERA, CAMERA, config)


def found(pose: RelativePose) -> tuple[Array, Array]:
    """Pose and covariance of an estimate that must be there."""
    assert pose.status is PoseStatus.OK and pose.ok and pose.reason == ""
    assert pose.T_reference_current is not None and pose.covariance is not None
    assert np.all(np.isfinite(pose.T_reference_current)) and np.all(np.isfinite(pose.covariance))
    return pose.T_reference_current, pose.covariance


def assert_not_found(pose: RelativePose, status: PoseStatus, matches: int) -> None:
    assert pose.status is status, pose
    assert not pose.ok and pose.reason
    assert pose.T_reference_current is None and pose.covariance is None
    assert pose.inliers.shape == (matches,) and not pose.inliers.any()


def unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("name", MOTIONS)
def test_exact_mono_matches_give_the_exact_pose(name: str) -> None:
    truth = MOTIONS[name]
    points = scene(np.random.default_rng(0))
    pose = mono_pose(CAMERA.project(points), CAMERA.project(transform_points(invert(truth), points)))
    T, covariance = found(pose)
    assert rotation_angle(T[:3, :3].T @ truth[:3, :3]) < 1e-8
    assert angle_between(T[:3, 3], truth[:3, 3]) < 1e-7
    assert np.linalg.norm(T[:3, 3]) == pytest.approx(1.0, abs=1e-12)
    assert pose.inliers.all() and not pose.metric
    assert np.linalg.matrix_rank(covariance[:3, :3], tol=1e-9 * np.trace(covariance[:3, :3])) == 2


@pytest.mark.parametrize("name", MOTIONS)
def test_exact_stereo_matches_give_the_exact_pose_in_metres(name: str) -> None:
    truth = MOTIONS[name]
    points = scene(np.random.default_rng(0))
    pose = stereo_pose(observed(points), observed(transform_points(invert(truth), points)))
    T, covariance = found(pose)
    assert rotation_angle(T[:3, :3].T @ truth[:3, :3]) < 1e-9
    assert np.linalg.norm(T[:3, 3] - truth[:3, 3]) < 1e-8
    assert pose.inliers.all() and pose.metric
    assert np.allclose(covariance, covariance.T) and np.all(np.linalg.eigvalsh(covariance) > 0)


TURNS = st.tuples(*[st.floats(-0.1, 0.1)] * 3).map(np.array)
STEPS = st.tuples(*[st.floats(-1.0, 1.0)] * 3).map(np.array).filter(lambda step: np.linalg.norm(step) > 0.2)


@given(TURNS, STEPS, st.integers(0, 1000))
@profile(max_examples=20)
def test_any_motion_is_recovered_from_exact_matches(turn: Array, step: Array, seed: int) -> None:
    truth = se3(rotation_from_vector(turn), step)
    points = scene(np.random.default_rng(seed), count=80)
    moved = transform_points(invert(truth), points)
    T, _ = found(mono_pose(CAMERA.project(points), CAMERA.project(moved)))
    assert rotation_angle(T[:3, :3].T @ truth[:3, :3]) < 1e-7
    assert angle_between(T[:3, 3], step) < 1e-6
    T, _ = found(stereo_pose(observed(points), observed(moved)))
    assert np.allclose(T, truth, atol=1e-7)


def test_standing_still_is_a_stereo_pose_of_zero() -> None:
    seen = observed(scene(np.random.default_rng(0)))
    T, _ = found(stereo_pose(seen, seen))
    assert np.allclose(T, np.eye(4), atol=1e-9)


def test_stereo_needs_no_disparity_in_the_current_pair() -> None:
    points = scene(np.random.default_rng(0))
    current = observed(transform_points(invert(FORWARD), points))
    without = StereoPoints(current.left, np.full(len(points), np.nan))
    T, _ = found(stereo_pose(observed(points), without))
    assert np.allclose(T, FORWARD, atol=1e-8)


@pytest.mark.parametrize("nothing", [np.nan, 0.0, -5.0])
def test_points_without_depth_take_no_part(nothing: float) -> None:
    rng = np.random.default_rng(0)
    points = scene(rng)
    reference, current = observed(points), observed(transform_points(invert(FORWARD), points))
    absent = np.arange(150) % 3 == 0
    disparity = np.where(absent, nothing, reference.disparity)
    wrong = np.where(absent[:, None], rng.uniform(0.0, 300.0, (150, 2)), current.left)
    pose = stereo_pose(StereoPoints(reference.left, disparity), StereoPoints(wrong, current.disparity))
    assert np.allclose(found(pose)[0], FORWARD, atol=1e-8)
    assert np.array_equal(pose.inliers, ~absent)


@pytest.mark.parametrize("seed", range(4))
def test_forty_percent_outliers_are_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = scene(rng, 200)
    moved = transform_points(invert(FORWARD), points)
    reference, current = observed(points, 0.0, rng, 0.2), observed(moved, 0.0, rng, 0.2)
    wrong = np.arange(200) < 80
    garbage = current.left.copy()
    garbage[wrong] = rng.uniform([0.0, 0.0], [1225.0, 369.0], (80, 2))

    pose = mono_pose(reference.left, garbage)
    T, _ = found(pose)
    assert rotation_angle(T[:3, :3].T @ FORWARD[:3, :3]) < np.deg2rad(0.1)
    assert angle_between(T[:3, 3], FORWARD[:3, 3]) < np.deg2rad(1.0)
    assert pose.inliers[~wrong].mean() > 0.97 and pose.inliers[wrong].mean() < 0.1

    pose = stereo_pose(reference, StereoPoints(garbage, current.disparity))
    T, _ = found(pose)
    assert rotation_angle(T[:3, :3].T @ FORWARD[:3, :3]) < np.deg2rad(0.1)
    assert np.linalg.norm(T[:3, 3] - FORWARD[:3, 3]) < 0.03
    assert pose.inliers[~wrong].mean() > 0.97 and pose.inliers[wrong].mean() < 0.03


def mean_nees(trial: Callable[[np.random.Generator], tuple[Array, Array, Array]], trials: int) -> float:
    """Mean of e' C^-1 e over seeded trials that give true T, estimated T and its covariance."""
    values = []
    for seed in range(trials):
        truth, T, covariance = trial(np.random.default_rng(seed))
        turn = Rotation.from_matrix(T[:3, :3] @ truth[:3, :3].T).as_rotvec()
        error = np.concatenate([T[:3, 3] - truth[:3, 3], turn])
        # A monocular covariance has no spread along the translation: the pseudo-inverse leaves that direction out.
        values.append(error @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ error)
    return float(np.mean(values))


def assert_consistent(nees: float, freedom: int, trials: int) -> None:
    """Within the central 95 % of the mean of `trials` chi-squared values."""
    low, high = chi2.ppf([0.025, 0.975], freedom * trials) / trials
    assert low < nees < high, f"mean NEES {nees:.2f}, from {low:.2f} to {high:.2f} expected"


@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_mono_error_agrees_with_the_covariance(sigma: float) -> None:
    def trial(rng: np.random.Generator) -> tuple[Array, Array, Array]:
        points = scene(rng, 300)
        reference = observed(points, 0.0, rng, sigma)
        current = observed(transform_points(invert(FORWARD), points), 0.0, rng, sigma)
        truth = se3(FORWARD[:3, :3], unit(FORWARD[:3, 3]))
        return truth, *found(mono_pose(reference.left, current.left))

    assert_consistent(mean_nees(trial, 100), 5, 100)


@pytest.mark.parametrize(("sigma", "shift_sigma"), [(0.1, 0.0), (0.3, 0.0), (0.3, 0.3)])
def test_stereo_error_agrees_with_the_covariance(sigma: float, shift_sigma: float) -> None:
    known = AS_CALIBRATED if shift_sigma == 0.0 else RightCentre(0.0, shift_sigma**2)

    def trial(rng: np.random.Generator) -> tuple[Array, Array, Array]:
        points = scene(rng, 300)
        shift = rng.normal(0.0, shift_sigma) if shift_sigma else 0.0
        reference = observed(points, shift, rng, sigma)
        current = observed(transform_points(invert(FORWARD), points), shift, rng, sigma)
        return FORWARD, *found(stereo_pose(reference, current, known=known))

    assert_consistent(mean_nees(trial, 100), 6, 100)


WIDE = PoseConfig(epipolar_threshold_px=20.0, reprojection_threshold_px=20.0)
"""Keeps all matches of unequal noise, so that their statistics are not cut off."""


def unequal_covariances(rng: np.random.Generator, count: int) -> Array:
    """(count, 2, 2) px^2: ellipses of all directions, half-axes from 0.05 to 2 px."""
    turns = Rotation.from_rotvec(rng.uniform(0.0, np.pi, (count, 1)) * [0.0, 0.0, 1.0]).as_matrix()[:, :2, :2]
    axes = np.exp(rng.uniform(np.log(0.05), np.log(2.0), (count, 2)))
    return np.asarray(turns * axes[:, None] ** 2 @ turns.transpose(0, 2, 1))


def noise_of(rng: np.random.Generator, covariances: Array) -> Array:
    """(M, d) drawn from (M, d, d), with the floor that every pixel coordinate has."""
    size = covariances.shape[-1]
    return np.array(
        [rng.multivariate_normal(np.zeros(size), each + FLOOR_PX**2 * np.eye(size)) for each in covariances]
    )


def unequally_observed(points: Array, rng: np.random.Generator, left: Array) -> StereoPoints:
    """Points as the rig sees them, the left ones with covariances (M, 2, 2), disparities with all sorts of spreads."""
    covariance = stereo_covariance(left, np.exp(rng.uniform(np.log(0.05), 0.0, len(points))) ** 2)
    exact, noise = observed(points), noise_of(rng, covariance)
    return StereoPoints(exact.left + noise[:, :2], exact.disparity + noise[:, 0] - noise[:, 2], covariance)


def unequal_mono(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Pixels of both views, and the covariances of the second ones."""
    points = scene(rng, 300)
    covariance1 = unequal_covariances(rng, 300)
    pixels0 = CAMERA.project(points) + rng.normal(0.0, FLOOR_PX, (300, 2))
    pixels1 = CAMERA.project(transform_points(invert(FORWARD), points)) + noise_of(rng, covariance1)
    return pixels0, pixels1, covariance1


def unequal_stereo(rng: np.random.Generator) -> tuple[StereoPoints, StereoPoints]:
    points = scene(rng, 300)
    reference = unequally_observed(points, rng, np.zeros((300, 2, 2)))
    return reference, unequally_observed(transform_points(invert(FORWARD), points), rng, unequal_covariances(rng, 300))


def test_mono_error_agrees_with_the_covariance_of_unequal_matches() -> None:
    def trial(rng: np.random.Generator) -> tuple[Array, Array, Array]:
        pixels0, pixels1, covariance1 = unequal_mono(rng)
        truth = se3(FORWARD[:3, :3], unit(FORWARD[:3, 3]))
        return truth, *found(estimate_mono(pixels0, pixels1, CAMERA, CAMERA, WIDE, covariance1))

    assert_consistent(mean_nees(trial, 60), 5, 60)


def test_stereo_error_agrees_with_the_covariance_of_unequal_matches() -> None:
    assert_consistent(mean_nees(lambda rng: (FORWARD, *found(stereo_pose(*unequal_stereo(rng), WIDE))), 60), 6, 60)


def test_matches_weighed_by_their_covariance_give_a_better_pose() -> None:
    unweighed = dataclasses.replace(WIDE, use_match_covariance=False)
    errors: dict[str, list[list[float]]] = {"mono": [], "stereo": []}
    for seed in range(20):
        mono, stereo = unequal_mono(np.random.default_rng(seed)), unequal_stereo(np.random.default_rng(seed))
        directions = [
            found(estimate_mono(*mono[:2], CAMERA, CAMERA, config, mono[2]))[0] for config in (WIDE, unweighed)
        ]
        errors["mono"].append([angle_between(T[:3, 3], FORWARD[:3, 3]) for T in directions])
        poses = [found(stereo_pose(*stereo, config))[0] for config in (WIDE, unweighed)]
        errors["stereo"].append([float(np.linalg.norm(T[:3, 3] - FORWARD[:3, 3])) for T in poses])
    for each in errors.values():
        weighed, alike = np.mean(each, axis=0)
        assert weighed < 0.85 * alike


def test_covariances_are_left_aside_where_the_configuration_says_so() -> None:
    unweighed = PoseConfig(use_match_covariance=False)
    pixels0, pixels1, covariance1 = unequal_mono(np.random.default_rng(0))
    without = found(mono_pose(pixels0, pixels1))
    aside = found(estimate_mono(pixels0, pixels1, CAMERA, CAMERA, unweighed, covariance1))
    assert all(np.array_equal(*pair) for pair in zip(aside, without, strict=True))
    reference, current = unequal_stereo(np.random.default_rng(0))
    plain = [StereoPoints(each.left, each.disparity) for each in (reference, current)]
    aside, without = found(stereo_pose(reference, current, unweighed)), found(stereo_pose(plain[0], plain[1]))
    assert all(np.array_equal(*pair) for pair in zip(aside, without, strict=True))


def test_equal_covariances_weigh_as_none() -> None:
    rng = np.random.default_rng(0)
    points = scene(rng)
    pixels0 = CAMERA.project(points) + rng.normal(0.0, 0.2, (150, 2))
    pixels1 = CAMERA.project(transform_points(invert(FORWARD), points)) + rng.normal(0.0, 0.2, (150, 2))
    equal = np.tile(0.04 * np.eye(2), (150, 1, 1))
    weighed = found(estimate_mono(pixels0, pixels1, CAMERA, CAMERA, CONFIG, equal))[0]
    assert np.allclose(weighed, found(mono_pose(pixels0, pixels1))[0], atol=1e-3)


def test_covariance_grows_with_the_noise_and_shrinks_with_more_matches() -> None:
    def deviation(count: int, sigma: float) -> float:
        rng = np.random.default_rng(0)
        points = scene(rng, count)
        reference = observed(points, 0.0, rng, sigma)
        current = observed(transform_points(invert(FORWARD), points), 0.0, rng, sigma)
        return float(np.sqrt(np.trace(found(stereo_pose(reference, current))[1][:3, :3])))

    assert deviation(150, 0.4) / deviation(150, 0.1) == pytest.approx(4.0, rel=0.3)
    assert deviation(100, 0.2) / deviation(400, 0.2) == pytest.approx(2.0, rel=0.3)


class Spy:
    """Calls a solver of PoseLib and keeps what it said of the inliers."""

    def __init__(self, solver: Callable[..., Any]) -> None:
        self._solver = solver
        self.inliers: list[int] = []

    def __call__(self, *arguments: Any) -> Any:
        solution, info = self._solver(*arguments)
        self.inliers.append(int(np.count_nonzero(info["inliers"])))
        return solution, info


def test_thresholds_reach_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """PoseLib ignores options whose names it does not know; then its own inlier sets would not change."""
    rng = np.random.default_rng(0)
    points = scene(rng, 300)
    reference = observed(points, 0.0, rng, 0.7)
    current = observed(transform_points(invert(FORWARD), points), 0.0, rng, 0.7)
    mono, stereo = Spy(poselib.estimate_relative_pose), Spy(poselib.estimate_absolute_pose)
    monkeypatch.setattr(poselib, "estimate_relative_pose", mono)
    monkeypatch.setattr(poselib, "estimate_absolute_pose", stereo)
    kept = []
    for threshold in (0.4, 6.0):
        config = PoseConfig(epipolar_threshold_px=threshold, reprojection_threshold_px=threshold)
        kept.append(np.count_nonzero(mono_pose(reference.left, current.left, config).inliers))
        kept.append(np.count_nonzero(stereo_pose(reference, current, config).inliers))
    assert mono.inliers[0] < 200 and mono.inliers[1] > 290
    assert stereo.inliers[0] < 150 and stereo.inliers[1] > 290
    assert kept[0] < 200 and kept[2] > 290
    assert kept[1] < 150 and kept[3] > 290


def test_iterations_reach_the_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    solver = poselib.estimate_relative_pose

    def spy(*arguments: Any) -> Any:
        solution, info = solver(*arguments)
        seen.append(info["iterations"])
        return solution, info

    monkeypatch.setattr(poselib, "estimate_relative_pose", spy)
    points = scene(np.random.default_rng(0))
    pixels = CAMERA.project(points), CAMERA.project(transform_points(invert(FORWARD), points))
    for least in (150, 700):
        mono_pose(*pixels, PoseConfig(min_iterations=least))
    assert 150 <= seen[0] < 700 <= seen[1]


def test_the_same_matches_give_the_same_pose() -> None:
    rng = np.random.default_rng(0)
    points = scene(rng)
    reference = observed(points, 0.0, rng, 0.5)
    current = observed(transform_points(invert(FORWARD), points), 0.0, rng, 0.5)
    first, second = (mono_pose(reference.left, current.left) for _ in range(2))
    assert np.array_equal(found(first)[0], found(second)[0])
    first, second = (stereo_pose(reference, current) for _ in range(2))
    assert np.array_equal(found(first)[0], found(second)[0])


@pytest.mark.parametrize("count", [0, 1, 4, 11])
def test_too_few_matches(count: int) -> None:
    points = scene(np.random.default_rng(0), count)
    reference, current = observed(points), observed(transform_points(invert(FORWARD), points))
    assert_not_found(mono_pose(reference.left, current.left), PoseStatus.FEW_MATCHES, count)
    assert_not_found(stereo_pose(reference, current), PoseStatus.FEW_MATCHES, count)


@pytest.mark.parametrize("count", [12, 13])
def test_the_least_number_of_matches_is_enough(count: int) -> None:
    points = scene(np.random.default_rng(0), count)
    reference, current = observed(points), observed(transform_points(invert(FORWARD), points))
    assert mono_pose(reference.left, current.left).ok
    assert stereo_pose(reference, current).ok


@pytest.mark.parametrize("disparity", [np.nan, -1.0, 4.0])
def test_matches_without_any_depth_are_too_few(disparity: float) -> None:
    """4 px is the disparity of infinity for this rig."""
    points = scene(np.random.default_rng(0))
    reference = StereoPoints(CAMERA.project(points), np.full(150, disparity))
    pose = stereo_pose(reference, observed(transform_points(invert(FORWARD), points)))
    assert_not_found(pose, PoseStatus.FEW_MATCHES, 150)
    assert "0 matches with depth" in pose.reason


def test_mono_without_any_motion_is_degenerate() -> None:
    pixels = CAMERA.project(scene(np.random.default_rng(0)))
    assert_not_found(mono_pose(pixels, pixels), PoseStatus.DEGENERATE, 150)


@pytest.mark.parametrize("sigma", [0.0, 0.2])
@pytest.mark.parametrize("turn", [[0.0, 0.1, 0.0], [0.05, -0.2, 0.02], [0.0, 0.0, 0.4]])
def test_mono_turn_on_the_spot_is_degenerate(turn: list[float], sigma: float) -> None:
    rng = np.random.default_rng(0)
    points = scene(rng)
    moved = transform_points(invert(se3(rotation_from_vector(np.array(turn)), np.zeros(3))), points)
    pixels = [CAMERA.project(view) + rng.normal(0.0, sigma, (150, 2)) for view in (points, moved)]
    pose = mono_pose(pixels[0], pixels[1])
    assert_not_found(pose, PoseStatus.DEGENERATE, 150)
    assert "px parallax" in pose.reason


def test_stereo_turn_on_the_spot_is_found() -> None:
    truth = se3(rotation_from_vector(np.array([0.0, 0.1, 0.0])), np.zeros(3))
    points = scene(np.random.default_rng(0))
    T, _ = found(stereo_pose(observed(points), observed(transform_points(invert(truth), points))))
    assert np.allclose(T, truth, atol=1e-8)


def test_all_matches_at_one_pixel_are_degenerate() -> None:
    points = np.tile([[1.0, 0.5, 10.0]], (50, 1))
    reference, current = observed(points), observed(transform_points(invert(FORWARD), points))
    assert_not_found(mono_pose(reference.left, current.left), PoseStatus.DEGENERATE, 50)
    pose = stereo_pose(reference, current)
    assert pose.status in (PoseStatus.DEGENERATE, PoseStatus.FEW_INLIERS)
    assert_not_found(pose, pose.status, 50)


def test_stereo_points_on_one_line_are_refused() -> None:
    """A turn about the line stays unseen."""
    along = np.linspace(0.0, 1.0, 50)[:, None]
    points = np.array([[-2.0, 0.5, 8.0]]) + along * np.array([[5.0, 0.3, 6.0]])
    pose = stereo_pose(observed(points), observed(transform_points(invert(FORWARD), points)))
    assert pose.status in (PoseStatus.DEGENERATE, PoseStatus.FEW_INLIERS)
    assert_not_found(pose, pose.status, 50)


def test_mono_points_on_one_line_give_no_false_certainty() -> None:
    along = np.linspace(0.0, 1.0, 50)[:, None]
    points = np.array([[-2.0, 0.5, 8.0]]) + along * np.array([[5.0, 0.3, 6.0]])
    pose = mono_pose(CAMERA.project(points), CAMERA.project(transform_points(invert(FORWARD), points)))
    assert_not_found(pose, pose.status, 50)


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_turn_a_line_of_points_into_a_pose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    along = np.linspace(0.0, 1.0, 50)[:, None]
    points = np.array([[-2.0, 0.5, 8.0]]) + along * np.array([[5.0, 0.3, 6.0]])
    moved = transform_points(invert(FORWARD), points)
    stereo = stereo_pose(observed(points, 0.0, rng, 0.05), observed(moved, 0.0, rng, 0.05))
    assert_not_found(stereo, stereo.status, 50)
    mono = mono_pose(CAMERA.project(points) + rng.normal(0, 0.3, (50, 2)), CAMERA.project(moved))
    assert_not_found(mono, mono.status, 50)


@pytest.mark.parametrize("seed", range(3))
def test_random_matches_agree_on_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform([0.0, 0.0], [1225.0, 369.0], (2, 200, 2))
    assert_not_found(mono_pose(*pixels), PoseStatus.FEW_INLIERS, 200)
    disparity = rng.uniform(5.0, 90.0, (2, 200))
    pose = stereo_pose(StereoPoints(pixels[0], disparity[0]), StereoPoints(pixels[1], disparity[1]))
    assert_not_found(pose, PoseStatus.FEW_INLIERS, 200)
    assert "200 matches agree" in pose.reason


def test_a_share_of_inliers_below_the_configured_one_is_refused() -> None:
    rng = np.random.default_rng(0)
    points = scene(rng, 100)
    reference, current = observed(points), observed(transform_points(invert(FORWARD), points))
    garbage = np.where(np.arange(100)[:, None] < 50, rng.uniform(0.0, 369.0, (100, 2)), current.left)
    mixed = StereoPoints(garbage, current.disparity)
    assert stereo_pose(reference, mixed, PoseConfig(min_inlier_ratio=0.4)).ok
    pose = stereo_pose(reference, mixed, PoseConfig(min_inlier_ratio=0.7))
    assert_not_found(pose, PoseStatus.FEW_INLIERS, 100)


def test_triangulation_of_known_points() -> None:
    points = np.array([[0.0, 0.0, 5.0], [2.0, -1.0, 10.0], [-3.0, 1.0, 80.0]])
    assert np.allclose(triangulate(observed(points), RIG), points, rtol=1e-12, atol=1e-12)
    by_hand = triangulate(StereoPoints(np.array([[602.0, 183.0]]), np.array([700.0 * 0.54 / 5.0 + 4.0])), RIG)
    assert np.allclose(by_hand, [[0.0, 0.0, 5.0]], atol=1e-12)


def test_stereo_points_of_other_shapes_are_refused() -> None:
    with pytest.raises(DataError, match=r"need pixels \(M, 2\)"):
        StereoPoints(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(DataError, match=r"need covariances \(3, 3, 3\)"):
        StereoPoints(np.zeros((3, 2)), np.zeros(3), np.zeros((3, 2, 2)))


def test_covariance_of_a_stereo_point_by_hand() -> None:
    """x_right = x_left - disparity: it varies with both, and with y as x_left does."""
    left = np.array([[[4.0, 1.0], [1.0, 9.0]]])
    assert stereo_covariance(left, np.array([0.25])).tolist() == [[[4.0, 1.0, 4.0], [1.0, 9.0, 1.0], [4.0, 1.0, 4.25]]]


def drive(shift: float, pairs: int, sigma: float = 0.1) -> RightCentre:
    """What is known of the right centre after so many pairs whose right columns are all shifted."""
    known = RightCentre.unknown()
    for seed in range(pairs):
        rng = np.random.default_rng(seed)
        points = scene(rng, 300, farthest=30.0)
        reference = observed(points, shift, rng, sigma)
        current = observed(transform_points(invert(FORWARD), points), shift, rng, sigma)
        pose, posterior = estimate_stereo(reference, current, RIG, CONFIG, known)
        assert pose.ok
        known = known.updated(posterior)
    return known


@pytest.mark.parametrize("shift", [0.25, 0.0, -0.25])
def test_shift_of_the_right_centre_is_found_while_driving(shift: float) -> None:
    known = drive(shift, 15)
    assert known.shift_px == pytest.approx(shift, abs=0.05)
    assert 0.0 < known.variance_px2 < 0.05**2


@pytest.mark.parametrize("seed", range(5))
def test_far_points_that_come_to_lie_beyond_infinity_cost_no_pose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    far = scene(rng, 40)
    points = np.concatenate([scene(rng), far / far[:, 2:] * 5e4])
    before, now = (observed(each, 0.0, rng, 0.2) for each in (points, transform_points(invert(FORWARD), points)))
    pose, after = estimate_stereo(before, now, RIG, CONFIG, RightCentre(0.4, 0.3**2))
    assert pose.ok and pose.T_reference_current is not None
    np.testing.assert_allclose(pose.T_reference_current[:3, 3], FORWARD[:3, 3], atol=0.02)
    assert abs(after.shift_px) < 0.2
    beyond = triangulate(before, after.applied_to(RIG))[150:, 2]
    assert np.any(np.isnan(beyond)), "none of them does"


def test_a_certain_right_centre_stays_as_it_is() -> None:
    certain = RightCentre()
    for _ in range(3):
        certain = certain.updated(RightCentre(0.2, 1e-3))
    assert certain == RightCentre()


def test_right_centre_learns_nothing_from_a_pair_that_says_nothing() -> None:
    before = RightCentre.unknown()
    after = before.updated(before)
    assert after.shift_px == before.shift_px
    assert before.variance_px2 <= after.variance_px2 < 1.001 * before.variance_px2


def test_right_centre_is_left_as_it_is_where_no_pose_is_found() -> None:
    nothing = StereoPoints(np.zeros((0, 2)), np.zeros(0))
    known = RightCentre(0.1, 0.01)
    pose, after = estimate_stereo(nothing, nothing, RIG, CONFIG, known)
    assert not pose.ok and after == known


def test_right_centre_moves_the_right_camera_alone() -> None:
    moved = RightCentre(0.25, 0.01).applied_to(RIG)
    assert moved.right is not None and moved.right.cx == RIGHT.cx + 0.25
    assert (moved.left, moved.baseline_m) == (RIG.left, RIG.baseline_m)
