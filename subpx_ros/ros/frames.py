"""Where the camera sits on the robot, and what that does to covariances. Poses change basis in subpx_ros.frames.

Camera poses inside the package are `T_odom_camera` in optical axes, with the first camera as the odometry frame. ROS
gets `T_odom_base` in robot axes, with the robot at its first frame as the odometry frame (REP-105). With
X = T_base_optical, fixed on the robot, T_odom_base = X T_odom_camera X^-1.
"""

from __future__ import annotations

import math

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError
from subpx_ros.frames import T_BODY_OPTICAL
from subpx_ros.geometry import hat, se3
from subpx_ros.velocity import Velocity


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


def covariance_to_base(covariance: Array, T_odom_base: Array, T_base_optical: Array) -> Array:
    """Covariance (6, 6) of T_odom_base from that of T_odom_camera.

    Both in the order (x, y, z, rotation about x, y, z), m^2 and rad^2, in the axes of their odometry frame, as
    geometry_msgs/PoseWithCovariance defines them. A rotation error also moves the base, which sits at the end of a
    lever from the camera: with A the rotation of X and r the vector from base to camera in odometry axes,
    d_base = A d_camera + r x (A rotation error).
    """
    rotation = T_base_optical[:3, :3]
    lever = T_odom_base[:3, :3] @ T_base_optical[:3, 3]
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = jacobian[3:, 3:] = rotation
    jacobian[:3, 3:] = hat(lever) @ rotation
    moved: Array = jacobian @ covariance @ jacobian.T
    symmetric: Array = 0.5 * (moved + moved.T)
    return symmetric


def velocity_to_base(velocity: Velocity, T_base_optical: Array) -> Velocity:
    """The velocity of the base in its own axes from that of the camera in its own: the adjoint of T_base_optical."""
    rotation = T_base_optical[:3, :3]
    adjoint = np.kron(np.eye(2), rotation)
    adjoint[:3, 3:] = hat(T_base_optical[:3, 3]) @ rotation
    covariance = adjoint @ velocity.covariance @ adjoint.T
    return Velocity(adjoint @ velocity.twist, 0.5 * (covariance + covariance.T))
