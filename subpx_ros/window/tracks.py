"""The points that the newest frame sees: where each was seen first, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.surfaces import magnified
from subpx_ros.triangulation import Disparities
from subpx_ros.window.bundle import Bundle, Indices, WindowCamera

if TYPE_CHECKING:
    from subpx_ros.relative_motion import View


@dataclass(frozen=True)
class Tracks:
    """Of the N features of the newest frame of a window."""

    views: tuple[View, ...]
    """Of the window's frames, oldest first."""
    point: Indices
    """(N,) number of the point that a feature shows; -1 where it shows none yet."""
    anchor: Indices
    """(N,) number of the frame that saw it first; the newest one where there is no point."""
    feature: Indices
    """(N,) its number among the features there."""
    seen_at: Array
    """(N, 2) pixels in the newest frame: where the point was seen, or the keypoint."""
    warps: Array
    """(N, 3, 2) from the newest frame to the anchor (`surfaces.patch_warps`)."""
    disparities: Disparities
    """In the newest frame, of the points as they are estimated, or as measured."""

    @property
    def older(self) -> bool:
        """Whether there are frames before the newest."""
        return len(self.views) > 1

    @classmethod
    def fresh(cls, view: View) -> Tracks:
        """A frame that no other is before."""
        count = len(view.features)
        keypoints = view.features.places
        none, first = np.full(count, -1, dtype=np.intp), np.zeros(count, dtype=np.intp)
        return cls((view,), none, first, np.arange(count), keypoints, magnified(np.ones(count)), view.disparities)

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        camera: WindowCamera,
        views: list[View],
        point_of: Indices,
        seen_at: Array,
        largest_growth: float,
    ) -> Tracks:
        """Of the newest frame of a bundle that has been adjusted.

        Args:
            bundle: the points and poses.
            camera: of every frame.
            views: of every frame.
            point_of: (N,) number of the point that a feature of the newest frame shows, or -1.
            seen_at: (N, 2) pixels where it was seen there.
            largest_growth: points that look larger than that are left out.
        """
        view, points, newest = views[-1], bundle.points, bundle.frames - 1
        rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
        moved = (bundle.positions[points.anchor] - bundle.positions[newest]) @ bundle.rotations[newest][:, 2]
        # The depth over that from the anchor.
        z = rays @ bundle.rotations[newest][:, 2] + points.inverse_depth * moved
        point = np.where((point_of >= 0) & (z > 1.0 / largest_growth)[point_of], point_of, -1) if len(z) else point_of
        shows = point >= 0
        chosen = point[shows]
        fresh = cls.fresh(view)
        anchor = np.full(len(point), newest, dtype=np.intp)
        anchor[shows], fresh.feature[shows] = points.anchor[chosen], points.feature[chosen]
        fresh.seen_at[shows] = seen_at[shows]
        fresh.warps[shows] = bundle.warps(camera, chosen)
        disparity, variance = view.disparities.px.copy(), view.disparities.variance
        infinite = camera.offset - bundle.right_shift
        disparity[shows] = (camera.focal_baseline * points.inverse_depth / z + infinite)[chosen]
        if variance is not None:
            slope = camera.focal_baseline / z * (1.0 - points.inverse_depth * moved / z)
            variance = variance.copy()
            variance[shows] = (slope**2 * points.depth_variance)[chosen]
        return replace(
            fresh, views=tuple(views), point=point, anchor=anchor, disparities=Disparities(disparity, variance)
        )
