"""Training pairs: exact transfer by homography, depth and street views, and records that cannot be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subpx_ros.datatypes import Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert, rotation_from_vector, sampson_distance, se3
from subpx_ros.training.config import StreetSourceConfig
from subpx_ros.training.pairs import TrainingPair, transfer
from subpx_ros.training.sources.street import StreetSource

CAMERA = Camera(50.0, 60.0, 19.5, 14.5, 40, 30)
T_0_1 = se3(np.eye(3), np.array([0.2, 0.0, 0.0]))


def pair(**fields: Any) -> TrainingPair:
    image = np.zeros((30, 40), dtype=np.uint8)
    given: dict[str, Any] = {"name": "test", "image0": image, "image1": image, "camera0": CAMERA, "camera1": CAMERA}
    return TrainingPair(**(given | fields))


def test_a_homography_moves_pixels_as_computed_by_hand() -> None:
    homography = np.array([[2.0, 0.0, 1.0], [0.0, 1.0, -3.0], [0.0, 0.0, 2.0]])
    pixels1, valid = transfer(pair(homography=homography), np.array([[10.0, 9.0], [10.5, 5.0], [39.0, 2.0]]))
    assert np.allclose(pixels1, [[10.5, 3.0], [11.0, 1.0], [39.5, -0.5]])
    assert valid.tolist() == [True, True, False], "the last lies outside of image 1"


def test_a_homography_of_negative_sign_is_the_same() -> None:
    homography = -np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pixels1, valid = transfer(pair(homography=homography), np.array([[3.0, 4.0]]))
    assert np.allclose(pixels1, [[5.0, 4.0]])
    assert valid.all()


def test_points_behind_the_second_camera_are_not_valid() -> None:
    horizon = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.1, 2.0]])  # beyond row 20 it turns over
    _, valid = transfer(pair(homography=horizon), np.array([[5.0, 5.0], [5.0, 25.0]]))
    assert valid.tolist() == [True, False]


def test_depth_moves_pixels_by_the_disparity() -> None:
    depth = np.full((30, 40), 2.0, dtype=np.float32)
    pixels1, valid = transfer(pair(T_0_1=T_0_1, depth0=depth), np.array([[20.25, 10.5], [4.0, 10.0]]))
    assert np.allclose(pixels1, [[15.25, 10.5], [-1.0, 10.0]]), "fx * baseline / z = 5 px"
    assert valid.tolist() == [True, False]


def test_depth_of_a_slanted_plane_is_exact_between_pixels() -> None:
    normal, distance = np.array([0.3, -0.2, 1.0]), 2.5
    y, x = np.mgrid[0:30, 0:40]
    rays = np.concatenate([CAMERA.normalise(np.stack([x.ravel(), y.ravel()], axis=1)), np.ones((1200, 1))], axis=1)
    depth = (distance / (rays @ normal)).reshape(30, 40).astype(np.float32)
    T = se3(rotation_from_vector(np.array([0.02, -0.03, 0.05])), np.array([0.1, -0.05, 0.2]))
    pixels0 = np.random.default_rng(0).uniform([10, 8], [30, 22], (200, 2))
    pixels1, valid = transfer(pair(T_0_1=T, depth0=depth), pixels0)
    T_1_0 = invert(T)
    plane = CAMERA.matrix @ (T_1_0[:3, :3] + np.outer(T_1_0[:3, 3], normal) / distance) @ np.linalg.inv(CAMERA.matrix)
    expected = np.concatenate([pixels0, np.ones((200, 1))], axis=1) @ plane.T
    assert valid.mean() > 0.5
    assert np.abs(pixels1 - expected[:, :2] / expected[:, 2:]).max() < 1e-4


def test_unknown_depth_and_steps_in_depth_give_no_position() -> None:
    depth = np.full((30, 40), 2.0, dtype=np.float32)
    depth[:, 20:] = 4.0
    depth[5, 5] = 0.0
    pixels1, valid = transfer(pair(T_0_1=T_0_1, depth0=depth), np.array([[19.5, 10.0], [5.5, 5.0], [30.0, 10.0]]))
    assert np.isnan(pixels1[:2]).all()
    assert valid.tolist() == [False, False, True]


def test_what_is_hidden_in_the_second_view_is_not_valid() -> None:
    far, near = np.full((30, 40), 4.0, dtype=np.float32), np.full((30, 40), 1.0, dtype=np.float32)
    pixels = np.array([[20.0, 10.0]])
    assert transfer(pair(T_0_1=T_0_1, depth0=far, depth1=far), pixels)[1].all()
    assert not transfer(pair(T_0_1=T_0_1, depth0=far, depth1=near), pixels)[1].any()


def test_without_geometry_there_is_no_position() -> None:
    pixels1, valid = transfer(pair(T_0_1=T_0_1), np.array([[1.0, 2.0]]))
    assert np.isnan(pixels1).all()
    assert not valid.any()


def test_the_street_obeys_its_own_epipolar_geometry() -> None:
    source = StreetSource(StreetSourceConfig(pairs=2, scale=0.3, length_m=50.0, stereo=0.5))
    for index in range(2):
        made = source.pair(index)
        pixels0 = np.random.default_rng(index).uniform([5, 5], [360, 105], (400, 2))
        pixels1, valid = transfer(made, pixels0)
        assert valid.mean() > 0.2
        assert made.essential is not None
        rays = made.camera0.normalise(pixels0[valid]), made.camera1.normalise(pixels1[valid])
        assert np.abs(sampson_distance(made.essential, *rays)).max() * made.camera0.fx < 1e-3


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "relative pose or a homography"),
        ({"T_0_1": np.eye(3)}, "4x4"),
        ({"homography": np.full((3, 3), np.nan)}, "3x3"),
        ({"T_0_1": T_0_1, "depth0": np.ones((3, 4), dtype=np.float32)}, "its image's size"),
        ({"T_0_1": T_0_1, "image1": np.zeros((30, 41), dtype=np.uint8)}, "40x30"),
        ({"T_0_1": T_0_1, "image0": np.zeros((30, 40))}, "uint8"),
    ],
)
def test_inconsistent_pairs_are_refused(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what):
        pair(**fields)


def test_a_pose_without_translation_has_no_epipolar_geometry() -> None:
    assert pair(T_0_1=np.eye(4)).essential is None
