"""Exact correspondences between two rendered views: what detectors, matchers and refiners are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.street import View
from subpx_ros.datatypes import Array
from subpx_ros.geometry import invert, transform_points


@dataclass(frozen=True)
class Correspondences:
    """Where points of view 0 are in view 1."""

    pixels: Array
    """(N, 2) pixels of camera 1; NaN where the place has no depth (sky, edge) or lies behind camera 1."""
    visible: NDArray[np.bool_]
    """(N,) whether camera 1 sees the same surface there, not less than a pixel from its edges."""


def correspondences(view0: View, view1: View, pixels0: Array) -> Correspondences:
    """Follow pixels (N, 2) of view 0, between pixel centres too, through its depth into view 1 of the same street.

    On a plane inverse depth is linear in the image and is interpolated as such, which is exact. A place counts as
    visible when its four neighbours in both views see one and the same plane.
    """
    pixels0 = np.asarray(pixels0, dtype=np.float64).reshape(-1, 2)
    inverse0, plane0 = _surface(view0, pixels0)
    known = inverse0 > 0.0
    depth0 = 1.0 / np.where(known, inverse0, 1.0)
    rays = np.concatenate([view0.camera.normalise(pixels0), np.ones((len(pixels0), 1))], axis=1)
    T_1_0 = invert(view1.T_world_camera) @ view0.T_world_camera
    points1 = transform_points(T_1_0, rays * depth0[:, None])
    ahead = known & (points1[:, 2] > 1e-6)

    pixels1 = np.full_like(pixels0, np.nan)
    pixels1[ahead] = view1.camera.project(points1[ahead])
    _, plane1 = _surface(view1, pixels1)
    return Correspondences(pixels1, ahead & (plane1 == plane0))


def _surface(view: View, pixels: Array) -> tuple[Array, NDArray[np.int32]]:
    """1 / z (N,) and the plane (N,) at positions (N, 2); 0 and -1 at the sky, across edges and outside of the image."""
    height, width = view.depth.shape
    inside = np.all((pixels >= 0.0) & (pixels <= [width - 1, height - 1]), axis=1)
    place = np.where(inside[:, None], pixels, 0.0)
    x, y = np.floor(place).astype(np.intp).T
    share_x, share_y = place[:, 0] - x, place[:, 1] - y
    right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)

    planes = np.stack([view.planes[row, column] for row in (y, below) for column in (x, right)])
    inverse = [1.0 / view.depth[row, column].astype(np.float64) for row in (y, below) for column in (x, right)]
    upper = (1.0 - share_x) * inverse[0] + share_x * inverse[1]
    lower = (1.0 - share_x) * inverse[2] + share_x * inverse[3]
    one_plane = inside & (planes == planes[0]).all(axis=0) & (planes[0] >= 0)
    interpolated = (1.0 - share_y) * upper + share_y * lower
    return np.where(one_plane, interpolated, 0.0), np.where(one_plane, planes[0], np.int32(-1))
