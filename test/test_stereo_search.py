"""Right points by patch search and least-squares matching, on images with known disparities."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features
from subpx_ros.refinement.least_squares import left_image, match_least_squares, right_image
from subpx_ros.stereo import SearchedDisparities, searched_disparities

_HEIGHT, _WIDTH = 200, 400


def _texture(seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(_HEIGHT, _WIDTH + 100)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip(0.5 + 0.2 * smooth / smooth.std(), 0.0, 1.0)


def _shifted(image: NDArray[np.float32], disparity: float, slope: float = 0.0) -> NDArray[np.uint8]:
    """What a right camera sees of a plane: right x is left x minus disparity and slope * (y - middle)."""
    # OpenCV rounds places to 1/32 px, so that exact shifts are multiples of it.
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.float32)
    seen = cv2.remap(image, x + disparity + slope * (y - _HEIGHT / 2), y, cv2.INTER_CUBIC)
    return (255.0 * np.clip(seen, 0.0, 1.0)).round().astype(np.uint8)


def _features(image: NDArray[np.float32]) -> Features:
    x, y = np.meshgrid(np.arange(120, 360, 12), np.arange(30, 170, 12))
    keypoints = torch.from_numpy(np.column_stack([x.ravel(), y.ravel()])).float()
    ones = torch.ones(len(keypoints))
    grey = torch.from_numpy((255.0 * image[:, :_WIDTH]).round().astype(np.uint8)).float() / 255.0
    return Features(keypoints, ones, ones[:, None], grey)


def _search(left: Features, right: NDArray[np.uint8], offset: float = 0.0) -> SearchedDisparities:
    found = searched_disparities(left, right, offset, MatchingConfig())
    found.require(np.arange(len(left)))
    return found


@pytest.mark.parametrize(("disparity", "slope"), [(3.375, 0.0), (20.0, 0.0), (63.75, 0.0), (30.3, 0.1)])
def test_disparities_of_planes_are_found_to_a_fraction_of_a_pixel(disparity: float, slope: float) -> None:
    image = _texture()
    left = _features(image)
    found = _search(left, _shifted(image, disparity, slope))
    assert found.found > 0.95 * len(left)
    true = disparity + slope * (left.keypoints[:, 1].numpy() - _HEIGHT / 2)
    errors = (found.px - true)[np.isfinite(found.px)]
    assert np.median(np.abs(errors)) < 0.05
    assert np.percentile(np.abs(errors), 95) < 0.25
    assert found.variance is not None and np.all(found.variance[np.isfinite(found.px)] > 0.0)


@pytest.mark.parametrize("slope", [0.32, -0.2])
def test_a_patch_tells_how_its_surface_lies(slope: float) -> None:
    """A road has the baseline over the height of the camera, which is a third with KITTI's cameras; and little contrast."""
    image = (0.5 + 0.3 * (_texture() - 0.5)).astype(np.float32)
    left = _features(image)
    true = 40.0 + slope * (left.keypoints[:, 1] - _HEIGHT / 2)
    started = left.keypoints - torch.stack([true + 0.5, torch.zeros_like(true)], dim=1)
    right = torch.from_numpy(_shifted(image, 40.0, slope)).float() / 255.0
    with torch.inference_mode():
        found = match_least_squares(left_image(left.image), right_image(right), left.keypoints, started)
    errors = found.slope - torch.tensor([0.0, slope])
    assert float(errors.abs().median(dim=0).values.max()) < 0.02 and float(errors.mean(dim=0).abs().max()) < 0.01
    disparity = left.keypoints[:, 0] - found.places[:, 0]
    assert float((disparity - true).abs().median()) < 0.03


@pytest.mark.parametrize("slope", [0.0, 0.1, -0.2])
def test_beside_a_feature_the_disparity_is_that_of_its_plane(slope: float) -> None:
    image = _texture()
    left = _features(image)
    found = _search(left, _shifted(image, 30.0, slope))
    indices = np.flatnonzero(np.isfinite(found.px))
    moved = np.random.default_rng(0).uniform(-2.0, 2.0, (len(indices), 2))
    true = 30.0 + slope * (left.keypoints[indices, 1].numpy() + moved[:, 1] - _HEIGHT / 2)
    ones = np.zeros((len(indices), 2, 2))
    beside = found.points(indices, left.keypoints[indices].numpy() + moved, ones, moved).disparity
    assert np.median(np.abs(beside - true)) < 0.05
    assert abs(np.median(beside - true)) < 0.01
    # Nobody knows how far a surface goes on.
    assert np.array_equal(found.beside(indices, np.full((len(indices), 2), 5.0)), found.px[indices])


def test_gain_and_offset_between_the_cameras_do_not_matter() -> None:
    image = _texture()
    left, right = _features(image), _shifted(image, 20.375)
    plain = _search(left, right)
    other = _search(left, (0.7 * right + 30.0).round().astype(np.uint8))
    assert other.found == plain.found
    assert np.nanmax(np.abs(other.px - plain.px)) < 0.02


def test_principal_points_far_apart_shift_the_range() -> None:
    image = _texture()
    found = _search(_features(image), _shifted(image, -10.5), offset=-40.0)
    assert abs(np.nanmedian(found.px) + 10.5) < 0.02


@pytest.mark.parametrize("kind", ["black", "white", "another scene", "stripes"])
def test_where_nothing_or_everything_fits_there_is_no_disparity(kind: str) -> None:
    image = _texture()
    left = _features(image)
    right = np.zeros((_HEIGHT, _WIDTH), dtype=np.uint8)
    if kind == "white":
        right[:] = 255
    elif kind == "another scene":
        right = _shifted(_texture(seed=1), 20.0)
    elif kind == "stripes":
        stripes = np.tile((0.5 + 0.4 * np.sin(np.arange(_WIDTH + 100) * np.pi / 8)).astype(np.float32), (_HEIGHT, 1))
        left, right = _features(stripes), _shifted(stripes, 20.0)
    assert _search(left, right).found < 0.1 * len(left)


def test_only_features_that_are_asked_for_are_searched() -> None:
    image = _texture()
    left = _features(image)
    found = searched_disparities(left, _shifted(image, 20.0), 0.0, MatchingConfig())
    assert found.found == 0
    points = found.points(np.array([5, 7]), left.keypoints[[5, 7]].numpy().astype(np.float64), np.zeros((2, 2, 2)))
    assert np.isfinite(points.disparity).all() and points.covariance is not None
    assert found.found == 2
    everything = _search(left, _shifted(image, 20.0))
    assert np.allclose(everything.px[[5, 7]], found.px[[5, 7]], atol=1e-4)


def test_an_image_smaller_than_a_patch_gives_nothing() -> None:
    tiny = torch.rand(8, 8)
    left = Features(torch.full((3, 2), 4.0), torch.ones(3), torch.ones(3, 1), tiny)
    found = searched_disparities(left, np.zeros((8, 8), dtype=np.uint8), 0.0, MatchingConfig())
    found.require(np.arange(3))
    assert found.found == 0
