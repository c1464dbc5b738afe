"""Figures of the pair benchmarks against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from subpx_ros.datatypes import Camera
from subpx_ros.evaluation.pair_metrics import (
    corner_error,
    geometry_distance,
    localisation_error,
    mean_average_accuracy,
    transfer_errors,
)
from subpx_ros.evaluation.pairs.fundamental import fundamental_matrix
from subpx_ros.evaluation.pose_auc import area_under_curve
from subpx_ros.geometry import rotation_from_vector, se3

SIZE = (101, 51)
SHIFT = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -4.0], [0.0, 0.0, 1.0]])


def test_mean_average_accuracy_is_the_mean_recall_over_whole_degrees() -> None:
    # Below 1 deg: 1 of 4; below 2, 3: 2 of 4; below 4 to 10: 3 of 4; the lost one never.
    errors = [0.5, 1.5, 3.5, float("inf")]
    assert mean_average_accuracy(errors) == pytest.approx((1 + 2 + 2 + 7 * 3) / 4 / 10)
    assert mean_average_accuracy([]) == 0.0


def test_area_under_the_curve_of_corner_errors() -> None:
    # Recall rises from 0 to 1/2 at 1 px, stays until 3 px.
    assert area_under_curve([1.0, float("inf")], [3.0]) == pytest.approx([(0.25 + 1.0) / 3.0])


def test_transfer_errors_are_distances_in_the_second_image() -> None:
    points0 = np.array([[10.0, 20.0], [0.0, 0.0]])
    points1 = np.array([[13.0, 16.0], [0.0, 0.0]])
    assert np.allclose(transfer_errors(SHIFT, points0, points1), [0.0, 5.0])
    assert np.allclose(transfer_errors(-2.0 * SHIFT, points0, points1), [0.0, 5.0]), "whatever its scale and sign"
    assert transfer_errors(SHIFT, np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)


def test_points_behind_the_horizon_are_never_right() -> None:
    tilted = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.1, 0.0, 1.0]])
    points0 = np.array([[1.0, 0.0], [2.0, 0.0], [20.0, 0.0]])  # the horizon is at x = 10
    errors = transfer_errors(tilted, points0, np.array([[1.0 / 0.9, 0.0], [2.5, 0.0], [-20.0, 0.0]]))
    assert np.allclose(errors[:2], 0.0)
    assert np.isinf(errors[2])


def test_corner_error_is_the_mean_over_the_corners() -> None:
    assert corner_error(SHIFT, np.eye(3), SIZE) == pytest.approx(5.0)
    stretched = np.diag([1.01, 1.0, 1.0])  # moves the two right corners, at x = 100, by one pixel
    assert corner_error(stretched, np.eye(3), SIZE) == pytest.approx(0.5)
    assert corner_error(None, np.eye(3), SIZE) == float("inf")


def test_localisation_counts_the_correct_matches_only() -> None:
    assert localisation_error(np.array([0.5, 1.5, 3.0, 80.0, np.inf])) == pytest.approx(1.0)
    assert localisation_error(np.array([4.0])) is None


@pytest.fixture
def epipolar() -> tuple[np.ndarray, np.ndarray]:
    """F of a camera that moves sideways, and of one whose right image was shifted down by 2 rows."""
    camera = Camera(100.0, 100.0, 50.0, 25.0, *SIZE)
    truth = fundamental_matrix(se3(np.eye(3), np.array([1.0, 0.0, 0.0])), camera, camera)
    shift = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])
    return truth, np.linalg.inv(shift).T @ truth


def test_equal_geometries_have_no_distance(epipolar: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = epipolar
    assert geometry_distance(-3.0 * truth, truth, SIZE, SIZE) < 1e-12


def test_lines_two_rows_apart_are_two_rows_apart(epipolar: tuple[np.ndarray, np.ndarray]) -> None:
    truth, shifted = epipolar
    expected = 2.0 / np.hypot(*SIZE)
    assert geometry_distance(shifted, truth, SIZE, SIZE) == pytest.approx(expected, rel=1e-6)
    assert geometry_distance(truth, shifted, SIZE, SIZE) == pytest.approx(expected, rel=1e-6)


def test_a_geometry_of_another_motion_is_far() -> None:
    camera = Camera(100.0, 100.0, 50.0, 25.0, *SIZE)
    sideways, upwards = (
        fundamental_matrix(se3(np.eye(3), np.array(t)), camera, camera) for t in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    )
    assert 0.1 < geometry_distance(upwards, sideways, SIZE, SIZE) < 1.0
    assert geometry_distance(np.zeros((3, 3)), sideways, SIZE, SIZE) == 1.0


def test_the_fundamental_matrix_of_a_pose_relates_its_projections() -> None:
    rng = np.random.default_rng(0)
    camera0, camera1 = Camera(300.0, 310.0, 160.0, 120.0, 320, 240), Camera(250.0, 240.0, 150.0, 110.0, 320, 240)
    T_0_1 = se3(rotation_from_vector(np.array([0.1, -0.2, 0.05])), np.array([0.5, 0.1, -0.2]))
    points1 = rng.uniform([-1.0, -1.0, 3.0], [1.0, 1.0, 8.0], (50, 3))
    points0 = points1 @ T_0_1[:3, :3].T + T_0_1[:3, 3]
    x0 = np.column_stack([camera0.project(points0), np.ones(50)])
    x1 = np.column_stack([camera1.project(points1), np.ones(50)])
    F = fundamental_matrix(T_0_1, camera0, camera1)
    assert np.abs(np.sum(x1 * (x0 @ F.T), axis=1)).max() < 1e-9
