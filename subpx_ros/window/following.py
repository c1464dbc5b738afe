"""Points that the detector did not find again, looked for where they are expected.

A detector finds about half of its points again in the next frame. The others are still there. Pose and distance tell
where, to less than a pixel or two, and how the surface lies tells what they look like; least-squares matching does the
rest. So a point is seen for as long as it is in view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from subpx_ros.datatypes import Array
from subpx_ros.refinement.following import follow_points
from subpx_ros.refinement.patches import FirstPoints
from subpx_ros.refinement.refiner import keypoints_in
from subpx_ros.window.bundle import Bundle, Indices, Sightings, WindowCamera, information_root
from subpx_ros.window.choice import spread_over_image

if TYPE_CHECKING:
    from subpx_ros.relative_motion import View

_BORDER_PX = 8
"""Nearer to the border of the image, half of a patch is outside."""


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
        most: how many are looked for.
        largest_growth: points that look larger than that are not.
        reach_px: places farther from where they are expected are something else.
        floor_px2: added to the variance of every pixel coordinate.
    """
    newest = bundle.frames - 1
    point = unmatched_points(bundle)
    expected, z = _expected(bundle, camera, newest, point)
    height, width = views[-1].features.image.shape
    farthest = [width - 1 - _BORDER_PX, height - 1 - _BORDER_PX]
    inside = np.all((expected >= _BORDER_PX) & (expected <= farthest), axis=1)
    inside &= (z > 1.0 / largest_growth) & (z < largest_growth)
    point, expected = point[inside], expected[inside]
    chosen = spread_over_image(expected, _certainty(bundle)[point], most)
    # One view after the other.
    chosen = chosen[np.argsort(bundle.points.anchor[point[chosen]], kind="stable")]
    point, expected = point[chosen], expected[chosen]

    found, covariance = _matched(bundle, camera, views, point, expected)
    kept = np.isfinite(covariance[:, 0, 0]) & (np.linalg.norm(found - expected, axis=1) < reach_px)
    nothing = np.zeros(int(np.count_nonzero(kept)))
    frames = np.full(len(nothing), newest, dtype=np.intp)
    return Sightings(
        point[kept], frames, found[kept], information_root(covariance[kept] + floor_px2 * np.eye(2)), nothing, nothing
    )


def _matched(
    bundle: Bundle, camera: WindowCamera, views: list[View], point: Indices, expected: Array
) -> tuple[Array, Array]:
    """Pixels (M, 2) at which the newest frame shows points (M,), sorted by anchor, and their covariances (M, 2, 2) px^2."""
    features = [view.features for view in views]
    later = features[-1].image
    number, own = (torch.from_numpy(each[point]) for each in (bundle.points.anchor, bundle.points.feature))
    told = (bundle.warps(camera, point), expected)
    warps, places = (torch.from_numpy(each.astype(np.float32)).to(later.device) for each in told)
    with torch.inference_mode():
        first = keypoints_in(features, number, own.to(later.device))
        points = FirstPoints([each.image for each in features], number, first, warps)
        found = follow_points(points, later, places)
        pixels, covariance = (each.cpu().numpy().astype(np.float64) for each in found)
    return pixels, covariance


def _certainty(bundle: Bundle) -> Array:
    """(P,) 1 / px^2: the mean information of a point's sightings, as which the next one is likely to be."""
    seen, count = bundle.sightings, len(bundle.points)
    information = (seen.left_root**2).sum(axis=(1, 2))
    times = np.bincount(seen.point, minlength=count)
    return np.asarray(np.bincount(seen.point, information, count) / np.maximum(times, 1))


def _expected(bundle: Bundle, camera: WindowCamera, frame: int, point: Indices) -> tuple[Array, Array]:
    """Pixels (M, 2) of points in a frame, and their depth (M,) there over that in their anchors; NaN behind it."""
    points = bundle.points.select(point)
    rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
    moved = bundle.positions[points.anchor] - bundle.positions[frame]
    x, y, z = ((rays + points.inverse_depth[:, None] * moved) @ bundle.rotations[frame]).T
    z = np.where(z > 0.0, z, np.nan)
    return np.column_stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy]), z
