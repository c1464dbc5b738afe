"""Depth images as the right camera that they replace: the disparity of keypoints, where depth is certain."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig

_EDGE_PX = 1.0
"""Largest distance of a neighbour's disparity from the plane through all nine: beyond it an edge runs through them."""


def virtual_pair(rig: Rig, baseline_m: float) -> Rig:
    """The stereo rig whose disparities stand for the depth of a rig of one camera."""
    return dataclasses.replace(rig, right=rig.left, baseline_m=baseline_m, depth=False)


def disparity_from_depth(depth: NDArray[np.float32], pixels: NDArray[np.floating], pair: Rig) -> Array:
    """Disparity (N,) in `pair` of pixels (N, 2); NaN at the border, where depth is unknown and across its edges.

    Disparity is linear in the image on every plane, so a plane is fitted to those of the 3x3 neighbours; it is exact
    between pixel centres and averages noise. Where a neighbour lies off it, foreground meets background and nobody
    knows to which of them the keypoint belongs.

    Args:
        depth: (H, W) z in metres, NaN where unknown.
        pixels: in the image that depth is registered to.
        pair: of `virtual_pair`.
    """
    assert pair.baseline_m is not None
    height, width = depth.shape
    pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
    centre = np.rint(pixels)
    inside = np.all((centre >= 1) & (centre <= [width - 2, height - 2]), axis=1)
    if not inside.any():
        return np.full(len(pixels), np.nan)
    x, y = np.where(inside[:, None], centre, 1).astype(np.intp).T
    steps = np.array([-1, 0, 1])
    near = depth[y[:, None, None] + steps[:, None], x[:, None, None] + steps]
    disparity = pair.left.fx * pair.baseline_m / near.astype(np.float64)

    mean = disparity.mean(axis=(1, 2))
    slope_x = (disparity[:, :, 2] - disparity[:, :, 0]).mean(axis=1) / 2.0
    slope_y = (disparity[:, 2] - disparity[:, 0]).mean(axis=1) / 2.0
    plane = mean[:, None, None] + slope_x[:, None, None] * steps + slope_y[:, None, None] * steps[:, None]
    smooth = np.abs(disparity - plane).max(axis=(1, 2)) < _EDGE_PX  # False where a neighbour is NaN

    offset = pixels - centre
    value = mean + slope_x * offset[:, 0] + slope_y * offset[:, 1]
    return np.where(inside & smooth & (value > 0), value, np.nan)
