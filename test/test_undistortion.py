"""The rendered street through distorting lenses: rectified, it must be what an ideal camera sees, and give its poses."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from lenses import picture, rays_of
from numpy.typing import NDArray

from subpx_ros.config import load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import homogeneous, rotation_angle, rotation_from_vector, se3
from subpx_ros.odometry import VisualOdometry
from subpx_ros.undistortion import Lens, rectified

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
K = (226.0, 0.0, 163.0, 0.0, 227.0, 76.0, 0.0, 0.0, 1.0)
TURNED = tuple(rotation_from_vector(np.array([0.01, -0.015, 0.02])).ravel())
STRAIGHT = tuple(np.eye(3).ravel())
LENSES = {
    "plumb_bob": Lens(K, "plumb_bob", (-0.28, 0.09, 0.0008, -0.0005, -0.01), TURNED),
    "rational_polynomial": Lens(
        K, "rational_polynomial", (0.6, -0.2, 0.0004, 0.0003, -0.03, 0.85, -0.1, -0.05), TURNED
    ),
    "equidistant": Lens(K, "equidistant", (-0.02, 0.01, -0.006, 0.001), TURNED),
}
FRAMES = 3

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    rig = Rig(CAMERA, CAMERA, 0.5)
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=rig)


def grey(intensity: NDArray[np.float32]) -> Image:
    return np.asarray(np.rint(255.0 * np.clip(intensity, 0.0, 1.0)), dtype=np.uint8)


def keypoint_offsets(a: Image, b: Image) -> NDArray[np.floating]:
    """Displacement (N, 2) of the SIFT keypoints of `a` to those of the same place in `b`, less than 2 px away."""
    sift: Any = cv2.SIFT_create(nfeatures=600)  # type: ignore[attr-defined]
    (points0, descriptors0), (points1, descriptors1) = (sift.detectAndCompute(image, None) for image in (a, b))
    matches = cv2.BFMatcher(crossCheck=True).match(descriptors0, descriptors1)
    moved = np.array([np.subtract(points1[m.trainIdx].pt, points0[m.queryIdx].pt) for m in matches])
    return np.asarray(moved[np.linalg.norm(moved, axis=1) < 2.0])


@pytest.mark.parametrize("model", LENSES)
def test_rectified_pictures_are_those_of_an_ideal_camera(street: StreetSequence, model: str) -> None:
    lens, pose = LENSES[model], street.poses[1]
    ideal, seen = grey(street.view(1).image), grey(picture(street.street, pose, CAMERA, lens))
    before = np.abs(ideal.astype(int) - seen)[20:-20, 30:-30].mean()
    rectified_image = rectified(seen, lens, CAMERA)
    inside = np.abs(ideal.astype(int) - rectified_image)[20:-20, 30:-30]
    assert inside.mean() < 0.2 * before and inside.mean() < 4.0
    offsets = keypoint_offsets(ideal, rectified_image)
    assert len(offsets) > 150
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.03
    assert np.median(np.linalg.norm(offsets, axis=1)) < 0.2


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_stereo_odometry_of_rectified_pictures_follows_the_truth(street: StreetSequence, model: str) -> None:
    """Lenses that differ, turned against each other as rectification finds them."""
    left = LENSES[model]
    right = dataclasses.replace(
        left, rotation=tuple(rotation_from_vector(np.array([-0.008, 0.02, -0.01])).ravel()), intrinsics=(231.0, *K[1:])
    )
    config = load_config({"preset": "sift", "device": "cpu", "refiner": "none"})
    odometry = VisualOdometry(config, street.rig)
    shift = se3(np.eye(3), np.array([0.5, 0.0, 0.0]))
    for index, pose in enumerate(street.poses):
        images = [
            rectified(grey(picture(street.street, seen_from, CAMERA, lens)), lens, CAMERA)
            for seen_from, lens in ((pose, left), (pose @ shift, right))
        ]
        result = odometry.process(Frame(street.stamps_ns[index], images[0], street.rig, images[1]))
    assert street.truth is not None
    truth, found = street.truth[-1], result.T_odom_camera
    length = float(np.linalg.norm(truth[:3, 3]))
    assert length > 0.8
    assert np.linalg.norm(found[:3, 3] - truth[:3, 3]) < 0.015 * length
    assert np.rad2deg(rotation_angle(found[:3, :3].T @ truth[:3, :3])) < 0.3


@pytest.mark.parametrize("model", LENSES)
def test_every_pixel_shows_what_the_lens_saw_along_its_ray(model: str) -> None:
    """A picture whose intensity is the ray itself."""
    lens = LENSES[model]
    x, y = np.meshgrid(np.arange(320.0), np.arange(160.0))
    rays = rays_of(lens, np.stack([x.ravel(), y.ravel()], axis=1)).reshape(160, 320, 2)
    wanted = CAMERA.normalise(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(160, 320, 2)
    for axis in (0, 1):
        scaled = grey((rays[:, :, axis] + 1.0).astype(np.float32) / 2.0)
        error = rectified(scaled, lens, CAMERA)[25:-25, 40:-40] / 127.5 - 1.0 - wanted[25:-25, 40:-40, axis]
        assert np.abs(error).max() < 2.0 / 127.5


def test_depth_is_taken_from_the_nearest_pixel_and_unknown_outside() -> None:
    lens = dataclasses.replace(LENSES["plumb_bob"], distortion=(0.4, 0.0, 0.0, 0.0, 0.0), rotation=STRAIGHT)
    depth = np.where(np.arange(320) < 160, 1.0, 9.0).astype(np.float32) * np.ones((160, 1), np.float32)
    turned = rectified(depth, lens, CAMERA)
    assert turned.dtype == np.float32
    assert set(np.unique(turned[np.isfinite(turned)])) == {1.0, 9.0}
    assert np.isnan(turned[0, 0]) and np.isfinite(turned[80, 160])


def test_a_lens_without_distortion_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (160, 320), dtype=np.uint8)
    lens = Lens(tuple(CAMERA.matrix.ravel()), "", (), STRAIGHT)
    np.testing.assert_array_equal(rectified(image, lens, CAMERA), image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "unicorn"}, "plumb_bob with 4 or 5.* got 'unicorn' with 5"),
        ({"distortion": (0.1,)}, "got 'plumb_bob' with 1"),
        ({"model": "equidistant"}, "got 'equidistant' with 5"),
        ({"distortion": (np.nan,) * 5}, "all finite"),
        ({"intrinsics": (1.0,)}, "9 numbers"),
    ],
)
def test_lenses_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(LENSES["plumb_bob"], **change)


def test_images_beyond_the_maps_are_refused() -> None:
    with pytest.raises(DataError, match="32766 pixels a side"):
        rectified(np.zeros((1, 40_000), np.uint8), LENSES["plumb_bob"], dataclasses.replace(CAMERA, width=40_000))


def test_distortion_without_sense_stays_within_the_image() -> None:
    for coefficients in ((1e30,) * 5, (-1e6, 0.0, 0.0, 0.0, 0.0)):
        lens = dataclasses.replace(LENSES["plumb_bob"], distortion=coefficients)
        assert rectified(np.full((160, 320), 255, np.uint8), lens, CAMERA).shape == (160, 320)
    assert np.all(np.isfinite(homogeneous(rays_of(LENSES["plumb_bob"], np.array([[163.0, 76.0]])))))
