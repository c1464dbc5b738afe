"""Exact correspondences between two rendered views: what detectors, matchers and refiners are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.street import View
from subpx_ros.geometry import invert, transform_points

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correspondences:
    """Where points of view 0 are in view 1."""

    pixels: Array
    """(N, 2) pixels of camera 1; NaN where the point has no depth or lies behind camera 1."""
    visible: NDArray[np.bool_]
    """(N,) whether camera 1 sees the same surface there, away from the edges of what is in front."""


def correspondences(view0: View, view1: View, pixels0: Array, tolerance: float = 0.01) -> Correspondences:
    """Follow pixels (N, 2) of view 0 through its depth into view 1.

    Inverse depth is linear in the image on a plane, so it is interpolated as such: exact on every face, for positions
    between pixels too. A position whose four neighbours do not lie on one plane is called not visible.

    Args:
        tolerance: largest relative difference between the depth that view 1 has at that place and the point's own.
    """
    pixels0 = np.asarray(pixels0, dtype=np.float64).reshape(-1, 2)
    inverse0, smooth0 = _inverse_depth(view0, pixels0, tolerance)
    known = inverse0 > 0.0
    depth0 = 1.0 / np.where(known, inverse0, 1.0)
    rays = np.concatenate([view0.camera.normalise(pixels0), np.ones((len(pixels0), 1))], axis=1)
    T_1_0 = invert(view1.T_world_camera) @ view0.T_world_camera
    points1 = transform_points(T_1_0, rays * depth0[:, None])
    ahead = known & (points1[:, 2] > 1e-6)

    pixels1 = np.full_like(pixels0, np.nan)
    pixels1[ahead] = view1.camera.project(points1[ahead])
    inverse1, smooth1 = _inverse_depth(view1, pixels1, tolerance)
    same = np.abs(points1[:, 2] * inverse1 - 1.0) < tolerance
    return Correspondences(pixels1, ahead & smooth0 & smooth1 & same)


def _inverse_depth(view: View, pixels: Array, tolerance: float) -> tuple[Array, NDArray[np.bool_]]:
    """1 / z (N,) at positions (N, 2), 0 outside of the image or at the sky, and whether the place is on one plane."""
    height, width = view.depth.shape
    inside = np.all((pixels >= 0.0) & (pixels <= [width - 1, height - 1]), axis=1)
    place = np.where(inside[:, None], pixels, 0.0)
    corner = np.minimum(np.floor(place), [width - 2, height - 2]).astype(np.intp)
    share_x, share_y = (place - corner).T
    x, y = corner.T
    a, b, c, d = (1.0 / view.depth[y + dy, x + dx].astype(np.float64) for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)))
    inverse = (1 - share_y) * ((1 - share_x) * a + share_x * b) + share_y * ((1 - share_x) * c + share_x * d)
    # On one plane the two diagonals have the same mean, and no neighbour differs much from another.
    spread = np.ptp([a, b, c, d], axis=0)
    planar = (np.abs(a + d - b - c) < 0.1 * tolerance * inverse) & (spread < 20.0 * tolerance * inverse)
    solid = np.min([a, b, c, d], axis=0) > 0.0
    return np.where(inside & solid, inverse, 0.0), inside & solid & planar
