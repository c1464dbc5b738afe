"""Where the camera sits on the robot: poses and covariances by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from subpx_ros.errors import ConfigError
from subpx_ros.frames import base_from_optical, camera_path_from_odom, odom_from_camera_path
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.ros.frames import covariance_to_base, velocity_to_base
from subpx_ros.velocity import Velocity


def test_camera_at_the_base_looks_along_x() -> None:
    expected = np.array([[0, 0, 1, 0.5], [-1, 0, 0, -0.25], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    np.testing.assert_allclose(base_from_optical("0.5 -0.25 1.5 0 0 0"), expected, atol=1e-15)


def test_angles_turn_about_fixed_axes_in_the_order_of_urdf() -> None:
    # Yaw by a quarter: the camera looks along y of the base. Then the same after a roll of a quarter about x.
    yawed = base_from_optical(f"0 0 0 0 0 {np.pi / 2}")
    np.testing.assert_allclose(yawed[:3, 2], [0, 1, 0], atol=1e-15)
    rolled = base_from_optical(f"0 0 0 {np.pi / 2} 0 {np.pi / 2}")
    np.testing.assert_allclose(rolled[:3, 2], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(rolled[:3, 1], [-1, 0, 0], atol=1e-15)


def test_forward_in_optical_axes_is_forward_in_robot_axes() -> None:
    moved = odom_from_camera_path(se3(np.eye(3), np.array([0.1, 0.2, 3.0])), base_from_optical("0 0 0 0 0 0"))
    np.testing.assert_allclose(moved[:3, 3], [3.0, -0.1, -0.2], atol=1e-15)


def test_robot_that_turns_left_in_place_swings_its_camera() -> None:
    # The camera sits 1 m ahead of the base. Left by a quarter: it goes 1 m back and 1 m to the left, and its z axis
    # points to where -x of the first camera was.
    T_base_optical = base_from_optical("1 0 0 0 0 0")
    T_odom_camera = se3(rotation_from_vector(np.array([0.0, -np.pi / 2, 0.0])), np.array([-1.0, 0.0, -1.0]))
    base = odom_from_camera_path(T_odom_camera, T_base_optical)
    np.testing.assert_allclose(base[:3, 3], 0.0, atol=1e-15)
    np.testing.assert_allclose(base[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    np.testing.assert_allclose(camera_path_from_odom(base, T_base_optical), T_odom_camera, atol=1e-15)


def test_covariance_axes_follow_the_pose() -> None:
    covariance = np.diag([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    T_base_optical = base_from_optical("0 0 0 0 0 0")
    moved = covariance_to_base(covariance, np.eye(4), T_base_optical)
    np.testing.assert_allclose(moved, np.diag([3.0, 1.0, 2.0, 0.3, 0.1, 0.2]), atol=1e-15)


def test_covariance_equals_that_of_simulated_errors() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(6, 6)) * 1e-3
    covariance = root @ root.T
    T_base_optical = base_from_optical("0.8 0.3 1.2 0.1 -0.2 0.7")
    T_odom_camera = se3(rotation_from_vector(np.array([0.3, -0.8, 0.2])), np.array([2.0, -1.0, 5.0]))
    T_odom_base = odom_from_camera_path(T_odom_camera, T_base_optical)
    errors = []
    for error in rng.multivariate_normal(np.zeros(6), covariance, size=4000):
        disturbed = T_odom_camera.copy()
        disturbed[:3, :3] = rotation_from_vector(error[3:]) @ disturbed[:3, :3]
        disturbed[:3, 3] += error[:3]
        base = odom_from_camera_path(disturbed, T_base_optical)
        turned = base[:3, :3] @ T_odom_base[:3, :3].T
        vector = 0.5 * np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]])
        errors.append(np.concatenate([base[:3, 3] - T_odom_base[:3, 3], vector]))
    simulated = np.cov(np.array(errors).T)
    moved = covariance_to_base(covariance, T_odom_base, T_base_optical)
    scale = np.sqrt(np.outer(np.diag(moved), np.diag(moved)))
    np.testing.assert_allclose(simulated / scale, moved / scale, atol=0.08)


@pytest.mark.parametrize("text", ["", "1 2 3", "0 0 0 0 0 nan", "0 0 0 0 0 x", "0 0 0 0 0 0 0"])
def test_a_camera_pose_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="six finite numbers"):
        base_from_optical(text)


def test_a_camera_off_the_centre_of_a_turn_moves_sideways() -> None:
    """The base turns left at 0.5 rad/s on the spot; the camera sits 2 m ahead and so moves left at 1 m/s."""
    T_base_optical = base_from_optical("2 0 0 0 0 0")
    twist = np.array([-1.0, 0.0, 0.0, 0.0, -0.5, 0.0])
    velocity = velocity_to_base(Velocity(twist, np.eye(6)), T_base_optical)
    np.testing.assert_allclose(velocity.twist, [0, 0, 0, 0, 0, 0.5], atol=1e-12)
    # Rates that are uncertain by 1 rad/s are so by 2 m/s at the base: about y it moves along z, about z along y.
    np.testing.assert_allclose(np.diag(velocity.covariance), [1, 5, 5, 1, 1, 1], atol=1e-12)
    assert velocity.covariance[1, 5] == pytest.approx(-2.0) and velocity.covariance[2, 4] == pytest.approx(2.0)
