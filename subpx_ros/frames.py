"""Axis conventions of ROS (REP-103, REP-105) against camera optical frames, and unit quaternions in ROS order."""

from __future__ import annotations

import math

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError
from subpx_ros.geometry import invert, se3

T_BODY_OPTICAL: Array = se3(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
"""Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up), at one origin."""


def odom_from_camera_path(T_first_camera: Array, T_base_camera: Array = T_BODY_OPTICAL) -> Array:
    """T_odom_base (..., 4, 4) from camera poses (..., 4, 4); odom is where the base was at the first frame."""
    poses: Array = T_base_camera @ T_first_camera @ invert(T_base_camera)
    return poses


def camera_path_from_odom(T_odom_base: Array, T_base_camera: Array = T_BODY_OPTICAL) -> Array:
    """The inverse of `odom_from_camera_path`."""
    poses: Array = invert(T_base_camera) @ T_odom_base @ T_base_camera
    return poses


def base_from_optical(camera_in_base: str) -> Array:
    """T_base_optical (4, 4) from 'x y z roll pitch yaw', the camera's body axes in the base frame, m and rad.

    Rotations are about the fixed axes x, y, z in this order, as in URDF. Raises ConfigError unless it is six finite
    numbers.
    """
    try:
        values = [float(word) for word in camera_in_base.split()]
    except ValueError:
        values = []
    if len(values) != 6 or not all(math.isfinite(value) for value in values):
        raise ConfigError(
            f"setting 'camera_in_base' takes six finite numbers 'x y z roll pitch yaw' (m, rad); got {camera_in_base!r}"
        )
    T_base_body = se3(_from_roll_pitch_yaw(*values[3:]), np.array(values[:3]))
    T_base_optical: Array = T_base_body @ T_BODY_OPTICAL
    return T_base_optical


def _from_roll_pitch_yaw(roll: float, pitch: float, yaw: float) -> Array:
    sines, cosines = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cosines[0], -sines[0]], [0, sines[0], cosines[0]]])
    about_y = np.array([[cosines[1], 0, sines[1]], [0, 1, 0], [-sines[1], 0, cosines[1]]])
    about_z = np.array([[cosines[2], -sines[2], 0], [sines[2], cosines[2], 0], [0, 0, 1]])
    rotation: Array = about_z @ about_y @ about_x
    return rotation


def quaternion_from_rotation(rotation: Array) -> Array:
    """Unit quaternion (x, y, z, w), w >= 0, of R (3, 3).

    Divides by the largest of the four components, so that it is exact for every rotation, half turns included.
    """
    r = np.asarray(rotation, dtype=np.float64)
    trace = float(np.trace(r))
    largest = int(np.argmax([r[0, 0], r[1, 1], r[2, 2], trace]))
    quaternion = np.empty(4)
    if largest == 3:
        quaternion[:] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1.0 + trace
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        quaternion[i] = 1.0 + 2.0 * r[i, i] - trace
        quaternion[j] = r[j, i] + r[i, j]
        quaternion[k] = r[k, i] + r[i, k]
        quaternion[3] = r[k, j] - r[j, k]
    quaternion /= np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0 else -quaternion


def rotation_from_quaternion(quaternion: Array) -> Array:
    """R (3, 3) of a non-zero quaternion (x, y, z, w), which is normalised first."""
    x, y, z, w = np.asarray(quaternion, dtype=np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )
