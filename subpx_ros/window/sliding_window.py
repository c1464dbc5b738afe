"""The last keyframes with the points that they share, estimated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig
from subpx_ros.geometry import homogeneous, invert
from subpx_ros.least_squares import FLOOR_PX
from subpx_ros.triangulation import Disparities
from subpx_ros.window.bundle import Indices, Points, Sightings, WindowCamera, empty_bundle, information_root
from subpx_ros.window.following import follow
from subpx_ros.window.prior import Prior, without_frame
from subpx_ros.window.solver import Solution, marginalised, solve
from subpx_ros.window.tracks import Tracks

if TYPE_CHECKING:
    from subpx_ros.relative_motion import Motion, View

_FIRST_DEVIATIONS = np.array([1e-6, 1e-6, 1e-6, 1e-7, 1e-7, 1e-7])
"""Metres and radians: the first frame is where the window begins."""
_LARGEST_GROWTH = 1.5
"""A point that looks so much larger than to its anchor is anchored anew: its patch no longer looks alike."""


@dataclass(frozen=True)
class WindowEstimate:
    """What a window says of its newest frame."""

    T_window_camera: Array
    """(4, 4) in the first frame that the window began with."""
    covariance: Array
    """(6, 6) of it: a small motion of the camera in the window's axes."""
    T_reference_current: Array
    """(4, 4) of the newest frame in the one before."""
    relative_covariance: Array
    """(6, 6) of it, as RelativePose defines it."""


class SlidingWindow:
    """Begins with one frame; every further one is added with its motion against the one before."""

    def __init__(
        self,
        rig: Rig,
        keyframes: int,
        threshold_px: float,
        weighed: bool,
        followed: int,
    ) -> None:
        """
        Args:
            rig: of every frame; depth as the stereo pair that it stands for.
            keyframes: how many are kept.
            threshold_px: sightings farther from their points are given up.
            weighed: whether matches weigh by the covariances that their refiner predicts.
            followed: for how many points a frame, at most, is looked where the detector does not find them again.
        """
        self._camera = WindowCamera.of(rig)
        self._left = rig.left
        self._keyframes = keyframes
        self._threshold_px = threshold_px
        self._weighed = weighed
        self._followed = followed
        self._views: list[View] = []

    @property
    def newest(self) -> View | None:
        return self._views[-1] if self._views else None

    def begin(self, view: View, right_shift_px: float) -> None:
        """Forget everything; `view` is where the window's frame lies from now on."""
        self._views = [view]
        self._tracks = Tracks.fresh(view)
        self._bundle, self._variance = empty_bundle(np.eye(4), right_shift_px), 1.0
        self._prior = Prior.of_first_frame(np.eye(4), _FIRST_DEVIATIONS)

    def end(self) -> None:
        """Forget everything."""
        self._views = []

    @property
    def tracks(self) -> Tracks:
        """Of the newest frame."""
        return self._tracks

    def add(self, view: View, motion: Motion, right_shift_px: float) -> WindowEstimate | None:
        """The next frame, whose motion against the newest one was found with its tracks; None: start again."""
        bundle = self._bundle
        bundle.right_shift = right_shift_px
        assert motion.pose.T_reference_current is not None
        self._extend(view, motion, motion.pose.T_reference_current)
        self._marginalise(self._ended())
        solution = solve(bundle, self._camera, self._prior)
        if solution is None:
            self.end()
            return None
        self._variance = solution.at.variance
        estimate = self._estimate(solution)
        self._forget_outliers(solution)
        self._forget_oldest()
        self._tracks = Tracks.of(bundle, self._camera, self._views, self._point_of, self._seen_at, _LARGEST_GROWTH)
        return estimate

    def _extend(self, view: View, motion: Motion, T_newest_view: Array) -> None:
        """Pose, points and sightings of the next frame."""
        bundle, newest = self._bundle, self._bundle.frames - 1
        T_window_camera = bundle.pose(newest) @ T_newest_view
        bundle.rotations = np.concatenate([bundle.rotations, T_window_camera[None, :3, :3]])
        bundle.positions = np.concatenate([bundle.positions, T_window_camera[None, :3, 3]])
        chosen = np.flatnonzero(motion.pose.inliers)
        before, now = motion.indices0[chosen], motion.indices1[chosen]
        point = self._tracks.point[before]
        unseen = np.flatnonzero(point < 0)
        point[unseen] = len(bundle.points) + np.arange(len(unseen))
        bundle.points = bundle.points.extended(self._new_points(before[unseen]))
        bundle.sightings = bundle.sightings.extended(self._new_sightings(view, motion, chosen, point))
        self._views.append(view)
        self._point_of = np.full(len(view.features), -1, dtype=np.intp)
        self._point_of[now] = point
        self._seen_at = view.features.places
        self._seen_at[now] = motion.matches.refined1[chosen]
        if self._followed:
            found = follow(
                bundle,
                self._camera,
                self._views,
                most=self._followed,
                largest_growth=_LARGEST_GROWTH,
                reach_px=self._threshold_px,
                floor_px2=FLOOR_PX**2,
            )
            bundle.sightings = bundle.sightings.extended(found)
        bundle.sort()

    def _ended(self) -> NDArray[np.bool_]:
        """(P,) whether the newest frame does not see a point: nothing more will be learnt of it."""
        seen = self._bundle.sightings
        ended = np.ones(len(self._bundle.points), dtype=bool)
        ended[seen.point[seen.frame == self._bundle.frames - 1]] = False
        return ended

    def _marginalise(self, points: NDArray[np.bool_]) -> None:
        """Keep what points (P,) say of the frames, and forget them."""
        if points.any():
            self._prior = marginalised(self._bundle.part(points), self._camera, self._prior, self._variance)
            self._keep_points(~points)

    def _new_points(self, features: Indices) -> Points:
        """Points that the newest frame of before anchors, from its own disparities."""
        view, camera = self._views[-1], self._camera
        disparity = view.disparities.px[features]
        every = view.features.places
        root = self._disparity_root(view.disparities, features)
        infinite = camera.offset - self._bundle.right_shift
        inverse_depth = np.maximum(np.nan_to_num(disparity, nan=infinite) - infinite, 0.0) / camera.focal_baseline
        anchor = np.full(len(features), len(self._views) - 1, dtype=np.intp)
        rays = homogeneous(self._left.normalise(every[features]))
        slope = view.disparities.slopes(features, every)
        unknown = np.full(len(features), np.inf)
        return Points(anchor, features, rays, inverse_depth, np.nan_to_num(disparity), root, slope, unknown)

    def _new_sightings(self, view: View, motion: Motion, chosen: Indices, point: Indices) -> Sightings:
        matches, features = motion.matches, motion.indices1[chosen]
        covariance = np.tile(np.eye(2), (len(point), 1, 1))
        if self._weighed and matches.covariance1 is not None:
            covariance = matches.covariance1[chosen] + FLOOR_PX**2 * np.eye(2)
        frame = np.full(len(point), self._bundle.frames - 1, dtype=np.intp)
        return Sightings(
            point,
            frame,
            matches.refined1[chosen],
            information_root(covariance),
            np.nan_to_num(view.disparities.beside(features, (matches.refined1 - matches.detected1)[chosen])),
            self._disparity_root(view.disparities, features),
        )

    def _estimate(self, solution: Solution) -> WindowEstimate:
        bundle, newest = self._bundle, self._bundle.frames - 1
        return WindowEstimate(
            T_window_camera=bundle.pose(newest),
            covariance=solution.of_pose(bundle, newest),
            T_reference_current=invert(bundle.pose(newest - 1)) @ bundle.pose(newest),
            relative_covariance=solution.of_relative_pose(bundle, newest - 1, newest),
        )

    def _forget_outliers(self, solution: Solution) -> None:
        bundle = self._bundle
        kept = solution.at.pixels < self._threshold_px
        newest = bundle.sightings.frame == bundle.frames - 1
        lost = bundle.sightings.point[newest & ~kept]
        self._point_of[np.isin(self._point_of, lost)] = -1
        bundle.sightings = bundle.sightings.select(kept)
        seen = np.bincount(bundle.sightings.point, minlength=len(bundle.points)) > 0
        bundle.points.depth_variance = solution.depth_variance
        self._keep_points(seen)

    def _forget_oldest(self) -> None:
        bundle = self._bundle
        if bundle.frames <= self._keyframes:
            return
        self._marginalise(bundle.points.anchor == 0)
        self._prior = without_frame(self._prior, 0)
        bundle.rotations, bundle.positions = bundle.rotations[1:], bundle.positions[1:]
        bundle.points.anchor = bundle.points.anchor - 1
        bundle.sightings.frame = bundle.sightings.frame - 1
        del self._views[0]

    def _keep_points(self, kept: NDArray[np.bool_]) -> None:
        part, number = self._bundle.part(kept), np.cumsum(kept) - 1
        self._bundle.points, self._bundle.sightings = part.points, part.sightings
        shows = self._point_of >= 0
        shows[shows] = kept[self._point_of[shows]]
        self._point_of = np.where(shows, number[self._point_of], -1)

    def _disparity_root(self, disparities: Disparities, features: Indices) -> Array:
        """(M,) 1 / px; 0 where there is no disparity."""
        found = np.isfinite(disparities.px[features])
        if disparities.variance is None or not self._weighed:
            return np.where(found, np.sqrt(0.5), 0.0)
        with np.errstate(invalid="ignore"):
            root = 1.0 / np.sqrt(disparities.variance[features] + 2.0 * FLOOR_PX**2)
        return np.where(found, root, 0.0)
