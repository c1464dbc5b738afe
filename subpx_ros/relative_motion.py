"""From images to the relative pose of two views: each frame is described once, then related to others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.appearance import Ahead, predicted_matches, seen_ahead
from subpx_ros.config import Config
from subpx_ros.consistency import UNSUSPICIOUS, WorldEstimator
from subpx_ros.contrast import made_visible
from subpx_ros.datatypes import Array, Features, Frame, Matches, RefinedMatches, RelativePose, Rig
from subpx_ros.depth import disparity_from_depth, virtual_pair
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert
from subpx_ros.motion_model import ExpectedMotion
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import RoughPose, estimate_mono, rough_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.refinement.partly import among_detected
from subpx_ros.scale import OtherOdometry, mono_scale
from subpx_ros.stereo import searched_disparities
from subpx_ros.triangulation import Disparities, triangulate
from subpx_ros.window import SlidingWindow
from subpx_ros.window.tracks import Tracks


@dataclass(frozen=True)
class View:
    """What is kept of a frame for as long as others are related to it."""

    stamp_ns: int
    features: Features
    disparities: Disparities
    """Of the features."""

    @property
    def with_depth(self) -> int:
        """Features that are known to have a depth; in stereo by patches others may have one that nobody needed yet."""
        return self.disparities.found


@dataclass(frozen=True)
class Motion:
    """How a view is related to a reference."""

    matches: RefinedMatches
    """Reference (0) to current (1)."""
    pose: RelativePose
    points: Array
    """(M, 3) the matched points in the current camera, metres; NaN where there is no depth."""
    indices0: NDArray[np.intp]
    """(M,) of the matches among the features of the reference."""
    indices1: NDArray[np.intp]
    """(M,) among those of the current view."""
    doubtful: bool = False
    """Whether a large part of the matches tells of another motion, which cannot be the camera's."""

    def median_px(self) -> float:
        """Median motion in the image of the matches, of those that agree on a pose where there is one."""
        motion = np.linalg.norm(self.matches.refined1 - self.matches.refined0, axis=1)
        return float(np.median(motion[self.pose.inliers] if self.pose.ok else motion))


class Stopwatch:
    """Milliseconds per stage of one frame, in the order they began."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stage_ms[name] = self.stage_ms.get(name, 0.0) + 1e3 * (time.perf_counter() - start)


class MotionEstimator:
    """Describes and relates the frames of one rig. What it learns of the rig while driving is all that it remembers."""

    def __init__(self, config: Config, rig: Rig, front_end: FrontEnd, other: OtherOdometry | None = None) -> None:
        """`other` gives one camera its metres where the configuration wants that.

        Raises:
            DataError: the rig lacks the second camera or the depth that the mode asks for.
            ConfigError: there is no `other`, and the configuration wants it.
        """
        self.mode = _mode_for(config.mode, rig)
        """mono, stereo or rgbd."""
        self.metric = self.mode != "mono"
        self._config = config
        self._rig = rig
        self._pair = virtual_pair(rig, config.odometry.depth_baseline_m) if self.mode == "rgbd" else rig
        self._front_end = front_end
        self._mono_scale = mono_scale(config.odometry, rig.left, other) if self.mode == "mono" else None
        self.reset()

    def reset(self) -> None:
        """Forget what was learnt of the rig."""
        estimated = self._config.odometry.estimate_right_centre and self.mode == "stereo"
        self.right_centre = RightCentre.unknown() if estimated else RightCentre()
        if self._mono_scale is not None:
            self._mono_scale.reset()

    @property
    def may_be_metric(self) -> bool:
        """Whether poses are in metres, or are when somebody knows how far one camera moved."""
        return self.metric or self._mono_scale is not None

    def reconfigure(self, config: Config) -> None:
        """Other settings from the next frame on; preset, mode, device and the names of models must stay as they are."""
        changed = config.odometry.estimate_right_centre != self._config.odometry.estimate_right_centre
        self._config = config
        if changed:
            self.reset()
        self._front_end.reconfigure(config)

    def window(self) -> SlidingWindow:
        """An empty window over frames of this rig."""
        settings = self._config
        return SlidingWindow(
            self._pair,
            settings.odometry.window_keyframes,
            settings.pose.reprojection_threshold_px,
            settings.pose.use_match_covariance,
            settings.odometry.window_followed if self._front_end.refiner.name == "subpx" else 0,
        )

    def describe(self, frame: Frame, watch: Stopwatch) -> View:
        """Features of the left or only image, with the disparity of each where the right image or the depth has one."""
        with watch.stage("features"):
            frame = made_visible(frame, self._config.features.min_contrast)
        if self.mode == "stereo":
            return self._describe_pair(frame, watch)
        with watch.stage("features"):
            (features,) = self._front_end.detect([frame.image])
        if self.mode == "mono":
            return View(frame.stamp_ns, features, Disparities(np.full(len(features), np.nan)))
        assert frame.depth is not None
        with watch.stage("depth"):
            disparity = disparity_from_depth(frame.depth, features.keypoints.cpu().numpy(), self._pair)
        return View(frame.stamp_ns, features, Disparities(disparity))

    def _describe_pair(self, frame: Frame, watch: Stopwatch) -> View:
        assert frame.right_image is not None and self._rig.right is not None
        principal_offset_px = self._rig.left.cx - self._rig.right.cx
        if self._front_end.stereo_by_patches:
            with watch.stage("features"):
                (left,) = self._front_end.detect([frame.image])
            searched = searched_disparities(left, frame.right_image, principal_offset_px, self._config.matching)
            return View(frame.stamp_ns, left, searched)
        with watch.stage("features"):
            left, right = self._front_end.detect([frame.image, frame.right_image])
        with watch.stage("stereo"):
            found = self._front_end.match_along_rows(left, right, principal_offset_px)
        with watch.stage("refinement"):
            refined = self._front_end.refine(left, right, found)
        return View(frame.stamp_ns, left, self._disparities(len(left), found, refined))

    def _disparities(self, count: int, found: Matches, refined: RefinedMatches) -> Disparities:
        difference = refined.refined0 - refined.refined1
        plausible = np.abs(difference[:, 1]) <= self._config.matching.max_row_difference_px
        indices = found.indices0.cpu().numpy()[plausible]

        def spread(values: Array) -> Array:
            every = np.full(count, np.nan)
            every[indices] = values[plausible]
            return every

        covariance = refined.covariance1
        return Disparities(spread(difference[:, 0]), None if covariance is None else spread(covariance[:, 0, 0]))

    def too_empty(self, view: View) -> str:
        """Why other views cannot be related to this one, for people; empty where they can."""
        view.disparities.require(np.arange(len(view.features)))
        usable, needed = view.with_depth if self.metric else len(view.features), self._config.pose.min_matches
        what = {"mono": "keypoints", "stereo": "left-right matches", "rgbd": "keypoints with depth"}[self.mode]
        return "" if usable >= needed else f"{usable} {what}, {needed} needed to begin"

    def relate(
        self,
        reference: View,
        current: View,
        watch: Stopwatch,
        tracks: Tracks | None = None,
        predicted: Array | None = None,
        expected: ExpectedMotion | None = None,
    ) -> Motion:
        """Refined matches of the reference to the current view, and the pose that they give.

        Args:
            reference: the view to relate to.
            current: the view in question.
            watch: takes the times.
            tracks: of the reference, where it continues older ones: they are refined against the frames that saw their
                points first.
            predicted: T_reference_current (4, 4) as it is expected.
            expected: the same, where its certainty is known.
        """
        with watch.stage("matching"):
            found = self._front_end.match(reference.features, current.features)
        if self.metric:
            with watch.stage("stereo" if self.mode == "stereo" else "depth"):
                found = _with_depth(found, reference)
        indices0, indices1 = (indices.cpu().numpy() for indices in (found.indices0, found.indices1))
        around = Tracks.fresh(reference) if tracks is None else tracks
        with watch.stage("pose"):
            rough = self._rough_pose(reference, current, found, expected)
            near = np.ones(len(found), dtype=bool) if rough is None else rough.near
            ahead = self._ahead(around, indices0[near], predicted if rough is None else rough.T_0_1)
        if self.metric:
            with watch.stage("stereo" if self.mode == "stereo" else "depth"):
                disparities = np.full(len(found), np.nan)
                if rough is not None and ahead is not None:
                    disparities[near] = ahead.disparity
                current.disparities.require(indices1, disparities)
        with watch.stage("refinement"):
            if rough is None:
                matches = self._refine(around, current, found, ahead)
            else:
                chosen = found[torch.from_numpy(near).to(found.scores.device)]
                refined = self._refine(around, current, chosen, ahead, well_known=True)
                matches = among_detected(refined, near, reference.features, current.features, found)
        with watch.stage("pose"):
            if self.metric:
                return self._in_metres(reference, current, found, matches, expected, rough)
            camera = self._rig.left
            pose = estimate_mono(
                matches.refined0, matches.refined1, camera, camera, self._config.pose, matches.covariance1
            )
            if self._mono_scale is not None:
                pose = self._mono_scale.metric(pose, matches, reference.stamp_ns, current.stamp_ns)
        return Motion(matches, pose, np.full((len(matches), 3), np.nan), indices0, indices1)

    def _in_metres(
        self,
        reference: View,
        current: View,
        found: Matches,
        matches: RefinedMatches,
        expected: ExpectedMotion | None,
        rough: RoughPose | None,
    ) -> Motion:
        """The motion that matches with a depth tell; it teaches the right camera's principal point."""
        indices0, indices1 = (indices.cpu().numpy() for indices in (found.indices0, found.indices1))
        # The first point is where it is seen: what is uncertain is where the second image shows it.
        certain = None if matches.covariance1 is None else np.zeros_like(matches.covariance1)
        before = reference.disparities.points(indices0, matches.refined0, certain)
        moved = matches.refined1 - matches.detected1
        now = current.disparities.points(indices1, matches.refined1, matches.covariance1, moved)
        world = WorldEstimator(before, now, self._pair, self._config, self.right_centre)
        pose, centre, doubtful = world.estimate(expected, None if rough is None else rough.T_0_1)
        if not doubtful:
            self.right_centre = self.right_centre.updated(centre)
        return Motion(matches, pose, triangulate(now, self._corrected_pair), indices0, indices1, doubtful)

    def _rough_pose(
        self, reference: View, current: View, found: Matches, expected: ExpectedMotion | None
    ) -> RoughPose | None:
        """The pose that matches agree on before they are refined, where it is the one that was expected.

        Where it is not, something large may move by itself, and no match can be told to be wrong.
        """
        within_px = self._config.odometry.refine_within_px
        if expected is None or within_px == 0.0 or not self.metric:
            return None
        indices0, indices1 = (indices.cpu().numpy() for indices in (found.indices0, found.indices1))
        points = reference.disparities.points(indices0, reference.features.places[indices0], None)
        places1 = current.features.places[indices1]
        rough = rough_stereo(points, places1, self._corrected_pair, self._config.pose, within_px)
        return rough if rough is not None and expected.distance(rough.pose) <= UNSUSPICIOUS else None

    @property
    def _corrected_pair(self) -> Rig:
        """With what was learnt of the right camera."""
        return self.right_centre.applied_to(self._pair)

    def _ahead(self, tracks: Tracks, indices0: NDArray[np.intp], T_reference_current: Array | None) -> Ahead | None:
        """Features (M,) of the reference after a motion (4, 4), where that and depths are known."""
        if T_reference_current is None or not self.metric:
            return None
        return seen_ahead(tracks, indices0, invert(T_reference_current), self._corrected_pair)

    def _refine(
        self, tracks: Tracks, current: View, found: Matches, ahead: Ahead | None, well_known: bool = False
    ) -> RefinedMatches:
        """The second point of every match refined against the view that saw its point first.

        Args:
            tracks: of the reference's features.
            current: the other view.
            found: the matches.
            ahead: how the other view is expected to show them.
            well_known: whether their places are known to a pixel or two.
        """
        indices0, device = found.indices0.cpu().numpy(), found.indices0.device
        predicted = predicted_matches(tracks, indices0, ahead, well_known, device)
        feature = torch.from_numpy(tracks.feature[indices0]).to(device)
        refined = self._front_end.refine_tracked(
            [view.features for view in tracks.views],
            tracks.anchor[indices0],
            current.features,
            replace(found, indices0=feature, predicted=predicted),
        )
        if not tracks.older:
            return refined
        return replace(
            refined,
            detected0=tracks.views[-1].features.places[indices0],
            refined0=tracks.seen_at[indices0],
            # Refiners that move the first keypoint as well leave it behind: the point of a track stays where it is.
            refined1=refined.refined1 + refined.detected0 - refined.refined0,
        )


def _with_depth(found: Matches, reference: View) -> Matches:
    """The matches that a pose in metres can be found from: those whose reference keypoint has a depth."""
    indices = found.indices0.cpu().numpy()
    reference.disparities.require(indices)
    return found[
        torch.from_numpy(np.flatnonzero(np.isfinite(reference.disparities.px[indices]))).to(found.scores.device)
    ]


def _mode_for(mode: str, rig: Rig) -> str:
    """What `mode` means for the rig."""
    if mode not in ("auto", "mono", rig.mode):
        needed, found = ("a rig of two cameras", "one") if mode == "stereo" else ("a rig with depth", "one without")
        raise DataError(f"mode '{mode}' needs {needed}; got {found}: choose mode 'mono', or give what is missing")
    return rig.mode if mode == "auto" else mode
