"""Rigid motions, projection, triangulation and epipolar distances, on numpy float64."""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array

_SMALL_ANGLE = 1e-4
"""Radians."""


def se3(rotation: Array, translation: Array) -> Array:
    """T (4, 4) from R (3, 3) and t (3,)."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert(T_a_b: Array) -> Array:
    """T_b_a (4, 4)."""
    rotation = T_a_b[:3, :3].T
    return se3(rotation, -rotation @ T_a_b[:3, 3])


def hat(vectors: Array) -> Array:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(vectors, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def rotation_from_vector(vector: Array) -> Array:
    """Exponential map of SO(3) (Rodrigues): rotation vector (3,) in radians to R (3, 3)."""
    vector = np.asarray(vector, dtype=np.float64)
    angle_squared = float(vector @ vector)
    if angle_squared < 1e-16:
        sine_over_angle, one_minus_cosine = 1.0 - angle_squared / 6.0, 0.5 - angle_squared / 24.0
    else:
        angle = np.sqrt(angle_squared)
        sine_over_angle, one_minus_cosine = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle_squared
    cross = hat(vector)
    return np.eye(3) + sine_over_angle * cross + one_minus_cosine * cross @ cross


def vector_from_rotation(rotation: Array) -> Array:
    """Logarithm of SO(3): R (3, 3) of less than half a turn to its rotation vector (3,) in radians."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    angle = rotation_angle(rotation)
    # sin(angle) / angle loses its digits near zero, where two terms of its series do better.
    return np.asarray(axis * (0.5 + angle**2 / 12.0 if angle < _SMALL_ANGLE else 0.5 * angle / np.sin(angle)))


def logarithm(T_a_b: Array) -> Array:
    """Logarithm of SE(3): the twist (6,), linear then angular, that moves a into b in one unit of time, in b's axes.

    Barfoot, State Estimation for Robotics, 2nd edition, section 8.1.3; the rotation must be less than half a turn.
    """
    vector = vector_from_rotation(T_a_b[:3, :3])
    angle = float(np.linalg.norm(vector))
    half = 0.5 * angle
    quadratic = 1.0 / 12.0 if angle < _SMALL_ANGLE else (1.0 - half / np.tan(half)) / angle**2
    cross = hat(vector)
    linear = (np.eye(3) - 0.5 * cross + quadratic * cross @ cross) @ T_a_b[:3, 3]
    return np.concatenate([linear, vector])


def exponential(twist: Array) -> Array:
    """Exponential map of SE(3): the motion (4, 4) of a twist (6,), linear then angular, in one unit of time; of any angle.

    Barfoot, State Estimation for Robotics, 2nd edition, section 8.1.3.
    """
    angle = float(np.linalg.norm(twist[3:]))
    cross = hat(twist[3:])
    if angle < _SMALL_ANGLE:
        first, second = 0.5 - angle**2 / 24.0, 1.0 / 6.0 - angle**2 / 120.0
    else:
        first, second = (1.0 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    left_jacobian = np.eye(3) + first * cross + second * cross @ cross
    return se3(rotation_from_vector(twist[3:]), left_jacobian @ twist[:3])


def rotation_angle(rotation: Array) -> float:
    """Angle in radians of R (3, 3), exact for small angles too."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    return float(np.arctan2(0.5 * np.linalg.norm(axis), 0.5 * (np.trace(rotation) - 1.0)))


def interpolate(start: Array, end: Array, share: float) -> Array:
    """T (4, 4) at `share` of the way, beyond its ends too: along a line, turning at constant speed about one axis."""
    turn = vector_from_rotation(start[:3, :3].T @ end[:3, :3])
    rotation = start[:3, :3] @ rotation_from_vector(share * turn)
    return se3(rotation, (1.0 - share) * start[:3, 3] + share * end[:3, 3])


def nearest_rotation(matrix: Array) -> Array:
    """The rotation (3, 3) closest to a matrix in the Frobenius norm."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def angle_between(a: Array, b: Array) -> float:
    """Angle in radians between two vectors (3,)."""
    return float(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def homogeneous(points: Array) -> Array:
    """(N, d) to (N, d + 1)."""
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def transform_points(T_a_b: Array, points_b: Array) -> Array:
    """Points (N, 3) of frame b in frame a."""
    return points_b @ T_a_b[:3, :3].T + T_a_b[:3, 3]


def essential_matrix(T_0_1: Array) -> Array:
    """E (3, 3) with x1' E x0 = 0 for normalised homogeneous x0, x1; T_0_1 maps points of camera 1 into camera 0."""
    T_1_0 = invert(T_0_1)
    return hat(T_1_0[:3, 3]) @ T_1_0[:3, :3]


def sampson_distance(E: Array, x0: Array, x1: Array) -> Array:
    """Signed Sampson distance (N,), same unit as x0 and x1 (N, 2). Hartley and Zisserman, 2nd edition, eq. 11.9."""
    h0, h1 = homogeneous(x0), homogeneous(x1)
    line1, line0 = h0 @ E.T, h1 @ E
    gradient = np.sqrt(line1[:, 0] ** 2 + line1[:, 1] ** 2 + line0[:, 0] ** 2 + line0[:, 1] ** 2)
    algebraic = np.sum(h1 * line1, axis=1)
    return np.divide(algebraic, gradient, out=np.zeros_like(algebraic), where=gradient > 0)
