"""Calibration from projection rows and camera_info messages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from subpx_ros.datasets.camera_info import camera_from_projection, rig_from_camera_infos
from subpx_ros.errors import DataError

P_LEFT = [50.0, 0, 15.5, 0, 0, 52.0, 11.5, 0, 0, 0, 1, 0]
P_RIGHT = [50.0, 0, 15.5, -25.0, 0, 52.0, 11.5, 0, 0, 0, 1, 0]
K = [50.0, 0, 15.5, 0, 52.0, 11.5, 0, 0, 1]


@dataclass(frozen=True)
class Region:
    width: int = 0
    height: int = 0


@dataclass
class Info:
    """The fields of sensor_msgs/CameraInfo that are read."""

    p: Any
    k: Any = field(default_factory=lambda: K)
    d: Any = field(default_factory=lambda: np.zeros(5))
    r: Any = field(default_factory=lambda: np.eye(3).ravel())
    distortion_model: str = "plumb_bob"
    width: int = 32
    height: int = 24
    binning_x: int = 0
    binning_y: int = 0
    roi: Any = Region()


def test_camera_of_a_projection_and_of_intrinsics() -> None:
    for numbers in (P_RIGHT, K):
        camera = camera_from_projection(numbers, 32, 24)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == (50.0, 52.0, 15.5, 11.5)
        assert (camera.width, camera.height) == (32, 24)


def test_baseline_is_minus_p3_over_fx() -> None:
    rig = rig_from_camera_infos(Info(P_LEFT), Info(P_RIGHT))
    assert rig.baseline_m == pytest.approx(0.5)
    # Both rows may refer to a third camera, as KITTI's colour pair does.
    shifted_left, shifted_right = list(P_LEFT), list(P_RIGHT)
    shifted_left[3], shifted_right[3] = 3.0, -22.0
    assert rig_from_camera_infos(Info(shifted_left), Info(shifted_right)).baseline_m == pytest.approx(0.5)


def test_one_camera() -> None:
    rig = rig_from_camera_infos(Info(P_LEFT))
    assert not rig.stereo and rig.left.fx == 50.0


def test_intrinsics_stand_in_for_an_empty_projection_without_distortion() -> None:
    assert rig_from_camera_infos(Info([0.0] * 12)).left.fy == 52.0
    with pytest.raises(DataError, match="has distortion but no projection matrix P"):
        rig_from_camera_infos(Info([0.0] * 12, d=[0.1, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (Info([0.0] * 12, k=[0.0] * 9), None, "camera_info is uncalibrated"),
        (replace(Info(P_LEFT), binning_x=2), None, "binned images are not supported; got binning 2x0"),
        (replace(Info(P_LEFT), roi=Region(16, 12)), None, "cropped images .* region of interest of 16x12"),
        (replace(Info(P_LEFT), width=0), None, "got 0x24"),
        (Info(P_LEFT[:11]), None, "needs 12 numbers .* or 9 .*; got 11"),
        (Info([float("nan"), *P_LEFT[1:]]), None, "needs finite numbers"),
        (Info(P_LEFT), replace(Info(P_RIGHT), width=64), "one image size; got 32x24 and 64x24"),
        (Info(P_RIGHT), Info(P_LEFT), "positive baseline .*left and right swapped"),
        (Info(P_LEFT), Info(P_LEFT), "positive baseline"),
        (Info(P_LEFT), Info([60.0, *P_RIGHT[1:]]), "rectified to equal fx, fy and cy"),
    ],
)
def test_camera_infos_that_are_refused(left: Info, right: Info | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        rig_from_camera_infos(left, right)
    assert "\n" not in str(caught.value)


def test_a_full_region_of_interest_is_no_crop() -> None:
    assert rig_from_camera_infos(replace(Info(P_LEFT), roi=Region(32, 24), binning_x=1)).left.width == 32


@fuzz()
@given(st.lists(st.floats() | st.sampled_from(K + P_LEFT), max_size=13), st.integers(-1, 10**6), st.integers(-1, 10**6))
def test_any_numbers_are_a_camera_or_refused(numbers: list[float], width: int, height: int) -> None:
    try:
        camera = camera_from_projection(numbers, width, height)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.all(np.isfinite(camera.matrix)) and camera.fx > 0 and camera.fy > 0
