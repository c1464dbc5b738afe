"""A slanted textured plane seen by a rectified stereo pair that drives towards it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Camera, Frame, Rig

CAMERA = Camera(fx=260.0, fy=260.0, cx=159.5, cy=119.5, width=320, height=240)
RIG = Rig(CAMERA, CAMERA, 0.2)
STEP_M = 0.1
PERIOD_NS = 100_000_000

_METRES_PER_TEXEL = 0.01
_SIZE = 1200
_TILT = 0.4
_DISTANCE_M = 4.0


def frame(index: int, stamp_ns: int | None = None) -> Frame:
    """The drive's frame `index`; its stamp is index * PERIOD_NS + 1 s unless given."""
    stamp = 1_000_000_000 + index * PERIOD_NS if stamp_ns is None else stamp_ns
    left, right = (_view(index * STEP_M, x) for x in (0.0, 0.2))
    return Frame(stamp, left, RIG, right)


def plane_depth(index: int) -> NDArray[np.float64]:
    """(H, W) metres: what the left camera of frame `index` would measure."""
    columns = (np.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx
    distance = _DISTANCE_M - index * STEP_M
    depth = distance * np.cos(_TILT) / (np.cos(_TILT) - np.sin(_TILT) * columns)
    return np.tile(depth, (CAMERA.height, 1))


def write_drive(folder: Path, frames: int) -> Path:
    """The drive as a KITTI sequence folder."""
    for side in ("image_0", "image_1"):
        (folder / side).mkdir()
    for index in range(frames):
        seen = frame(index)
        assert seen.right_image is not None
        cv2.imwrite(str(folder / "image_0" / f"{index:06d}.png"), seen.image)
        cv2.imwrite(str(folder / "image_1" / f"{index:06d}.png"), seen.right_image)
    matrix = np.hstack([CAMERA.matrix, np.zeros((3, 1))])
    rows = []
    for name, offset in (("P0", 0.0), ("P1", -CAMERA.fx * 0.2)):
        matrix[0, 3] = offset
        rows.append(f"{name}: " + " ".join(f"{value:.12e}" for value in matrix.ravel()))
    (folder / "calib.txt").write_text("\n".join(rows) + "\n")
    (folder / "times.txt").write_text("".join(f"{index * PERIOD_NS * 1e-9:.6e}\n" for index in range(frames)))
    return folder


@cache
def _view(forward_m: float, right_m: float) -> NDArray[np.uint8]:
    """Plane through (0, 0, _DISTANCE_M), turned about the vertical axis, seen from (right_m, 0, forward_m)."""
    axis_u = np.array([np.cos(_TILT), 0.0, np.sin(_TILT)]) * _METRES_PER_TEXEL
    axis_v = np.array([0.0, 1.0, 0.0]) * _METRES_PER_TEXEL
    centre = np.array([0.0, 0.0, _DISTANCE_M]) - (axis_u + axis_v) * _SIZE / 2
    origin = centre - [right_m, 0.0, forward_m]
    homography = CAMERA.matrix @ np.stack([axis_u, axis_v, origin], axis=1)
    size = (CAMERA.width, CAMERA.height)
    view = cv2.warpPerspective(_texture(), homography, size, flags=cv2.INTER_AREA)
    return np.asarray(view, dtype=np.uint8)


@cache
def _texture() -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    layers = [
        cv2.resize(rng.normal(size=(_SIZE // cell, _SIZE // cell)).astype(np.float32), (_SIZE, _SIZE)) * cell**0.5
        for cell in (4, 8, 20, 60)
    ]
    total = np.sum(layers, axis=0)
    texture: NDArray[np.uint8] = np.clip(128.0 + 45.0 * total / total.std(), 0, 255).astype(np.uint8)
    return texture
