"""RGB-D odometry: the disparity that stands for depth on planes known exactly, and drives down the rendered street."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from subpx_ros.config import load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Camera, Frame, PoseStatus, Rig, TrackingState
from subpx_ros.depth import disparity_from_depth, virtual_pair
from subpx_ros.errors import DataError
from subpx_ros.geometry import rotation_angle
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
RIG = Rig(CAMERA, depth=True)
PAIR = virtual_pair(RIG, 0.1)
CONFIG = load_config({"preset": "sift", "device": "cpu", "refiner": "none", "mode": "rgbd"})
FRAMES = 8

Depth = NDArray[np.float32]


def plane_depth(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """z of the plane 0.3 X - 0.2 Y + Z = 4 m at pixels."""
    rays = CAMERA.normalise(np.stack([x, y], axis=-1).reshape(-1, 2))
    return np.asarray(4.0 / (0.3 * rays[:, 0] - 0.2 * rays[:, 1] + 1.0)).reshape(np.shape(x))


def slanted() -> Depth:
    x, y = np.meshgrid(np.arange(320.0), np.arange(160.0))
    return plane_depth(x, y).astype(np.float32)


@given(st.floats(1.0, 318.0), st.floats(1.0, 158.0))
def test_on_a_plane_the_disparity_is_exact_between_pixels(x: float, y: float) -> None:
    found = disparity_from_depth(slanted(), np.array([[x, y]]), PAIR)
    expected = CAMERA.fx * 0.1 / plane_depth(np.array([x]), np.array([y]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_places_without_certain_depth_have_none() -> None:
    depth = slanted()
    depth[40, 50] = np.nan
    depth[:, 200:] = 2.0  # the plane lies at 3.7 m there, so disparity steps by 5 px
    places = {"beside a hole": (51, 41), "left of the edge": (199, 80), "right of it": (200, 80), "border": (0, 80)}
    outside = {"beyond the last column": (319.0, 80), "far outside": (1e6, -1e6), "no number": (np.nan, 3.0)}
    found = disparity_from_depth(depth, np.array([*places.values(), *outside.values()], dtype=float), PAIR)
    assert np.isnan(found).all()
    near = disparity_from_depth(depth, np.array([[53.0, 41], [197, 80], [202, 80]]), PAIR)
    assert np.isfinite(near).all() and near[2] == pytest.approx(CAMERA.fx * 0.1 / 2.0)


def test_images_too_small_for_neighbours_and_no_keypoints() -> None:
    assert np.isnan(disparity_from_depth(np.ones((2, 2), np.float32), np.zeros((3, 2)), PAIR)).all()
    assert disparity_from_depth(slanted(), np.zeros((0, 2)), PAIR).shape == (0,)


def test_noise_is_averaged() -> None:
    rng = np.random.default_rng(0)
    disparity = 8.0 + rng.normal(0.0, 0.1, (160, 320))
    pixels = rng.uniform(2, 150, (2000, 2))
    found = disparity_from_depth((CAMERA.fx * 0.1 / disparity).astype(np.float32), pixels, PAIR)
    assert np.std(found - 8.0) < 0.06


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=Rig(CAMERA))


@pytest.fixture(scope="module")
def frames(street: StreetSequence) -> list[Frame]:
    """With exact depth; the sky has none."""
    made = []
    for index, frame in enumerate(street):
        depth = street.view(index).depth
        depth = np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)
        made.append(dataclasses.replace(frame, rig=RIG, depth=depth))
    return made


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(CONFIG)


def sensed(frame: Frame, rng: np.random.Generator) -> Frame:
    """As a depth camera of 0.1 m baseline sees it: 0.15 px of noise, whole millimetres, nothing beyond 20 m, holes."""
    assert frame.depth is not None
    disparity = CAMERA.fx * 0.1 / frame.depth + rng.normal(0.0, 0.15, frame.depth.shape)
    depth = np.round(1e3 * CAMERA.fx * 0.1 / np.maximum(disparity, 1e-3)) / 1e3
    depth[(depth > 20.0) | (rng.random(depth.shape) < 0.005)] = np.nan
    return dataclasses.replace(frame, depth=depth.astype(np.float32))


@pytest.mark.parametrize(("exact", "bound"), [(True, 0.005), (False, 0.02)], ids=["exact depth", "sensed depth"])
def test_rgbd_follows_the_street_in_metres(
    street: StreetSequence, frames: list[Frame], front_end: FrontEnd, exact: bool, bound: float
) -> None:
    rng = np.random.default_rng(5)
    drive = frames if exact else [sensed(frame, rng) for frame in frames]
    odometry = VisualOdometry(CONFIG, RIG, front_end=front_end)
    results = [odometry.process(frame) for frame in drive]
    assert odometry.mode == "rgbd" and street.truth is not None
    for result in results[1:]:
        assert result.state is TrackingState.TRACKING and result.relative_pose.metric
        assert 0 < result.counts["stereo_matches"] <= result.counts["keypoints"]
        assert "depth" in result.stage_ms
    length = float(np.sum(np.linalg.norm(np.diff(street.truth[:, :3, 3], axis=0), axis=1)))
    last, truth = results[-1].T_odom_camera, street.truth[-1]
    assert np.linalg.norm(last[:3, 3] - truth[:3, 3]) < bound * length
    assert np.rad2deg(rotation_angle(last[:3, :3].T @ truth[:3, :3])) < 0.3
    error = last[:3, 3] - truth[:3, 3]
    assert float(error @ np.linalg.solve(results[-1].covariance[:3, :3], error)) < 30.0


def test_only_what_has_a_depth_is_matched(frames: list[Frame], front_end: FrontEnd) -> None:
    def half_seen(frame: Frame) -> Frame:
        assert frame.depth is not None
        depth = frame.depth.copy()
        depth[:, depth.shape[1] // 2 :] = np.nan
        return dataclasses.replace(frame, depth=depth)

    odometry = VisualOdometry(CONFIG, RIG, front_end=front_end)
    *_, result = [odometry.process(half_seen(frame)) for frame in frames[:3]]
    assert result.relative_pose.ok and result.matches.detected0[:, 0].max() < frames[0].image.shape[1] // 2


def test_without_depth_there_is_nothing_to_begin_with(frames: list[Frame], front_end: FrontEnd) -> None:
    blind = dataclasses.replace(frames[0], depth=np.full_like(frames[0].depth, np.nan))
    first, second, third = map(VisualOdometry(CONFIG, RIG, front_end=front_end).process, [blind, *frames[:2]])
    assert first.relative_pose.status is PoseStatus.NO_REFERENCE
    assert first.relative_pose.reason == "0 keypoints with depth, 12 needed to begin"
    assert [second.relative_pose.reason, third.relative_pose.reason] == ["first frame", ""]


def test_the_mode_follows_the_rig(front_end: FrontEnd) -> None:
    def mode(asked: str, rig: Rig) -> str:
        return VisualOdometry(dataclasses.replace(CONFIG, mode=asked), rig, front_end=front_end).mode

    assert [mode("auto", RIG), mode("mono", RIG), mode("auto", Rig(CAMERA))] == ["rgbd", "mono", "mono"]
    with pytest.raises(DataError, match="mode 'rgbd' needs a rig with depth; got one without"):
        mode("rgbd", Rig(CAMERA))
    with pytest.raises(DataError, match="mode 'stereo' needs a rig of two cameras"):
        mode("stereo", RIG)


def test_depth_that_does_not_fit_is_refused(frames: list[Frame]) -> None:
    frame = frames[0]
    assert frame.depth is not None
    unfit: list[Any] = [None, frame.depth[:-1], frame.depth.astype(np.float64)]
    for depth in unfit:
        with pytest.raises(DataError, match="depth"):
            dataclasses.replace(frame, depth=depth)
    with pytest.raises(DataError, match="must not have any"):
        dataclasses.replace(frame, rig=Rig(CAMERA))
    with pytest.raises(DataError, match="a right camera or a depth image"):
        Rig(CAMERA, CAMERA, 0.5, depth=True)
