"""The window's solver on points and poses that are known exactly, without images."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.datatypes import Camera, Rig
from subpx_ros.geometry import homogeneous, invert, rotation_from_vector, se3, transform_points, vector_from_rotation
from subpx_ros.window.bundle import Bundle, Points, Sightings, WindowCamera, information_root
from subpx_ros.window.choice import spread_over_image
from subpx_ros.window.normal import linearise, normal_equations, retract
from subpx_ros.window.prior import Prior, without_frame
from subpx_ros.window.solver import Solution, marginalised, solve

Array = NDArray[np.float64]

CAMERA = Camera(700.0, 705.0, 600.0, 180.0, 1200, 370)
RIG = Rig(CAMERA, CAMERA, 0.54)
WINDOW_CAMERA = WindowCamera.of(RIG)
FIRST = np.array([1e-6, 1e-6, 1e-6, 1e-7, 1e-7, 1e-7])
FRAMES, COUNT = 5, 240


def scene(seed: int, noise: float) -> tuple[Bundle, Array]:
    """A drive past COUNT points, anchored in the first three frames; and the true poses."""
    rng = np.random.default_rng(seed)
    poses = np.array(
        [
            se3(rotation_from_vector(k * np.array([0.002, 0.02, -0.003])), k * np.array([0.1, -0.02, 1.0]))
            for k in range(FRAMES)
        ]
    )
    anchor = np.sort(rng.integers(0, 3, COUNT))
    pixels = rng.uniform([100.0, 40.0], [1100.0, 330.0], (COUNT, 2))
    rays, depth = homogeneous(CAMERA.normalise(pixels)), rng.uniform(8.0, 60.0, COUNT)
    focal_baseline = WINDOW_CAMERA.focal_baseline
    points = Points(
        anchor,
        np.arange(COUNT),
        rays,
        1.0 / depth,
        focal_baseline / depth + noise * rng.normal(size=COUNT),
        np.full(COUNT, 1.0 / max(noise, 0.1)),
        np.zeros((COUNT, 2)),
        np.full(COUNT, np.inf),
    )
    parts = []
    for frame in range(1, FRAMES):
        for first in range(min(frame, 3)):
            chosen = np.flatnonzero(anchor == first)
            seen = transform_points(invert(poses[frame]) @ poses[first], rays[chosen] * depth[chosen, None])
            left = CAMERA.project(seen) + noise * rng.normal(size=(len(chosen), 2))
            disparity = focal_baseline / seen[:, 2] + noise * rng.normal(size=len(chosen))
            root = information_root(np.tile(max(noise, 0.1) ** 2 * np.eye(2), (len(chosen), 1, 1)))
            weight = np.full(len(chosen), 1.0 / max(noise, 0.1))
            parts.append(Sightings(chosen, np.full(len(chosen), frame), left, root, disparity, weight))
    sightings = parts[0]
    for part in parts[1:]:
        sightings = sightings.extended(part)
    return Bundle(poses[:, :3, :3].copy(), poses[:, :3, 3].copy(), 0.0, points, sightings), poses


def shaken(bundle: Bundle, seed: int) -> None:
    """Move all but the first frame, and all points."""
    rng = np.random.default_rng(seed)
    step = np.concatenate([np.zeros(6), rng.normal(0.0, 0.01, 6 * (bundle.frames - 1))])
    retract(bundle, step, 0.0005 * rng.normal(size=len(bundle.points)), bundle.positions[-1].copy())


def solved(bundle: Bundle, prior: Prior | None = None) -> Solution:
    found = solve(bundle, WINDOW_CAMERA, prior or Prior.of_first_frame(bundle.pose(0), FIRST))
    assert found is not None
    return found


def test_residuals_are_zero_at_the_truth() -> None:
    bundle, _ = scene(0, 0.0)
    at = linearise(bundle, WINDOW_CAMERA, np.zeros(3))
    assert np.max(np.abs(at.residuals)) < 1e-7 and np.max(np.abs(at.anchor_residuals)) < 1e-7
    assert np.max(at.pixels) < 1e-8


def test_the_gradient_is_that_of_the_cost() -> None:
    """Against central differences, with the weights held."""
    bundle, _ = scene(1, 0.3)
    centre = np.array([0.3, -0.2, 1.0])
    at = linearise(bundle, WINDOW_CAMERA, centre)
    equations = normal_equations(at, bundle, WINDOW_CAMERA)
    size, count = 6 * FRAMES, len(bundle.points)
    raw = _raw(bundle, centre)
    weight = np.divide(at.residuals[:, 2], raw[0][:, 2])
    anchor_weight = np.divide(at.anchor_residuals, raw[1])
    assert np.all(weight > 0) and np.all(anchor_weight > 0)
    left_weight = np.linalg.norm(at.residuals[:, :2], axis=1) / np.linalg.norm(raw[0][:, :2], axis=1)

    def cost(step: Array, depth_steps: Array) -> float:
        moved = Bundle(
            bundle.rotations.copy(),
            bundle.positions.copy(),
            0.0,
            bundle.points.select(np.arange(count)),
            bundle.sightings,
        )
        retract(moved, step, depth_steps, centre)
        seen, anchored = _raw(moved, centre)
        left = left_weight[:, None] * seen[:, :2]
        return 0.5 * float(
            np.sum(left**2) + np.sum((weight * seen[:, 2]) ** 2) + np.sum((anchor_weight * anchored) ** 2)
        )

    width = 1e-6
    for index in range(size):
        step = width * np.eye(size)[index]
        difference = (cost(step, np.zeros(count)) - cost(-step, np.zeros(count))) / (2 * width)
        assert difference == pytest.approx(equations.gradient[index], rel=1e-4, abs=0.05)
    for index in (0, 100, 200):
        step = width * np.eye(count)[index]
        difference = (cost(np.zeros(size), step) - cost(np.zeros(size), -step)) / (2 * width)
        assert difference == pytest.approx(equations.depth_gradient[index], rel=1e-4, abs=0.05)


def _raw(bundle: Bundle, centre: Array) -> tuple[Array, Array]:
    """Pixels by which sightings (M, 3) and anchors (P,) miss, by plain projection."""
    points, seen = bundle.points, bundle.sightings
    depth = 1.0 / points.inverse_depth
    missed = np.empty((len(seen), 3))
    for row, (point, frame) in enumerate(zip(seen.point, seen.frame, strict=True)):
        T = invert(bundle.pose(int(frame))) @ bundle.pose(int(points.anchor[point]))
        x = transform_points(T, points.ray[point][None] * depth[point])
        missed[row, :2] = CAMERA.project(x)[0] - seen.left[row]
        missed[row, 2] = WINDOW_CAMERA.focal_baseline / x[0, 2] - seen.disparity[row]
    return missed, WINDOW_CAMERA.focal_baseline * points.inverse_depth - points.disparity


def test_exact_points_give_the_exact_poses() -> None:
    bundle, poses = scene(2, 0.0)
    shaken(bundle, 3)
    prior = Prior.of_first_frame(poses[0], FIRST)
    for _ in range(3):
        solved(bundle, prior)
    np.testing.assert_allclose(bundle.positions, poses[:, :3, 3], atol=1e-7)


def test_a_long_way_takes_more_than_one_step() -> None:
    bundle, poses = scene(2, 0.0)
    shaken(bundle, 3)
    solved(bundle)
    np.testing.assert_allclose(bundle.positions, poses[:, :3, 3], atol=1e-4)


def test_a_few_wild_sightings_hardly_matter() -> None:
    bundle, poses = scene(4, 0.1)
    bundle.sightings.left[::20] += [30.0, -12.0]
    shaken(bundle, 5)
    prior = Prior.of_first_frame(poses[0], FIRST)
    for _ in range(3):
        solved(bundle, prior)
    assert np.max(np.linalg.norm(bundle.positions - poses[:, :3, 3], axis=1)) < 0.01


def test_covariance_covers_the_error() -> None:
    """NEES over its dimension, 60 windows: its mean has a standard deviation of 0.075."""
    values = []
    for seed in range(60):
        bundle, poses = scene(100 + seed, 0.2)
        solved(bundle)
        solution = solved(bundle)
        turn = vector_from_rotation(bundle.rotations[-1] @ poses[-1, :3, :3].T)
        error = np.concatenate([bundle.positions[-1] - poses[-1, :3, 3], turn])
        values.append(error @ np.linalg.solve(solution.of_pose(bundle, FRAMES - 1), error) / 6.0)
    assert 0.75 < np.mean(values) < 1.3


def test_disparities_count_for_what_their_variances_say() -> None:
    """Beside pixels; not for what they scatter, which says nothing of what the disparities of a surface have in common."""
    deviations = []
    for weight in (1.0, 0.05):
        bundle, _ = scene(7, 0.2)
        bundle.points.disparity_root = weight * bundle.points.disparity_root
        bundle.sightings.disparity_root = weight * bundle.sightings.disparity_root
        deviations.append(np.sqrt(solved(bundle).of_pose(bundle, FRAMES - 1)[2, 2]))
    assert deviations[1] > 4.0 * deviations[0]


def without(bundle: Bundle, points: NDArray[np.bool_]) -> Bundle:
    """The bundle without some of its points, its poses its own."""
    rest = bundle.part(~points)
    return Bundle(rest.rotations.copy(), rest.positions.copy(), 0.0, rest.points, rest.sightings)


@pytest.mark.parametrize("given_up", ["points that ended", "the oldest frame"])
def test_what_is_given_up_is_remembered(given_up: str) -> None:
    """The rest, with the prior that is left, stays where it was, as sure as before."""
    bundle, poses = scene(6, 0.2)
    prior = Prior.of_first_frame(poses[0], FIRST)
    for _ in range(3):
        before = solved(bundle, prior)
    oldest = given_up == "the oldest frame"
    gone = bundle.points.anchor == 0 if oldest else np.arange(COUNT) % 2 == 0
    left = marginalised(bundle.part(gone), WINDOW_CAMERA, prior, before.at.variance)
    rest = without(bundle, gone)
    if oldest:
        left = without_frame(left, 0)
        rest.rotations, rest.positions = rest.rotations[1:], rest.positions[1:]
        rest.points.anchor, rest.sightings.frame = rest.points.anchor - 1, rest.sightings.frame - 1
    after = solved(rest, left)
    deviation = np.sqrt(np.diag(before.of_pose(bundle, FRAMES - 1))[:3])
    assert np.all(np.abs(rest.positions[-1] - bundle.positions[-1]) < 0.3 * deviation)
    again = np.sqrt(np.diag(after.of_pose(rest, rest.frames - 1))[:3])
    np.testing.assert_allclose(again, deviation, rtol=0.25)
    np.testing.assert_allclose(left.about(np.ones(3)).about(left.centre).matrix, left.matrix, rtol=1e-6, atol=1e-3)


def test_points_are_chosen_all_over_the_image_the_best_first() -> None:
    """A crowd in one corner, which is worth most, and a few points elsewhere."""
    rng = np.random.default_rng(9)
    crowd, few = rng.uniform(0.0, 70.0, (200, 2)), rng.uniform([100.0, 100.0], [1200.0, 370.0], (20, 2))
    pixels = np.concatenate([crowd, few])
    worth = np.concatenate([np.arange(100.0, 300.0), np.zeros(20)])
    chosen = spread_over_image(pixels, worth, 60)
    assert len(chosen) == 60 and np.all(np.diff(chosen) > 0)
    assert set(range(200, 220)) <= set(chosen), "every square has its share"
    assert set(chosen[chosen < 200]) == set(range(160, 200)), "of a square the best"
    assert np.array_equal(spread_over_image(pixels, worth, 500), np.arange(220))
    assert len(spread_over_image(pixels[:0], worth[:0], 5)) == 0 == len(spread_over_image(pixels, worth, 0))
