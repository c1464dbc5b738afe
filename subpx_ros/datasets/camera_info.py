"""Calibration as numbers (KITTI rows, sensor_msgs/CameraInfo) to `Camera` and `Rig`, checked. Free of ROS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from subpx_ros.datasets.image_files import check_size
from subpx_ros.datatypes import Array, Camera, Rig
from subpx_ros.errors import DataError

_MAX_SIDEWAYS = 0.05
"""Largest offset of the right camera off the left one's x axis, relative to the baseline: KITTI's colour pair has 1 %."""


class CameraInfo(Protocol):
    """The fields of sensor_msgs/CameraInfo that are read, whichever library made the message."""

    height: int
    width: int
    d: Any
    k: Any
    p: Any
    binning_x: int
    binning_y: int
    roi: Any


def camera_from_projection(projection: Iterable[float], width: int, height: int, what: str = "camera") -> Camera:
    """The camera of a projection matrix P (12 numbers, row by row) or of K (9 numbers).

    Args:
        projection: P = K [I | t] or K; t is not part of the camera, see `offset_from_projection`.
        width: of the image, px.
        height: of the image, px.
        what: the camera's name in error messages.

    Raises:
        DataError: not 12 or 9 finite numbers, no focal length, skew, or an image size out of range.
    """
    matrix = _matrix(projection, what)
    check_size(width, height, what)
    fx, skew, cx = matrix[0, :3]
    zero, fy, cy = matrix[1, :3]
    if fx <= 0 or fy <= 0:
        raise DataError(f"{what} needs focal lengths fx, fy > 0 px; got {fx:g} and {fy:g}: calibrate the camera first")
    if abs(skew) > 1e-6 * fx or abs(zero) > 1e-6 * fy or not np.allclose(matrix[2, :3], [0.0, 0.0, 1.0], atol=1e-9):
        raise DataError(
            f"{what} needs a projection of the form [fx 0 cx; 0 fy cy; 0 0 1]; got {matrix[:, :3].tolist()}"
        )
    return Camera(float(fx), float(fy), float(cx), float(cy), int(width), int(height))


def offset_from_projection(projection: Iterable[float], what: str = "camera") -> Array:
    """t (3,) in metres of P = K [I | t] (12 numbers): points of the rig's origin camera plus t are in this camera."""
    matrix = _matrix(projection, what)
    if matrix.shape != (3, 4):
        raise DataError(f"{what} needs 12 numbers (P, 3x4) for its place in the rig; got 9")
    return np.asarray(np.linalg.solve(matrix[:, :3], matrix[:, 3]), dtype=np.float64)


def rig_from_projections(
    left: Iterable[float], right: Iterable[float], size: tuple[int, int], names: tuple[str, str] = ("left", "right")
) -> Rig:
    """A rectified stereo rig from the P rows (12 numbers each) of both cameras and the image size (width, height).

    Raises:
        DataError: a camera is not valid, the pair is not rectified, or the baseline is not positive.
    """
    left, right = list(left), list(right)
    cameras = [camera_from_projection(p, *size, what=name) for p, name in zip((left, right), names, strict=True)]
    if not np.allclose([cameras[0].fx, cameras[0].fy, cameras[0].cy], [cameras[1].fx, cameras[1].fy, cameras[1].cy]):
        raise DataError(
            f"{names[0]} and {names[1]} must be rectified to equal fx, fy and cy; got "
            f"{cameras[0].fx:g}, {cameras[0].fy:g}, {cameras[0].cy:g} and "
            f"{cameras[1].fx:g}, {cameras[1].fy:g}, {cameras[1].cy:g}"
        )
    step = offset_from_projection(left, names[0]) - offset_from_projection(right, names[1])
    if step[0] > 0 and np.max(np.abs(step[1:])) > _MAX_SIDEWAYS * step[0]:
        raise DataError(
            f"{names[1]} must lie on the x axis of {names[0]} (rectified pair); it lies at "
            f"{step[0]:.4g}, {step[1]:.4g}, {step[2]:.4g} m"
        )
    return Rig(cameras[0], cameras[1], float(step[0]))


def rig_from_camera_infos(left: CameraInfo, right: CameraInfo | None = None) -> Rig:
    """The rig of one camera_info (monocular) or of a rectified pair; baseline = -P_right[3] / fx.

    Raises:
        DataError: uncalibrated, not rectified, binned or cropped, of different sizes, or without a baseline.
    """
    size = (int(left.width), int(left.height))
    if right is None:
        return Rig(camera_from_projection(_rectified_projection(left, "camera_info"), *size, what="camera_info"))
    if size != (int(right.width), int(right.height)):
        raise DataError(
            f"left and right camera_info must have one image size; got {size[0]}x{size[1]} and "
            f"{right.width}x{right.height}"
        )
    names = ("left camera_info", "right camera_info")
    projections = [_rectified_projection(info, name) for info, name in zip((left, right), names, strict=True)]
    return rig_from_projections(projections[0], projections[1], size, names)


def _rectified_projection(info: CameraInfo, what: str) -> list[float]:
    """P; or K with a fourth column of zeros where P is not filled in and the camera has no distortion."""
    if max(int(info.binning_x), int(info.binning_y)) > 1:
        raise DataError(f"{what}: binned images are not supported; got binning {info.binning_x}x{info.binning_y}")
    roi = (int(info.roi.width), int(info.roi.height))
    if roi not in ((0, 0), (int(info.width), int(info.height))):
        raise DataError(f"{what}: cropped images are not supported; got a region of interest of {roi[0]}x{roi[1]}")
    projection = [float(value) for value in info.p]
    if any(projection):
        return projection
    intrinsics = _matrix(info.k, what)
    if not np.any(intrinsics):
        raise DataError(f"{what} is uncalibrated (P and K are all zeros): calibrate the camera first")
    if np.any(np.asarray(info.d, dtype=np.float64)):
        raise DataError(f"{what} has distortion but no projection matrix P: publish the rectified camera_info")
    return [float(value) for value in np.hstack([intrinsics[:, :3], np.zeros((3, 1))]).ravel()]


def _matrix(numbers: Iterable[float], what: str) -> Array:
    values = np.array([float(value) for value in numbers])
    if values.size not in (9, 12):
        raise DataError(f"{what} needs 12 numbers (P, 3x4) or 9 (K, 3x3); got {values.size}")
    if not np.all(np.isfinite(values)):
        raise DataError(f"{what} needs finite numbers; got {values.tolist()}")
    return values.reshape(3, -1)
