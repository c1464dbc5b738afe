"""Images of little contrast are made visible; others, and those that show nothing, stay as they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.config import load_config
from subpx_ros.contrast import made_visible, noise_level
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datasets.street.config import DisturbanceConfig
from subpx_ros.datatypes import Camera, Frame, Rig, TrackingState
from subpx_ros.odometry import VisualOdometry

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
RIG = Rig(CAMERA, CAMERA, 0.5)
LEAST = 64.0


@pytest.fixture(scope="module")
def frame() -> Frame:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0), frames=1, rig=RIG).frame(0)


def grey(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(values).astype(np.uint8)


def with_images(frame: Frame, left: NDArray[np.floating], right: NDArray[np.floating]) -> Frame:
    return dataclasses.replace(frame, image=grey(left), right_image=grey(right))


def test_an_image_of_usual_contrast_is_left_as_it_is(frame: Frame) -> None:
    assert made_visible(frame, LEAST) is frame


@pytest.mark.parametrize("level", [0, 100, 255])
def test_an_image_that_shows_nothing_is_left_as_it_is(frame: Frame, level: int) -> None:
    noise = np.random.default_rng(1).normal(0.0, 2.0, frame.image.shape)
    for shown in (np.full(frame.image.shape, float(level)), np.clip(level + noise, 0, 255)):
        nothing = with_images(frame, shown, shown)
        assert made_visible(nothing, LEAST) is nothing


def test_haze_is_cleared_in_both_images_alike(frame: Frame) -> None:
    assert frame.right_image is not None
    hazy = with_images(frame, 100.0 + 0.2 * frame.image, 100.0 + 0.2 * frame.right_image)
    assert made_visible(hazy, 0.0) is hazy
    clear = made_visible(hazy, LEAST)
    assert clear.right_image is not None and clear.stamp_ns == frame.stamp_ns
    for before, after in ((frame.image, clear.image), (frame.right_image, clear.right_image)):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99
    spread = np.percentile(clear.image, 99) - np.percentile(clear.image, 1)
    assert 120 <= spread <= 136
    assert abs(clear.image.mean() - clear.right_image.mean()) < 8.0


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_noise_on_a_slope_of_grey_is_measured(sigma: float) -> None:
    slope = 60.0 + np.linspace(0.0, 100.0, 300)[None] + np.linspace(0.0, 40.0, 200)[:, None]
    noise = np.random.default_rng(2).normal(0.0, sigma, slope.shape)
    assert noise_level(grey(slope + noise)) == pytest.approx(sigma, rel=0.1)


def test_dark_frames_are_tracked() -> None:
    drop = DisturbanceConfig(dark_from=2, dark_frames=2, dark_light=0.1)
    street = StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5, disturbances=drop), frames=5, rig=RIG)
    frames, truth = list(street), street.truth
    assert truth is not None
    settings = {"preset": "sift", "device": "cpu", "refiner": "none", "threads": 1, "matching": {"stereo": "patches"}}

    def states(least: float) -> list[TrackingState]:
        odometry = VisualOdometry(load_config(settings | {"features": {"min_contrast": least}}), RIG)
        results = [odometry.process(frame) for frame in frames]
        if least:
            for result, T in zip(results, truth, strict=True):
                assert np.linalg.norm(result.T_odom_camera[:3, 3] - T[:3, 3]) < 0.04
        return [result.state for result in results[1:]]

    assert states(0.0)[1:3] == [TrackingState.LOST] * 2
    assert states(LEAST) == [TrackingState.TRACKING] * 4
