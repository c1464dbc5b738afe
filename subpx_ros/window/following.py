"""Points that the detector did not find again, looked for where they are expected.

A detector finds about half of its points again in the next frame. The others are still there, and pose and distance
tell where, to less than a pixel or two: least-squares matching does the rest. So a point is seen for as long as it is
in view. Time is short, so that those are looked for that tell most: seen for long, and spread over the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from subpx_ros.datatypes import Array
from subpx_ros.parallel import each_by_a_thread, parts_for
from subpx_ros.refinement.least_squares import PATCH_SIZE, first_patches, follow_least_squares
from subpx_ros.refinement.patches import PatchSource
from subpx_ros.window.bundle import Bundle, Indices, Sightings, WindowCamera, information_root
from subpx_ros.window.choice import spread_over_image

if TYPE_CHECKING:
    from subpx_ros.relative_motion import View

_BORDER_PX = 8
"""Nearer to the border of the image, half of a patch is outside."""
_LEAST_CERTAIN_PX = 0.5
"""A place that is known less well was hidden, or is another one."""
_WORTH_A_THREAD, _BATCH = 32, 4096
"""Points."""


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
    x, y, z = _as_seen(bundle, newest, point).T
    z = np.where(z > 0.0, z, np.nan)
    expected = np.column_stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy])
    height, width = views[-1].features.image.shape
    farthest = [width - 1 - _BORDER_PX, height - 1 - _BORDER_PX]
    inside = np.flatnonzero((z > 1.0 / largest_growth) & np.all((expected >= _BORDER_PX) & (expected <= farthest), axis=1))
    times_seen = np.bincount(bundle.sightings.point, minlength=len(bundle.points))
    chosen = inside[spread_over_image(expected[inside], times_seen[point[inside]], most)]
    point, expected, growth = point[chosen], expected[chosen], 1.0 / z[chosen]

    found, covariance = _matched(bundle, views, point, expected, growth)
    certain = covariance[:, [0, 1], [0, 1]].max(axis=1, initial=0.0) < _LEAST_CERTAIN_PX**2
    kept = certain & (np.linalg.norm(found - expected, axis=1) < reach_px)
    nothing = np.zeros(int(np.count_nonzero(kept)))
    frames = np.full(len(nothing), newest, dtype=np.intp)
    return Sightings(
        point[kept], frames, found[kept], information_root(covariance[kept] + floor_px2 * np.eye(2)), nothing, nothing
    )


def _matched(
    bundle: Bundle, views: list[View], point: Indices, expected: Array, growth: Array
) -> tuple[Array, Array]:
    """Pixels (M, 2) at which the newest frame shows points (M,), and their covariances (M, 2, 2) px^2."""
    features = views[-1].features
    device = features.image.device
    if not len(point):
        return np.zeros((0, 2)), np.zeros((0, 2, 2))
    order = np.argsort(bundle.points.anchor[point], kind="stable")
    anchor, feature = bundle.points.anchor[point][order], bundle.points.feature[point][order]
    places, larger = (torch.from_numpy(each[order].astype(np.float32)).to(device) for each in (expected, growth))
    starts = np.flatnonzero(np.diff(anchor, prepend=-1))
    ends = np.append(starts[1:], len(anchor))
    with torch.inference_mode():
        first = []
        for start, end in zip(starts, ends, strict=True):
            own = views[anchor[start]].features
            numbers = torch.from_numpy(feature[start:end]).to(device)
            first.append(first_patches(own.image, own.keypoints[numbers], larger[start:end]))
        second = PatchSource(features.image, PATCH_SIZE)
        count = parts_for(len(point), device, _BATCH, _WORTH_A_THREAD)
        parts = list(zip(torch.cat(first).tensor_split(count), places.tensor_split(count), strict=True))
        results = each_by_a_thread(lambda part: follow_least_squares(part[0], second, part[1]), parts)
        found, covariance = (torch.cat(each).cpu().numpy().astype(np.float64) for each in zip(*results, strict=True))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return found[back], covariance[back]


def _as_seen(bundle: Bundle, frame: int, point: Indices) -> Array:
    """Points (M, 3) in a frame's axes, over their distance from their anchors."""
    points = bundle.points.select(point)
    rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
    moved = bundle.positions[points.anchor] - bundle.positions[frame]
    return np.asarray((rays + points.inverse_depth[:, None] * moved) @ bundle.rotations[frame])
