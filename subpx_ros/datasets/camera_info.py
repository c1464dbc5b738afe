"""Calibration as numbers (KITTI rows, sensor_msgs/CameraInfo) to `Camera` and `Rig`, checked. Free of ROS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import check_size
from subpx_ros.datasets.text import check_rotation
from subpx_ros.datatypes import Array, Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.undistortion import Lens, rectified

_MAX_SIDEWAYS = 0.05
"""Largest offset of the right camera off the left one's x axis, relative to the baseline: KITTI's colour pair has 1 %."""


class CameraInfo(Protocol):
    """The fields of sensor_msgs/CameraInfo that are read, whichever library made the message."""

    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    r: Any
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


@dataclass(frozen=True)
class Cameras:
    """Calibrated cameras, one or a pair, and what turns their images into a frame."""

    rig: Rig
    """As they are once rectified."""
    lenses: tuple[Lens | None, ...]
    """One per camera; None where its images come rectified."""

    def frame(
        self, stamp_ns: int, images: Sequence[NDArray[np.uint8]], depth: NDArray[np.float32] | None = None
    ) -> Frame:
        """The frame of the cameras' images (H, W) as they came, left first, and of their depth where there is one.

        Raises:
            DataError: an image that cannot be rectified, or that does not have the size of its calibration.
        """
        cameras = [camera for camera in (self.rig.left, self.rig.right) if camera is not None]
        done = [
            image if lens is None else rectified(image, lens, camera)
            for image, lens, camera in zip(images, self.lenses, cameras, strict=True)
        ]
        if depth is not None and depth.shape != images[0].shape:
            raise DataError(
                f"depth must be registered to the image, pixel by pixel; got {depth.shape[1]}x{depth.shape[0]} beside "
                f"{images[0].shape[1]}x{images[0].shape[0]}: use the driver's aligned depth"
            )
        if depth is not None and self.lenses[0] is not None:
            depth = rectified(depth, self.lenses[0], cameras[0])
        return Frame(stamp_ns, done[0], self.rig, done[1] if self.rig.stereo else None, depth)


def cameras_from_infos(
    infos: Sequence[CameraInfo], sizes: Sequence[tuple[int, int]], rectify: bool = False, depth: bool = False
) -> Cameras:
    """What one camera_info, or those of a pair, left first, say of the cameras.

    Args:
        infos: one per camera.
        sizes: (width, height) of the images that came with them. They stand in for a camera_info that has none, and
            for one that has them swapped, as kitti2bag writes it.
        rectify: the images are as the sensor took them, with distortion.
        depth: there is a depth image beside the only camera's.

    Raises:
        DataError: uncalibrated, not rectified, binned or cropped, of different sizes, or without a baseline.
    """
    names = ("left camera_info", "right camera_info") if len(infos) == 2 else ("camera_info", "")
    projections = [_projection(info, name, rectify) for info, name in zip(infos, names, strict=False)]
    true = [_size(*each) for each in zip(infos, projections, sizes, strict=True)]
    if len(set(true)) > 1:
        raise DataError(
            f"left and right camera_info must have one image size; got {_shown(true[0])} and {_shown(true[1])}"
        )
    if len(infos) == 1:
        rig = Rig(camera_from_projection(projections[0], *true[0], what=names[0]), depth=depth)
    else:
        rig = rig_from_projections(projections[0], projections[1], true[0], names)
    cameras = [camera for camera in (rig.left, rig.right) if camera is not None]
    if not rectify:
        return Cameras(rig, (None,) * len(cameras))
    return Cameras(rig, tuple(map(_lens, infos, cameras, names)))


def rig_from_camera_infos(left: CameraInfo, right: CameraInfo | None = None) -> Rig:
    """The rig of one camera_info (monocular) or of a rectified pair; baseline = -P_right[3] / fx.

    Raises:
        DataError: as `cameras_from_infos`.
    """
    infos = [left] if right is None else [left, right]
    return cameras_from_infos(infos, [(int(info.width), int(info.height)) for info in infos]).rig


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _size(info: CameraInfo, projection: list[float], size: tuple[int, int]) -> tuple[int, int]:
    """Width and height that the camera_info stands for, given those of the image."""
    stated = (int(info.width), int(info.height))
    cx, cy = projection[2], projection[6]
    # A principal point outside of the stated size and inside of the swapped one tells which of them is wrong.
    swapped = stated == (size[1], size[0]) and not (cx < stated[0] and cy < stated[1]) and cx < size[0] and cy < size[1]
    return size if swapped or stated == (0, 0) else stated


def _lens(info: CameraInfo, camera: Camera, what: str) -> Lens | None:
    """None where K, D and R leave nothing to be done."""
    intrinsics, distortion = _matrix(info.k, what), np.asarray(info.d, dtype=np.float64)
    rotation = _matrix(info.r, what) if np.any(np.asarray(info.r)) else np.eye(3)
    camera_from_projection(intrinsics.ravel(), camera.width, camera.height, f"K of {what}")
    check_rotation(rotation, f"R of {what}")
    bent = bool(np.any(distortion))
    if not bent and np.allclose(rotation, np.eye(3)) and np.allclose(intrinsics, camera.matrix):
        return None
    given = tuple(map(float, distortion)) if bent else ()
    return Lens(tuple(intrinsics.ravel()), str(info.distortion_model), given, tuple(rotation.ravel()))


def _projection(info: CameraInfo, what: str, rectify: bool) -> list[float]:
    """P; or K with a fourth column of zeros where P is not filled in and the images are rectified, or will be."""
    if max(int(info.binning_x), int(info.binning_y)) > 1:
        raise DataError(f"{what}: binned images are not supported; got binning {info.binning_x}x{info.binning_y}")
    roi = (int(info.roi.width), int(info.roi.height))
    if roi not in ((0, 0), (int(info.width), int(info.height))):
        raise DataError(f"{what}: cropped images are not supported; got a region of interest of {roi[0]}x{roi[1]}")
    projection = _matrix(info.p, what)
    if np.any(projection):
        return [float(value) for value in projection.ravel()]
    intrinsics = _matrix(info.k, what)
    if not np.any(intrinsics):
        raise DataError(f"{what} is uncalibrated (P and K are all zeros): calibrate the camera first")
    if not rectify and np.any(np.asarray(info.d, dtype=np.float64)):
        raise DataError(
            f"{what} has distortion but no projection matrix P: publish rectified images with their camera_info, or "
            "have them rectified here (parameter rectify, topics image_raw)"
        )
    return [float(value) for value in np.hstack([intrinsics[:, :3], np.zeros((3, 1))]).ravel()]


def _matrix(numbers: Iterable[float], what: str) -> Array:
    values = np.array([float(value) for value in numbers])
    if values.size not in (9, 12):
        raise DataError(f"{what} needs 12 numbers (P, 3x4) or 9 (K, 3x3); got {values.size}")
    if not np.all(np.isfinite(values)):
        raise DataError(f"{what} needs finite numbers; got {values.tolist()}")
    return values.reshape(3, -1)
