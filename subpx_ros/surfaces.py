"""How surfaces lie, from the disparities of the points on them, and how patches of them look from elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array

_NEIGHBOURS, _REACH_PX = 12, 50.0
_SPREAD_PX = 0.15
"""Standard deviation of the difference of two disparities of one plane."""
_OWN_SLOPE = 0.05
"""Standard deviation of the slopes that a patch tells itself (px / px)."""
_SLOPE = 0.1
"""Standard deviation of slopes of which nothing is known: a wall 5 m beside KITTI's cameras has as much."""
_EXACT_TREE = 4
"""FLANN's number of a k-d tree that is searched completely."""
_ROUNDS = 3
_LEAST_FACING = 0.2
"""Of a surface's size as if it faced the camera, what is seen of it."""
_GROWTH = (0.5, 3.0)
"""Patches are magnified within these bounds."""


def disparity_slopes(pixels: Array, disparity: Array, chosen: NDArray[np.intp], own: Array | None = None) -> Array:
    """By how much disparities grow with each pixel to the right, and down, around chosen features: (M, 2), px / px.

    On a plane disparities are linear in the image. A dozen neighbours tell the slopes ten times as exactly as a patch
    does; the patch tells which of them are on its plane. 0 where nothing is known.

    Args:
        pixels: (N, 2) of the features.
        disparity: (N,) pixels; NaN where there is none.
        chosen: (M,) of the features.
        own: (M, 2) slopes that the patches of the chosen ones tell.
    """
    slopes = np.zeros((len(chosen), 2)) if own is None else own
    known = np.flatnonzero(np.isfinite(disparity))
    count = min(_NEIGHBOURS, len(known) - 1)
    if count < 1 or not len(chosen):
        return slopes
    neighbours, near = _neighbours(pixels[chosen], pixels[known], count + 1)
    others, values = pixels[known], disparity[known]
    x, y = (others[neighbours] - pixels[chosen][:, None]).astype(np.float32).transpose(2, 0, 1)
    change = values[neighbours] - disparity[chosen][:, None]
    near &= np.isfinite(change)
    # Beyond what the slopes say, so that zero is what is expected.
    change = np.where(near, change - x * slopes[:, :1] - y * slopes[:, 1:], 0.0).astype(np.float32)
    terms = np.stack([x * x, x * y, y * y, x * change, y * change])
    right, down = np.zeros((2, len(chosen)), dtype=np.float32)
    prior = np.float32((_SPREAD_PX / (_SLOPE if own is None else _OWN_SLOPE)) ** 2)
    for _ in range(_ROUNDS):
        residuals = change - x * right[:, None] - y * down[:, None]
        weights = near / (1.0 + (residuals / np.float32(2.0 * _SPREAD_PX)) ** 2)
        xx, xy, yy, by_x, by_y = np.einsum("mn,tmn->tm", weights, terms)
        xx, yy = xx + prior, yy + prior
        right, down = np.stack([yy * by_x - xy * by_y, xx * by_y - xy * by_x]) / (xx * yy - xy * xy)
    return slopes + np.stack([right, down], axis=1)


def _neighbours(places: Array, others: Array, count: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Numbers (M, count) of the nearest of other places (N, 2), and whether each is within reach."""
    tree = cv2.flann.Index(others.astype(np.float32), {"algorithm": _EXACT_TREE})
    found, squared = tree.knnSearch(places.astype(np.float32), count, params={})
    return found.astype(np.intp), np.asarray(squared < _REACH_PX**2)


def patch_warps(points: Array, by_pixel: Array, focal: tuple[float, float]) -> Array:
    """How patches around M points look in an earlier view, from how they look in a later one, as the planes around the
    points tell: (M, 3, 2).

    With A the first two rows of a warp and w the last one, a step s in the later view is A s / (1 + w s) in the earlier
    one, exactly. Planes that are seen from their edge, or from behind, are not where they seem to be: their patches are
    only magnified.

    Args:
        points: (M, 3) in the later camera, over their depth in the earlier one; behind it, or NaN, nothing is warped.
        by_pixel: (M, 3, 2) what that changes by with each pixel to the right, and down, of the earlier view, on the plane.
        focal: fx and fy of the later camera, pixels.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z = points.T
        a, b = (focal[0] * (by_pixel[:, 0] - (x / z)[:, None] * by_pixel[:, 2])).T
        c, d = (focal[1] * (by_pixel[:, 1] - (y / z)[:, None] * by_pixel[:, 2])).T
        determinant = a * d - b * c
        facing = (z > 0.0) & (determinant > _LEAST_FACING)
        inverse = np.array([[d, -b], [-c, a]]) / np.where(facing, determinant, 1.0)
        steps = (inverse * z).transpose(2, 0, 1)
        tilt = -np.einsum("mij,mi->mj", steps, by_pixel[:, 2]) / z[:, None]
        larger = np.where(z > 0.0, 1.0 / z, 1.0).clip(*_GROWTH)
    warps = np.concatenate([steps, tilt[:, None]], axis=1)
    return np.where(facing[:, None, None], warps, magnified(larger))


def magnified(growth: Array) -> Array:
    """Warps (M, 3, 2) of patches that the later view shows larger by `growth` (M,), and else the same."""
    warps = np.zeros((len(growth), 3, 2))
    warps[:, 0, 0] = warps[:, 1, 1] = 1.0 / growth
    return warps


def composed(earlier: Array, later: Array) -> Array:
    """Warps (M, 3, 2) from the last of three views to the first, of those from the middle to the first and from the last to
    the middle."""
    steps = later[:, :2]
    tilt = later[:, 2] + np.einsum("mij,mi->mj", steps, earlier[:, 2])
    return np.concatenate([earlier[:, :2] @ steps, tilt[:, None]], axis=1)
