"""Points that the detector did not find again, looked for where they are expected.

A detector finds about half of its points again in the next frame. The others are still there, and pose and distance
tell where, to less than a pixel or two: the refiner does the rest. So a point is seen for as long as it is
in view. Time is short, so that those are looked for that tell most: seen for long, and spread over the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.window.bundle import Bundle, Indices, Sightings, WindowCamera, information_root
from subpx_ros.window.choice import spread_over_image

if TYPE_CHECKING:
    from subpx_ros.relative_motion import View

RefineAgain = Callable[[list["View"], Indices, Indices, Array, Array], tuple[Array, Array]]
"""Pixels (M, 2) at which the last of some views shows features of the others, and their covariances (M, 2, 2) px^2; from
the numbers (M,) of their views, their own (M,) there, where they are expected (M, 2), and how much larger they look (M,)."""

_BORDER_PX = 8
"""Nearer to the border of the image, half of a patch is outside."""
_LEAST_CERTAIN_PX = 0.5
"""A place of which the refiner is less sure was hidden, or is another one."""


def unmatched_points(bundle: Bundle) -> Indices:
    """Numbers of the points that the frame before the newest saw and the newest does not."""
    newest, seen = bundle.frames - 1, bundle.sightings
    missing = np.zeros(len(bundle.points), dtype=bool)
    missing[seen.point[seen.frame == newest - 1]] = True
    missing[seen.point[seen.frame == newest]] = False
    return np.flatnonzero(missing)


def follow(
    bundle: Bundle,
    camera: WindowCamera,
    views: list[View],
    refine: RefineAgain,
    *,
    most: int,
    largest_growth: float,
    reach_px: float,
    floor_px2: float,
) -> Sightings:
    """Sightings, without disparities, of unmatched points in the newest frame.

    Args:
        bundle: its newest pose good to a pixel or two in the image.
        camera: of every frame.
        views: of every frame of the bundle.
        refine: finds points of earlier views in the newest.
        most: how many are looked for.
        largest_growth: points that look larger than that are not.
        reach_px: places farther from where they are expected are something else.
        floor_px2: added to the variance of every pixel coordinate.
    """
    newest = bundle.frames - 1
    point = unmatched_points(bundle)
    x, y, z = _as_seen(bundle, newest, point).T
    z = np.where(z > 0.0, z, np.nan)
    expected = np.column_stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])
    height, width = views[-1].features.image.shape
    farthest = [width - 1 - _BORDER_PX, height - 1 - _BORDER_PX]
    inside = np.flatnonzero(
        (z > 1.0 / largest_growth) & np.all((expected >= _BORDER_PX) & (expected <= farthest), axis=1)
    )
    times_seen = np.bincount(bundle.sightings.point, minlength=len(bundle.points))
    chosen = inside[spread_over_image(expected[inside], times_seen[point[inside]], most)]
    point, expected, growth = point[chosen], expected[chosen], 1.0 / z[chosen]

    points = bundle.points
    found, covariance = refine(views, points.anchor[point], points.feature[point], expected, growth)
    certain = covariance[:, [0, 1], [0, 1]].max(axis=1, initial=0.0) < _LEAST_CERTAIN_PX**2
    kept = certain & (np.linalg.norm(found - expected, axis=1) < reach_px)
    nothing = np.zeros(int(np.count_nonzero(kept)))
    frames = np.full(len(nothing), newest, dtype=np.intp)
    return Sightings(
        point[kept], frames, found[kept], information_root(covariance[kept] + floor_px2 * np.eye(2)), nothing, nothing
    )


def _as_seen(bundle: Bundle, frame: int, point: Indices) -> Array:
    """Points (M, 3) in a frame's axes, over their distance from their anchors."""
    points = bundle.points.select(point)
    rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
    moved = bundle.positions[points.anchor] - bundle.positions[frame]
    return np.asarray((rays + points.inverse_depth[:, None] * moved) @ bundle.rotations[frame])
