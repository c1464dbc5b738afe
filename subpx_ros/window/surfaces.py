"""How surfaces lie, from the disparities of the points on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array

_NEIGHBOURS, _REACH_PX = 12, 50.0
_SPREAD_PX = 0.15
"""Standard deviation of the difference of two disparities of one plane."""
_SLOPE = 0.1
"""Standard deviation of slopes beforehand (px / px): a wall 5 m beside KITTI's cameras has as much."""
_STRIP = 128
"""So many points are compared with each."""
_ROUNDS = 3


def disparity_slopes(pixels: Array, disparity: Array, chosen: NDArray[np.intp]) -> Array:
    """By how much the disparity (N,) of features at pixels (N, 2) grows with each pixel to the right, and down, around the
    chosen ones (M,): (M, 2), from their neighbours, robustly; 0 where nothing is known.

    On a plane disparities are linear in the image. Neighbours tell its slopes a dozen times as exactly as a patch does.
    """
    known = np.flatnonzero(np.isfinite(disparity))
    count = min(_NEIGHBOURS, len(known) - 1)
    if count < 1 or not len(chosen):
        return np.zeros((len(chosen), 2))
    neighbours, near = _neighbours(pixels[chosen], pixels[known], count + 1)
    steps = (pixels[known][neighbours] - pixels[chosen][:, None]).transpose(2, 0, 1)
    change = disparity[known][neighbours] - disparity[chosen][:, None]
    near &= np.isfinite(change)
    change = np.where(near, change, 0.0)
    x, y = steps
    terms = np.stack([x * x, x * y, y * y, x * change, y * change])
    slopes = np.zeros((2, len(chosen)))
    prior = (_SPREAD_PX / _SLOPE) ** 2
    for _ in range(_ROUNDS):
        residuals = change - x * slopes[0, :, None] - y * slopes[1, :, None]
        weights = near / (1.0 + (residuals / (2.0 * _SPREAD_PX)) ** 2)
        xx, xy, yy, right, down = (weights * terms).sum(axis=2)
        xx, yy = xx + prior, yy + prior
        slopes = np.stack([yy * right - xy * down, xx * down - xy * right]) / (xx * yy - xy * xy)
    return np.ascontiguousarray(slopes.T)


def _neighbours(places: Array, others: Array, count: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Numbers (M, count) of the nearest of other places (N, 2), and whether each is within reach.

    They are sought among those that lie nearest along the row, which are enough: hundreds of points are all over the image.
    """
    order = np.argsort(others[:, 0])
    strip = min(_STRIP, len(order))
    start = np.searchsorted(others[order, 0], places[:, 0]) - strip // 2
    candidates = order[np.clip(start, 0, len(order) - strip)[:, None] + np.arange(strip)]
    away = others.astype(np.float32)[candidates] - places.astype(np.float32)[:, None]
    distance = (away**2).sum(axis=2)
    nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
    found = np.take_along_axis(candidates, nearest, axis=1)
    return found, np.take_along_axis(distance, nearest, axis=1) < _REACH_PX**2
