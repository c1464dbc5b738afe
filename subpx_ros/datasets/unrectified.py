"""Calibrated cameras whose data set has no rectification: the rectified rig, and what turns their images into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subpx_ros.datasets.camera_info import Cameras, camera_from_projection
from subpx_ros.datatypes import Array, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import homogeneous
from subpx_ros.undistortion import Lens

_BORDER_POINTS = 64
"""Per side of the image, at which it is looked up how far the lens sees."""
_BORDER_PX = 2.0
"""How far inside of the image: interpolation reaches that far beyond a pixel."""
_NARROWEST = 0.1
"""Least side of the rectified view on the plane z = 1: below 6 degrees the calibration is not that of a camera here."""
_WIDEST = 10.0
"""Largest one; a fisheye lens that sees more than 157 degrees has no rectified picture of use."""


@dataclass(frozen=True)
class Optics:
    """One camera as its calibration describes it."""

    intrinsics: tuple[float, float, float, float]
    """fx, fy, cx, cy in pixels."""
    model: str
    """Of `subpx_ros.undistortion.DISTORTION_MODELS`."""
    distortion: tuple[float, ...]
    """Its coefficients; empty: none."""

    @property
    def matrix(self) -> tuple[float, ...]:
        """K, 9 numbers row by row."""
        fx, fy, cx, cy = self.intrinsics
        return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)


def rectified_cameras(
    optics: list[Optics], size: tuple[int, int], T_left_right: Array | None, what: str, depth: bool = False
) -> tuple[Cameras, Array]:
    """The rectified rig with the longest focal length at which no image has a pixel that its lens did not see.

    Both cameras get the same intrinsics. The rows of a pair run along the baseline, and it looks where its cameras look
    on average (Fusiello, Trucco, Verri: A compact algorithm for rectification of stereo pairs, 2000).

    Args:
        optics: of one camera, or of the left and the right one.
        size: (width, height) of all images.
        T_left_right: (4, 4) the right camera in the left one, metres; None for one camera.
        what: the calibration's name in error messages.
        depth: whether a depth image comes with the only camera's.

    Returns:
        The cameras, and the rotation (3, 3) of rays of the left camera to rays of the rectified left one.

    Raises:
        DataError: a calibration that no camera has, or a right camera that is not to the right.
    """
    cameras = [camera_from_projection(each.matrix, *size, what=what) for each in optics]
    if T_left_right is None and not any(optics[0].distortion):
        return Cameras(Rig(cameras[0], depth=depth), (None,)), np.eye(3)
    rotations = [np.eye(3)] if T_left_right is None else _rectifying_rotations(T_left_right, what)
    turned = [
        Lens(each.matrix, each.model, each.distortion, tuple(rotation.ravel()))
        for each, rotation in zip(optics, rotations, strict=True)
    ]
    left, top, right, bottom = _seen_by_all(turned, size, what)
    focal = max((size[0] - 1) / (right - left), (size[1] - 1) / (bottom - top))
    centre = [
        0.5 * (side - 1) - 0.5 * focal * span for side, span in zip(size, (left + right, top + bottom), strict=True)
    ]
    camera = camera_from_projection((focal, 0, centre[0], 0, focal, centre[1], 0, 0, 1), *size, what=what)
    if T_left_right is None:
        return Cameras(Rig(camera, depth=depth), tuple(turned)), rotations[0]
    baseline_m = float(np.linalg.norm(T_left_right[:3, 3]))
    return Cameras(Rig(camera, camera, baseline_m), tuple(turned)), rotations[0]


def _rectifying_rotations(T_left_right: Array, what: str) -> list[Array]:
    """Rays of the left and of the right camera to rays of the rectified pair."""
    baseline = T_left_right[:3, 3]
    ahead = np.array([0.0, 0.0, 1.0]) + T_left_right[:3, 2]
    if not baseline[0] > 0.5 * np.linalg.norm(baseline) or ahead[2] <= 1.0:
        raise DataError(
            f"{what}: the right camera must lie to the right of the left one and look the same way; it lies at "
            f"{baseline.round(4).tolist()} m: are left and right swapped?"
        )
    x = baseline / np.linalg.norm(baseline)
    y = np.cross(ahead, x)
    y /= np.linalg.norm(y)
    left = np.stack([x, y, np.cross(x, y)])
    return [left, left @ T_left_right[:3, :3]]


def _seen_by_all(lenses: list[Lens], size: tuple[int, int], what: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, on the plane z = 1 of the rectified cameras, of a rectangle that all of them see."""
    x, y = (np.linspace(_BORDER_PX, side - 1.0 - _BORDER_PX, _BORDER_POINTS) for side in size)
    limits = []
    for lens in lenses:
        border = [(x, 0 * x + y[0]), (0 * y + x[0], y), (x, 0 * x + y[-1]), (0 * y + x[-1], y)]
        top, left, bottom, right = (_rays(lens, np.stack(side, axis=1)) for side in border)
        limits.append((left[:, 0].max(), top[:, 1].max(), right[:, 0].min(), bottom[:, 1].min()))
    left, top = np.max(limits, axis=0)[:2]
    right, bottom = np.min(limits, axis=0)[2:]
    sides = np.array([right - left, bottom - top])
    if not np.all((sides > _NARROWEST) & (sides < _WIDEST)):
        raise DataError(
            f"{what}: the rectified cameras must share a view of 6 to 157 degrees; theirs has sides of "
            f"{sides.round(3).tolist()} focal lengths: check intrinsics, distortion and extrinsics"
        )
    return float(left), float(top), float(right), float(bottom)


def _rays(lens: Lens, pixels: Array) -> Array:
    """Where pixels (N, 2) of the unrectified image lie on the plane z = 1 of the rectified camera."""
    import cv2

    undistort = cv2.fisheye.undistortPoints if lens.model == "equidistant" else cv2.undistortPoints
    K = np.array(lens.intrinsics).reshape(3, 3)
    points = undistort(pixels[:, None], K, np.array(lens.distortion or (0.0, 0.0, 0.0, 0.0)))
    rays = homogeneous(np.asarray(points, dtype=np.float64)[:, 0]) @ np.array(lens.rotation).reshape(3, 3).T
    return np.asarray(rays[:, :2] / rays[:, 2:])
