"""The last keyframes with the points that they share, estimated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig
from subpx_ros.geometry import homogeneous, invert
from subpx_ros.triangulation import Disparities
from subpx_ros.window.bundle import Indices, Points, Sightings, WindowCamera, empty_bundle, information_root
from subpx_ros.window.following import RefineAgain, follow
from subpx_ros.window.prior import Prior
from subpx_ros.window.solver import Solution, marginalised, solve
from subpx_ros.window.tracks import Tracks

if TYPE_CHECKING:
    from subpx_ros.relative_motion import Motion, View

_FIRST_DEVIATIONS = np.array([1e-6, 1e-6, 1e-6, 1e-7, 1e-7, 1e-7])
"""Metres and radians: the first frame is where the window begins."""
_FLOOR_PX2 = 0.05**2
"""Added to the predicted variance of every pixel coordinate of a match, so that none weighs more than images can be trusted."""
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
        self, rig: Rig, keyframes: int, threshold_px: float, weighed: bool, refine: RefineAgain | None = None
    ) -> None:
        """
        Args:
            rig: of every frame; depth as the stereo pair that it stands for.
            keyframes: how many are kept.
            threshold_px: sightings farther from their points are given up.
            weighed: whether matches weigh by the covariances that their refiner predicts.
            refine: finds points again where the detector did not; None: they are not looked for.
        """
        self._camera = WindowCamera.of(rig)
        self._left = rig.left
        self._keyframes = keyframes
        self._threshold_px = threshold_px
        self._weighed = weighed
        self._refine = refine
        self._views: list[View] = []

    @property
    def newest(self) -> View | None:
        return self._views[-1] if self._views else None

    def begin(self, view: View, right_shift_px: float) -> None:
        """Forget everything; `view` is where the window's frame lies from now on."""
        self._views = [view]
        self._tracks = Tracks.fresh(view)
        self._bundle = empty_bundle(np.eye(4), right_shift_px)
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
        self._bundle.right_shift = right_shift_px
        assert motion.pose.T_reference_current is not None
        self._extend(view, motion, motion.pose.T_reference_current)
        solution = solve(self._bundle, self._camera, self._prior)
        if solution is None:
            self.end()
            return None
        estimate = self._estimate(solution)
        self._forget_outliers(solution)
        self._forget_oldest()
        self._tracks = self._newest_tracks()
        return estimate

    def _extend(self, view: View, motion: Motion, T_newest_view: Array) -> None:
        """Pose, points and sightings of the next frame."""
        bundle, tracks, newest = self._bundle, self._tracks, self._bundle.frames - 1
        T_window_camera = bundle.pose(newest) @ T_newest_view
        bundle.rotations = np.concatenate([bundle.rotations, T_window_camera[None, :3, :3]])
        bundle.positions = np.concatenate([bundle.positions, T_window_camera[None, :3, 3]])
        inliers = motion.pose.inliers
        before, now = motion.indices0[inliers], motion.indices1[inliers]
        point = tracks.point[before]
        unseen = np.flatnonzero(point < 0)
        point[unseen] = len(bundle.points) + np.arange(len(unseen))
        bundle.points = bundle.points.extended(self._new_points(before[unseen]))
        bundle.sightings = bundle.sightings.extended(self._new_sightings(view, motion, now, point))
        bundle.sort()
        self._views.append(view)
        point_of = np.full(len(view.features), -1, dtype=np.intp)
        point_of[now] = point
        self._seen_at = view.features.keypoints.cpu().numpy().astype(np.float64)
        self._seen_at[now] = motion.matches.refined1[inliers]
        self._point_of = point_of
        self._follow()

    def _follow(self) -> None:
        """Look for points that the frame before saw and that no match has shown."""
        if self._refine is None:
            return
        bundle = self._bundle
        found = follow(
            bundle,
            self._camera,
            self._views,
            self._refine,
            largest_growth=_LARGEST_GROWTH,
            reach_px=self._threshold_px,
            floor_px2=_FLOOR_PX2,
        )
        bundle.sightings = bundle.sightings.extended(found)
        bundle.sort()

    def _new_points(self, features: Indices) -> Points:
        """Points that the newest frame of before anchors, from its own disparities."""
        view, camera = self._views[-1], self._camera
        disparity = view.disparities.px[features]
        keypoints = view.features.keypoints.cpu().numpy().astype(np.float64)[features]
        root = self._disparity_root(view.disparities, features)
        infinite = camera.offset - self._bundle.right_shift
        inverse_depth = np.maximum(np.nan_to_num(disparity, nan=infinite) - infinite, 0.0) / camera.focal_baseline
        anchor = np.full(len(features), len(self._views) - 1, dtype=np.intp)
        rays = homogeneous(self._left.normalise(keypoints))
        return Points(anchor, features, rays, inverse_depth, np.nan_to_num(disparity), root)

    def _new_sightings(self, view: View, motion: Motion, features: Indices, point: Indices) -> Sightings:
        matches, inliers = motion.matches, motion.pose.inliers
        covariance = np.tile(np.eye(2), (len(point), 1, 1))
        if self._weighed and matches.covariance1 is not None:
            covariance = matches.covariance1[inliers] + _FLOOR_PX2 * np.eye(2)
        frame = np.full(len(point), self._bundle.frames - 1, dtype=np.intp)
        return Sightings(
            point,
            frame,
            matches.refined1[inliers],
            information_root(covariance),
            np.nan_to_num(view.disparities.beside(features, (matches.refined1 - matches.detected1)[inliers])),
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
        self._depth_variance = solution.depth_variance
        self._keep_points(seen)

    def _forget_oldest(self) -> None:
        bundle = self._bundle
        if bundle.frames > self._keyframes:
            self._prior = marginalised(bundle, self._camera, self._prior)
            self._drop(0)

    def _drop(self, frame: int) -> None:
        """A frame with its sightings and the points that it anchors."""
        bundle = self._bundle
        bundle.rotations = np.delete(bundle.rotations, frame, axis=0)
        bundle.positions = np.delete(bundle.positions, frame, axis=0)
        bundle.sightings = bundle.sightings.select(bundle.sightings.frame != frame)
        self._keep_points(bundle.points.anchor != frame)
        bundle.points.anchor = bundle.points.anchor - (bundle.points.anchor > frame)
        bundle.sightings.frame = bundle.sightings.frame - (bundle.sightings.frame > frame)
        del self._views[frame]

    def _keep_points(self, kept: NDArray[np.bool_]) -> None:
        bundle, number = self._bundle, np.cumsum(kept) - 1
        bundle.sightings = bundle.sightings.select(kept[bundle.sightings.point])
        bundle.sightings.point = number[bundle.sightings.point]
        bundle.points = bundle.points.select(kept)
        self._depth_variance = self._depth_variance[kept]
        shows = self._point_of >= 0
        shows[shows] = kept[self._point_of[shows]]
        self._point_of = np.where(shows, number[self._point_of], -1)

    def _newest_tracks(self) -> Tracks:
        """Which points the newest frame's features show, those that have grown too much left out."""
        bundle, view, camera = self._bundle, self._views[-1], self._camera
        newest, points = bundle.frames - 1, bundle.points
        fresh = Tracks.fresh(view)
        rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
        moved = bundle.positions[points.anchor] - bundle.positions[newest]
        z = (rays + points.inverse_depth[:, None] * moved) @ bundle.rotations[newest][:, 2]
        # z is the depth over that from the anchor.
        point = self._point_of.copy()
        shows = point >= 0
        shows[shows] = z[point[shows]] > 1.0 / _LARGEST_GROWTH
        point[~shows] = -1
        anchor = np.full(len(point), newest, dtype=np.intp)
        feature, seen_at = fresh.feature.copy(), fresh.seen_at.copy()
        disparity = view.disparities.px.copy()
        chosen = point[shows]
        anchor[shows], feature[shows] = points.anchor[chosen], points.feature[chosen]
        seen_at[shows] = self._seen_at[shows]
        slope = (
            camera.focal_baseline / z * (1.0 - points.inverse_depth * (moved @ bundle.rotations[newest][:, 2]) / z)
        )[chosen]
        predicted = camera.focal_baseline * points.inverse_depth / z + camera.offset - bundle.right_shift
        disparity[shows] = predicted[chosen]
        variance = view.disparities.variance
        if variance is not None:
            variance = variance.copy()
            variance[shows] = slope**2 * self._depth_variance[chosen]
        growth = np.ones(len(point))
        growth[shows] = 1.0 / z[chosen]
        return Tracks(tuple(self._views), point, anchor, feature, seen_at, growth, Disparities(disparity, variance))

    def _disparity_root(self, disparities: Disparities, features: Indices) -> Array:
        """(M,) 1 / px; 0 where there is no disparity."""
        found = np.isfinite(disparities.px[features])
        if disparities.variance is None or not self._weighed:
            return np.where(found, np.sqrt(0.5), 0.0)
        with np.errstate(invalid="ignore"):
            root = 1.0 / np.sqrt(disparities.variance[features] + 2.0 * _FLOOR_PX2)
        return np.where(found, root, 0.0)
