"""Whose motion a pose is: the camera's, or that of something large that moves by itself. Exact synthetic truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from subpx_ros.config import Config
from subpx_ros.consistency import WorldEstimator
from subpx_ros.datatypes import Array, Camera, PoseStatus, RelativePose, Rig
from subpx_ros.geometry import homogeneous, invert, rotation_angle, rotation_from_vector, se3, transform_points
from subpx_ros.motion_model import ExpectedMotion
from subpx_ros.rectification import RightCentre
from subpx_ros.settings import merge
from subpx_ros.triangulation import StereoPoints

CAMERA = Camera(700.0, 700.0, 602.0, 183.0, 1226, 370)
RIG = Rig(CAMERA, CAMERA, 0.54)
MOTION = se3(rotation_from_vector(np.array([0.0, 0.02, 0.0])), np.array([0.02, 0.0, 0.9]))
CONFIG = Config()
STILL = np.eye(4)
"""What a vehicle ahead at the same speed makes the camera believe."""
LIKELY = ExpectedMotion(
    se3(rotation_from_vector(np.array([0.001, 0.018, 0.0])), np.array([0.0, 0.01, 0.88])), 0.02**2 * np.eye(6)
)


def observed(points: Array, rng: np.random.Generator) -> StereoPoints:
    pixels = CAMERA.project(points)
    disparity = CAMERA.fx * 0.54 / points[:, 2]
    return StereoPoints(pixels + rng.normal(0.0, 0.1, pixels.shape), disparity + rng.normal(0.0, 0.1, len(points)))


def pair(world: int, vehicle: int, T_vehicle: Array = STILL, seed: int = 0) -> tuple[StereoPoints, StereoPoints]:
    """Points of the street around the camera, and of a box 8 m ahead that moves as T_vehicle has it."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform([30.0, 30.0], [1196.0, 340.0], (world, 2))
    street = homogeneous(CAMERA.normalise(pixels)) * (1.0 / rng.uniform(1 / 40.0, 1 / 5.0, world))[:, None]
    box = rng.uniform([-2.0, -1.5, 8.0], [2.0, 1.5, 12.0], (vehicle, 3))
    before = np.concatenate([street, box])
    after = np.concatenate([transform_points(invert(MOTION), street), transform_points(invert(T_vehicle), box)])
    return observed(before, rng), observed(after, rng)


def estimate(
    points: tuple[StereoPoints, StereoPoints], expected: ExpectedMotion | None = LIKELY, config: Config = CONFIG
) -> tuple[RelativePose, bool]:
    pose, centre, doubtful = WorldEstimator(*points, RIG, config, RightCentre()).estimate(expected)
    assert isinstance(centre, RightCentre)
    return pose, doubtful


def assert_is(pose: RelativePose, truth: Array) -> None:
    assert pose.T_reference_current is not None
    apart = invert(truth) @ pose.T_reference_current
    assert np.linalg.norm(apart[:3, 3]) < 0.03 and np.rad2deg(rotation_angle(apart[:3, :3])) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_vehicle_with_most_of_the_matches_is_not_the_world(seed: int) -> None:
    points = pair(world=110, vehicle=220, seed=seed)
    assert_is(estimate(points, expected=None)[0], STILL)
    pose, doubtful = estimate(points)
    assert doubtful
    assert_is(pose, MOTION)
    assert pose.inliers[:110].mean() > 0.9 and pose.inliers[110:].mean() < 0.3


def test_several_vehicles_are_looked_behind() -> None:
    vague = ExpectedMotion(LIKELY.T_reference_current @ se3(np.eye(3), np.array([0.0, 0.0, 0.25])), 0.08**2 * np.eye(6))
    first, second = pair(90, 200), pair(0, 130, se3(np.eye(3), np.array([0.0, 0.0, 3.0])), seed=1)
    points = tuple(
        StereoPoints(np.concatenate([a.left, b.left]), np.concatenate([a.disparity, b.disparity]))
        for a, b in zip(first, second, strict=True)
    )
    pose, doubtful = estimate((points[0], points[1]), vague)
    assert doubtful
    assert_is(pose, MOTION)


def test_a_world_alone_is_not_doubted() -> None:
    pose, doubtful = estimate(pair(world=200, vehicle=0))
    assert not doubtful
    assert_is(pose, MOTION)


def test_an_unexpected_motion_of_everything_is_a_sudden_motion() -> None:
    pose, doubtful = estimate(pair(world=0, vehicle=250))
    assert not doubtful
    assert_is(pose, STILL)


def test_an_unexpected_motion_of_most_before_a_world_that_tells_nothing_is_no_pose_and_says_why() -> None:
    reference, current = pair(world=0, vehicle=250)
    shuffled = current.left.copy()
    shuffled[:70] = np.random.default_rng(0).permutation(shuffled[:70])
    pose, doubtful = estimate((reference, replace(current, left=shuffled)))
    assert doubtful and pose.status is PoseStatus.FEW_INLIERS and pose.T_reference_current is None
    assert "matches agree on a pose 0.88 m and 1 deg from the predicted one" in pose.reason
    assert not pose.inliers.any() and len(pose.inliers) == 250


def test_without_the_gate_the_most_matches_win() -> None:
    config = merge(CONFIG, {"odometry": {"motion_gate_sigmas": 0.0}})
    pose, doubtful = estimate(pair(world=110, vehicle=220), config=config)
    assert not doubtful
    assert_is(pose, STILL)


def test_braking_within_the_gate_is_believed() -> None:
    """A motion 5 standard deviations from the predicted one that all matches agree on."""
    surprised = ExpectedMotion(MOTION @ se3(np.eye(3), np.array([0.0, 0.0, 0.1])), 0.02**2 * np.eye(6))
    pose, doubtful = estimate(pair(world=200, vehicle=0), surprised)
    assert not doubtful
    assert_is(pose, MOTION)
