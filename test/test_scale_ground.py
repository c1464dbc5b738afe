"""Metres for one camera from its height over the ground: exact scenes, noise, walls, clutter, and real drives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.datatypes import Camera, PoseStatus, RefinedMatches, RelativePose
from subpx_ros.geometry import homogeneous, rotation_from_vector, se3, transform_points
from subpx_ros.scale.ground import FromHeight, GroundScale, ground_height, points_of_pair
from subpx_ros.scale.mono import MonoScale

Array = NDArray[np.float64]
CAMERA = Camera(707.0, 707.0, 602.0, 183.0, 1226, 370)
HEIGHT_M = 1.65
TENTH_NS = 100_000_000


def scene(
    seed: int,
    step_m: float = 0.8,
    noise_px: float = 0.0,
    ground: int = 200,
    others: int = 200,
    mount: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Pixels of the previous and the current frame (N, 2), and T_previous_current of unit length.

    `mount` (3, 3) turns the camera against the road, which the car drives along.
    """
    rng = np.random.default_rng(seed)
    turned = np.eye(3) if mount is None else mount
    motion = se3(turned.T @ rotation_from_vector(np.array([0.0, 0.02, 0.0])) @ turned, turned.T @ [0.01, 0.0, step_m])
    x, z = rng.uniform(-6.0, 6.0, ground), rng.uniform(6.0, 25.0, ground)
    floor = np.column_stack([x, np.full(ground, HEIGHT_M), z])
    above = np.column_stack(
        [
            rng.choice([-6.0, 6.0], others) + rng.normal(0, 0.5, others),
            rng.uniform(-4.0, 1.2, others),
            rng.uniform(5.0, 40.0, others),
        ]
    )
    points = np.concatenate([floor, above]) @ turned
    pixels1, pixels0 = CAMERA.project(points), CAMERA.project(transform_points(motion, points))
    noise = rng.normal(0.0, 1.0, (2, len(points), 2)) * noise_px
    unit = motion.copy()
    unit[:3, 3] /= np.linalg.norm(unit[:3, 3])
    return pixels0 + noise[0], pixels1 + noise[1], unit


def triangulated(pixels0: Array, pixels1: Array, T: Array) -> Array:
    return points_of_pair(homogeneous(CAMERA.normalise(pixels0)), homogeneous(CAMERA.normalise(pixels1)), T)


def height_of(pixels0: Array, pixels1: Array, T: Array) -> tuple[float, float] | None:
    return ground_height(triangulated(pixels0, pixels1, T), pixels1, T, CAMERA)


def test_points_of_a_pair_are_exact_and_behind_is_unknown() -> None:
    T = se3(rotation_from_vector(np.array([0.01, -0.03, 0.02])), np.array([0.2, -0.1, 1.0]))
    points = np.array([[1.0, 1.0, 8.0], [-3.0, -2.0, 30.0], [0.5, 0.2, 4.0]])
    before = transform_points(T, points)
    rays0, rays1 = before / before[:, 2:], points / points[:, 2:]
    np.testing.assert_allclose(points_of_pair(rays0, rays1, T), points, rtol=1e-9)
    backwards = se3(T[:3, :3], -T[:3, 3])
    assert np.isnan(points_of_pair(rays0, rays1, backwards)).all()


@pytest.mark.parametrize("mount", [(0.0, 0.0, 0.0), (0.08, 0.0, 0.0), (0.0, 0.1, 0.05)])
@pytest.mark.parametrize("step_m", [0.3, 0.8, 2.5])
def test_without_noise_the_height_is_exact(step_m: float, mount: tuple[float, float, float]) -> None:
    found = height_of(*scene(1, step_m, mount=rotation_from_vector(np.array(mount))))
    assert found is not None
    # 1 cm sideways belongs to the step.
    assert found[0] * np.hypot(step_m, 0.01) == pytest.approx(HEIGHT_M, rel=1e-6)


def test_noise_gives_the_deviation_that_is_said() -> None:
    errors, deviations = [], []
    for seed in range(60):
        found = height_of(*scene(seed, noise_px=0.3))
        assert found is not None
        errors.append(found[0] * np.hypot(0.8, 0.01) - HEIGHT_M)
        deviations.append(found[1] * 0.8)
    assert abs(np.mean(errors)) < 0.03
    assert 0.4 < np.std(errors) / np.median(deviations) < 2.0


def test_what_is_no_ground_gives_no_height() -> None:
    assert height_of(*scene(1, ground=0)) is None, "walls"
    assert height_of(*scene(1, ground=10, others=0)) is None, "too few"
    pixels0, pixels1, T = scene(1)
    assert ground_height(np.full((len(pixels0), 3), np.nan), pixels1, T, CAMERA) is None
    assert height_of(pixels0, pixels1, se3(T[:3, :3], np.zeros(3))) is None, "no motion"
    upwards = se3(np.eye(3), np.array([0.0, -1.0, 0.0]))
    assert height_of(pixels0, pixels1, upwards) is None


def test_a_platform_with_ground_below_it_is_not_the_ground() -> None:
    rng = np.random.default_rng(5)
    floors = [
        np.column_stack([rng.uniform(-5, 5, count), np.full(count, height), rng.uniform(6, 18, count)])
        for count, height in ((150, HEIGHT_M), (200, 0.9))
    ]
    points = np.concatenate(floors)
    T = se3(np.eye(3), np.array([0.0, 0.0, 0.8]))
    pixels1, pixels0 = CAMERA.project(points), CAMERA.project(transform_points(T, points))
    unit = se3(np.eye(3), np.array([0.0, 0.0, 1.0]))
    found = height_of(pixels0, pixels1, unit)
    assert found is None or found[0] * 0.8 == pytest.approx(HEIGHT_M, rel=0.01)


def test_mismatches_do_no_harm() -> None:
    pixels0, pixels1, T = scene(2, noise_px=0.2)
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(pixels0), 80, replace=False)
    pixels0[wrong] += rng.uniform(-20.0, 20.0, (80, 2))
    found = height_of(pixels0, pixels1, T)
    assert found is not None and found[0] * 0.8 == pytest.approx(HEIGHT_M, rel=0.03)


def test_the_scale_is_filtered_gated_bridged_and_given_up() -> None:
    scale = GroundScale(CAMERA, HEIGHT_M)

    def update(frame: tuple[Array, Array, Array]) -> float | None:
        found = scale.update(triangulated(*frame), frame[1], frame[2])
        return None if found is None else found.factor

    no_ground = scene(9, ground=0)
    assert update(no_ground) is None, "nothing known"
    for seed in range(20):
        factor = update(scene(seed, noise_px=0.3))
    assert factor == pytest.approx(0.8, rel=0.02)
    assert update(scene(30, step_m=2.5)) == pytest.approx(0.8, rel=0.02), "a jump is not believed"
    assert update(no_ground) == pytest.approx(0.8, rel=0.02), "bridged"
    for seed in range(5):
        factor = update(scene(seed, step_m=2.5))
    assert factor == pytest.approx(2.5, rel=0.02), "unless it stays"
    answers = [update(no_ground) for _ in range(60)]
    assert answers[5] is not None and answers[-1] is None
    scale.reset()
    assert update(no_ground) is None


def test_a_pose_gets_metres_and_a_larger_covariance() -> None:
    pixels0, pixels1, T = scene(3)
    matches = RefinedMatches(pixels0, pixels1, pixels0, pixels1, np.ones(len(pixels0), dtype=np.float32))
    along = T[:3, 3]
    flat = np.eye(6)
    flat[:3, :3] -= np.outer(along, along)
    pose = RelativePose(PoseStatus.OK, "", T, 1e-6 * flat, metric=False, inliers=np.ones(len(pixels0), dtype=bool))
    mono = MonoScale(FromHeight(CAMERA, HEIGHT_M))
    scaled = mono.metric(pose, matches, 0, TENTH_NS)
    assert scaled.metric and scaled.T_reference_current is not None and scaled.covariance is not None
    assert np.linalg.norm(scaled.T_reference_current[:3, 3]) == pytest.approx(0.8, rel=1e-3)
    np.testing.assert_allclose(scaled.T_reference_current[:3, :3], T[:3, :3])
    deviation = np.sqrt(along @ scaled.covariance[:3, :3] @ along)
    assert 0.05 < deviation / 0.8 < 0.15
    assert np.linalg.eigvalsh(scaled.covariance).min() > -1e-12
    lost = RelativePose(PoseStatus.LOST, "dark")
    assert mono.metric(lost, matches, 0, TENTH_NS) is lost
    assert not MonoScale(FromHeight(CAMERA, HEIGHT_M)).metric(pose, matches, TENTH_NS, TENTH_NS).metric


def test_without_ground_the_pose_says_so_and_a_rest_ends_what_is_known_of_the_speed() -> None:
    mono = MonoScale(FromHeight(CAMERA, HEIGHT_M))

    def related(frame: tuple[Array, Array, Array], tenths: int) -> RelativePose:
        pixels0, pixels1, T = frame
        matches = RefinedMatches(pixels0, pixels1, pixels0, pixels1, np.ones(len(pixels0), dtype=np.float32))
        pose = RelativePose(PoseStatus.OK, "", T, np.eye(6), inliers=np.ones(len(pixels0), dtype=bool))
        return mono.metric(pose, matches, tenths * TENTH_NS, (tenths + 1) * TENTH_NS)

    unscaled = related(scene(9, ground=0), 0)
    assert not unscaled.metric and unscaled.reason.endswith("no ground is seen, nor was lately")
    assert related(scene(1), 1).metric and related(scene(9, ground=0), 2).metric
    places = scene(1)[0]
    resting = RefinedMatches(places, places, places, places, np.ones(len(places), dtype=np.float32))
    for tenths in range(4, 18):
        mono.metric(RelativePose(PoseStatus.DEGENERATE, "no parallax"), resting, 3 * TENTH_NS, tenths * TENTH_NS)
    assert not related(scene(9, ground=0), 18).metric
