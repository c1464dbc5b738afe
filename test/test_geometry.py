"""Rigid motions and epipolar geometry against identities, hand-computed values and exact correspondences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import expm

from subpx_ros.geometry import (
    angle_between,
    essential_matrix,
    hat,
    homogeneous,
    invert,
    nearest_rotation,
    rotation_angle,
    rotation_from_vector,
    sampson_distance,
    se3,
    transform_points,
)

Array = NDArray[np.float64]

UNIT_CUBE = st.tuples(*[st.floats(-1.0, 1.0)] * 3)


def vectors(largest: float) -> st.SearchStrategy[Array]:
    return UNIT_CUBE.map(lambda values: largest * np.array(values))


AXES = vectors(1.0).filter(lambda vector: np.linalg.norm(vector) > 0.1).map(lambda v: v / np.linalg.norm(v))
ANGLES = st.one_of(
    st.floats(0.0, np.pi), st.sampled_from([0.0, 1e-12, 1e-9, 0.9e-8, 1.1e-8, 1e-7, 1e-4, np.pi - 1e-9, np.pi])
)


def test_se3_keeps_its_parts_and_maps_points_of_b_into_a() -> None:
    quarter_turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    T_a_b = se3(quarter_turn, np.array([10.0, 20.0, 30.0]))
    assert np.array_equal(T_a_b[3], [0, 0, 0, 1])
    assert np.allclose(transform_points(T_a_b, np.array([[1.0, 2.0, 3.0]])), [[8.0, 21.0, 33.0]], atol=1e-15)


@given(AXES, ANGLES, vectors(100.0))
def test_inverse_undoes_a_motion(axis: Array, angle: float, translation: Array) -> None:
    T_a_b = se3(rotation_from_vector(angle * axis), translation)
    assert np.allclose(T_a_b @ invert(T_a_b), np.eye(4), atol=1e-12)
    assert np.allclose(invert(T_a_b) @ T_a_b, np.eye(4), atol=1e-12)
    assert np.allclose(invert(invert(T_a_b)), T_a_b, atol=1e-12)


@given(AXES, ANGLES)
def test_rotation_from_vector_is_the_matrix_exponential(axis: Array, angle: float) -> None:
    rotation = rotation_from_vector(angle * axis)
    assert np.allclose(rotation, expm(hat(angle * axis)), atol=1e-13)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-13)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-13)


@given(AXES, ANGLES)
def test_rotation_angle_is_the_length_of_the_vector(axis: Array, angle: float) -> None:
    # Near a half turn the sine still tells the angle; the cosine alone would know it to 1e-8 only.
    assert rotation_angle(rotation_from_vector(angle * axis)) == pytest.approx(angle, rel=1e-7, abs=1e-14)


@pytest.mark.parametrize("angle", [1e-12, 1e-9, 1e-7])
def test_small_rotations_are_not_rounded_away(angle: float) -> None:
    rotation = rotation_from_vector(np.array([0.0, 0.0, angle]))
    assert rotation[1, 0] == pytest.approx(angle, rel=1e-12)
    assert rotation_angle(rotation) == pytest.approx(angle, rel=1e-9)


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), np.ones((1, 3)) / np.sqrt(3.0)]))
def test_half_turn_maps_the_axis_to_itself_and_all_across_it_to_the_opposite(axis: Array) -> None:
    rotation = rotation_from_vector(np.pi * axis)
    assert np.allclose(rotation, 2.0 * np.outer(axis, axis) - np.eye(3), atol=1e-15)
    assert rotation_angle(rotation) == pytest.approx(np.pi, abs=1e-12)


@given(vectors(5.0), vectors(5.0))
def test_hat_is_the_cross_product(a: Array, b: Array) -> None:
    assert np.allclose(hat(a) @ b, np.cross(a, b), atol=1e-13)


def test_hat_takes_many_vectors_at_once() -> None:
    many = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert hat(many).shape == (4, 5, 3, 3)
    assert np.array_equal(hat(many)[2, 3], hat(many[2, 3]))


@given(AXES, ANGLES, st.floats(0.1, 10.0))
def test_nearest_rotation_of_a_scaled_rotation_is_the_rotation(axis: Array, angle: float, scale: float) -> None:
    rotation = rotation_from_vector(angle * axis)
    assert np.allclose(nearest_rotation(scale * rotation), rotation, atol=1e-12)


def test_nearest_rotation_of_a_mirroring_matrix_is_no_mirror() -> None:
    nearest = nearest_rotation(np.diag([3.0, 2.0, -1.0]))
    assert np.allclose(nearest, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, np.pi / 2, np.pi - 1e-9, np.pi])
def test_angle_between(angle: float) -> None:
    a, b = np.array([2.0, 0.0, 0.0]), 0.5 * np.array([np.cos(angle), np.sin(angle), 0.0])
    assert angle_between(a, b) == pytest.approx(angle, abs=1e-15)


def views(T_0_1: Array, seed: int = 0, count: int = 50) -> tuple[Array, Array]:
    """Exact normalised coordinates (count, 2) of points that both cameras have in front of them."""
    rng = np.random.default_rng(seed)
    points0 = rng.uniform([-3.0, -3.0, 8.0], [3.0, 3.0, 20.0], (count, 3))
    points1 = transform_points(invert(T_0_1), points0)
    assert np.all(points1[:, 2] > 0.5)
    return points0[:, :2] / points0[:, 2:], points1[:, :2] / points1[:, 2:]


@given(vectors(0.3), vectors(2.0).filter(lambda vector: np.linalg.norm(vector) > 0.01))
def test_exact_correspondences_have_no_epipolar_residual(rotation: Array, translation: Array) -> None:
    T_0_1 = se3(rotation_from_vector(rotation), translation)
    x0, x1 = views(T_0_1)
    E = essential_matrix(T_0_1)
    assert np.max(np.abs(np.sum(homogeneous(x1) * (homogeneous(x0) @ E.T), axis=1))) < 1e-13
    assert np.max(np.abs(sampson_distance(E, x0, x1))) < 1e-13


def test_essential_matrix_knows_which_camera_moved() -> None:
    T_0_1 = se3(rotation_from_vector(np.array([0.1, -0.2, 0.05])), np.array([0.3, 0.1, 1.0]))
    x0, x1 = views(T_0_1)
    wrong_way_round = sampson_distance(essential_matrix(invert(T_0_1)), x0, x1)
    assert np.median(np.abs(wrong_way_round)) > 1e-2


def test_sampson_distance_of_a_sideways_motion_by_hand() -> None:
    # For a motion along x the epipolar lines are rows: x1' E x0 is, up to sign, y1 - y0, and both lines have a
    # gradient of length 1, so that the distance is |y1 - y0| / sqrt(2), half of the row difference for either view.
    E = essential_matrix(se3(np.eye(3), np.array([1.0, 0.0, 0.0])))
    distance = sampson_distance(E, np.array([[0.1, 0.2], [0.0, 0.0]]), np.array([[0.4, 0.26], [0.5, -0.03]]))
    assert np.allclose(np.abs(distance), [0.06 / np.sqrt(2.0), 0.03 / np.sqrt(2.0)], atol=1e-15)
    assert np.sign(distance[0]) == -np.sign(distance[1])


def test_sampson_distance_of_a_forward_motion_by_hand() -> None:
    # E = hat((0, 0, -1)) for a unit step forward: x1' E x0 = u1 v0 - v1 u0; here 0.3 * 0.1 - 0 * 0.2 = 0.03, and the
    # gradient is the length of (v0, -u0, -v1, u1) = (0.1, -0.2, 0, 0.3).
    E = essential_matrix(se3(np.eye(3), np.array([0.0, 0.0, 1.0])))
    distance = sampson_distance(E, np.array([[0.2, 0.1]]), np.array([[0.3, 0.0]]))
    assert abs(distance[0]) == pytest.approx(0.03 / np.sqrt(0.1**2 + 0.2**2 + 0.3**2), rel=1e-12)


def test_sampson_distance_is_the_distance_to_the_nearest_exact_correspondence_to_first_order() -> None:
    T_0_1 = se3(rotation_from_vector(np.array([0.02, -0.05, 0.01])), np.array([0.2, 0.1, 0.8]))
    x0, x1 = views(T_0_1)
    E = essential_matrix(T_0_1)
    lines1, lines0 = homogeneous(x0) @ E.T, homogeneous(x1) @ E
    normals = np.concatenate([lines0[:, :2], lines1[:, :2]], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for step in (1e-3, 1e-4, 1e-5):
        moved = np.concatenate([x0, x1], axis=1) + step * normals
        distance = sampson_distance(E, moved[:, :2], moved[:, 2:])
        assert np.max(np.abs(distance - step)) < 20.0 * step**2


def test_sampson_distance_at_both_epipoles_is_zero_and_finite() -> None:
    E = essential_matrix(se3(np.eye(3), np.array([0.0, 0.0, 1.0])))
    assert sampson_distance(E, np.zeros((1, 2)), np.zeros((1, 2))) == 0.0
