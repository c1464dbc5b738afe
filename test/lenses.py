"""Scenes as unrectified cameras see them: exact pictures through the distortion of a lens."""

from __future__ import annotations

import dataclasses
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street import Street
from subpx_ros.datatypes import Array, Camera
from subpx_ros.geometry import homogeneous
from subpx_ros.undistortion import Lens

_FINE = 2
"""Sub-pixels a side that are averaged, and by how much finer the ideal picture is that they are taken from."""
_MARGIN = 0.2
"""Of the image's size, on each side: what the lens sees beyond the rectified picture."""


def distorted(lens: Lens, points: Array) -> Array:
    """Where points (N, 2) on the plane z = 1 appear on that of the lens, by the formulas of OpenCV's documentation."""
    x, y = points.T
    r2 = x * x + y * y
    if lens.model == "equidistant":
        r = np.sqrt(r2)
        angle = np.arctan(r)
        powers = np.stack([angle**power for power in (3, 5, 7, 9)])
        scale = np.where(r > 1e-12, (angle + np.array(lens.distortion) @ powers) / np.maximum(r, 1e-12), 1.0)
        return points * scale[:, None]
    k1, k2, p1, p2, k3, k4, k5, k6 = (*lens.distortion, 0.0, 0.0, 0.0, 0.0)[:8]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    across = [2 * p1 * x * y + p2 * (r2 + 2 * x * x), p1 * (r2 + 2 * y * y) + 2 * p2 * x * y]
    return points * radial[:, None] + np.stack(across, axis=1)


def rays_of(lens: Lens, pixels: NDArray[np.floating]) -> Array:
    """Rays (N, 2) on the plane z = 1 of the rectified camera that reach pixels (N, 2) of the unrectified one."""
    fx, _, cx, _, fy, cy, *_ = lens.intrinsics
    wanted = (np.asarray(pixels, dtype=np.float64) - [cx, cy]) / [fx, fy]
    points = wanted
    for _ in range(60):  # a fixed point: the distortion is mild
        points = points + 0.7 * (wanted - distorted(lens, points))
    assert np.abs(distorted(lens, points) - wanted).max() < 1e-9
    turned = homogeneous(points) @ np.array(lens.rotation).reshape(3, 3).T
    return turned[:, :2] / turned[:, 2:]


@cache
def _places(camera: Camera, lens: Lens) -> list[NDArray[np.float32]]:
    """(H, W, 2) pixels of the widened camera, per sub-pixel of the unrectified one."""
    steps = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    return [
        _widened(camera)
        .project(homogeneous(rays_of(lens, np.stack([x.ravel() + dx, y.ravel() + dy], axis=1))))
        .astype(np.float32)
        .reshape(*x.shape, 2)
        for dx in steps
        for dy in steps
    ]


def picture(street: Street, T_world_camera: Array, camera: Camera, lens: Lens) -> NDArray[np.float32]:
    """(H, W) intensity in [0, 1] that the unrectified camera sees, of the size of `camera`, its rectified self."""
    ideal = street.render(_widened(camera), T_world_camera).image
    places = _places(camera, lens)
    views = [cv2.remap(ideal, place[:, :, 0], place[:, :, 1], cv2.INTER_LINEAR) for place in places]
    return np.asarray(np.mean(views, axis=0), dtype=np.float32)


def _widened(camera: Camera) -> Camera:
    width, height = (round(side * (1 + 2 * _MARGIN)) * _FINE for side in (camera.width, camera.height))
    cx, cy = (
        (centre + 0.5 + _MARGIN * side) * _FINE - 0.5
        for centre, side in ((camera.cx, camera.width), (camera.cy, camera.height))
    )
    return dataclasses.replace(
        camera, fx=camera.fx * _FINE, fy=camera.fy * _FINE, cx=cx, cy=cy, width=width, height=height
    )
