"""Where the camera sits on the robot, and what that does to covariances. Poses change basis in subpx_ros.frames.

Camera poses inside the package are `T_odom_camera` in optical axes, with the first camera as the odometry frame. ROS
gets `T_odom_base` in robot axes, with the robot at its first frame as the odometry frame (REP-105). With
X = T_base_optical, fixed on the robot, T_odom_base = X T_odom_camera X^-1.
"""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import hat
from subpx_ros.velocity import Velocity


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
