"""Visual odometry of one camera, with or without depth, or of a rectified stereo pair.

Each frame is described once, related to a reference, judged, perhaps bridged, and perhaps made the next reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from subpx_ros.config import Config
from subpx_ros.datatypes import (
    Frame,
    OdometryResult,
    PoseStatus,
    RefinedMatches,
    RelativePose,
    Rig,
    TrackingState,
)
from subpx_ros.dead_reckoning import Step, with_common_error
from subpx_ros.errors import DataError
from subpx_ros.judgement import judge
from subpx_ros.pipeline import FrontEnd
from subpx_ros.references import Outcome, Reference, References
from subpx_ros.relative_motion import Motion, MotionEstimator, Stopwatch, View
from subpx_ros.scale import OtherOdometry
from subpx_ros.whereabouts import Whereabouts
from subpx_ros.window import SlidingWindow
from subpx_ros.window.tracks import Tracks

_FIRST_FRAME = "first frame"


class VisualOdometry:
    """Turns frames into poses. Loads its models when made; one thread at a time may call it."""

    def __init__(
        self,
        config: Config,
        rig: Rig,
        report: Callable[[str], None] = lambda line: None,
        front_end: FrontEnd | None = None,
        other: OtherOdometry | None = None,
    ) -> None:
        """
        Args:
            config: all settings; its mode must fit the rig.
            rig: the cameras of every frame to come.
            report: called with lines for people while models load.
            front_end: models that are loaded already, for the same configuration.
            other: another odometry of the robot, which says how far one camera moves where the configuration wants that.

        Raises:
            DataError: the rig lacks the second camera or the depth that the mode asks for.
            ConfigError: there is no `other`, and the configuration wants it.
            SubpxError: a model, its weights or the device cannot be had.
        """
        self._config = config.odometry
        self._rig = rig
        self._front_end = front_end or FrontEnd(config, report)
        self._estimator = MotionEstimator(config, rig, self._front_end, other)
        self.reset()

    @property
    def mode(self) -> str:
        """mono, stereo or rgbd."""
        return self._estimator.mode

    @property
    def detector(self) -> str:
        return self._front_end.detector.name

    @property
    def matcher(self) -> str:
        return self._front_end.matcher.name

    @property
    def refiner(self) -> str:
        return self._front_end.refiner.name

    @property
    def device(self) -> str:
        return str(self._front_end.device)

    def reset(self) -> None:
        """Forget all frames; the next one becomes the origin."""
        metric, may_be_metric = self._estimator.metric, self._estimator.may_be_metric
        self._references = References(metric=may_be_metric)
        self._whereabouts = Whereabouts(metric=metric, may_be_metric=may_be_metric)
        self._last_stamp_ns: int | None = None
        self._interruption = ""
        self._window: SlidingWindow | None = None
        self._window_base: Reference | None = None
        """The frame that the window began with."""
        self._estimator.reset()

    def reconfigure(self, config: Config) -> None:
        """Other settings from the next frame on; preset, mode, device and the names of models must stay as they are."""
        self._config = config.odometry
        self._estimator.reconfigure(config)

    def process(self, frame: Frame) -> OdometryResult:
        """The pose of the next frame.

        Raises:
            DataError: the frame comes from another rig.
        """
        if frame.rig != self._rig:
            raise DataError(f"a frame of the rig {self._rig} was required; got one of {frame.rig}: make a new odometry")
        watch = Stopwatch()
        with watch.stage("total"):
            view = self._estimator.describe(frame, watch)
            self._forget_beyond_gap(frame.stamp_ns)
            outcome = self._track(view, watch)
            outcome = self._estimate_together(view, outcome, watch)
            outcome = self._whereabouts.bridge(outcome, frame.stamp_ns, self._config)
            self._whereabouts.advance(outcome, self._config)
            self._keep(view, outcome)
            self._whereabouts.learn(outcome, frame.stamp_ns, self._config, certain=len(self._references) == 1)
        matches, relative = outcome.motion.matches, outcome.motion.pose
        return OdometryResult(
            stamp_ns=frame.stamp_ns,
            state=outcome.state,
            reason=outcome.reason,
            T_odom_camera=self._whereabouts.T_odom_camera,
            covariance=self._whereabouts.uncertainty.covariance,
            located=outcome.located,
            metric=self._estimator.may_be_metric,
            relative_pose=relative,
            reference_stamp_ns=outcome.reference.view.stamp_ns if outcome.reference else None,
            matches=matches,
            points=outcome.motion.points,
            counts={
                "keypoints": len(view.features),
                "stereo_matches": view.with_depth,
                "matches": len(matches),
                "inliers": int(np.count_nonzero(relative.inliers)),
            },
            stage_ms=_total_last(watch.stage_ms),
            bridged=outcome.bridged is not None,
        )

    def _forget_beyond_gap(self, stamp_ns: int) -> None:
        """After a gap in the stamps nothing is related to what was before."""
        before, self._last_stamp_ns = self._last_stamp_ns, stamp_ns
        gap_s = 0.0 if before is None else (stamp_ns - before) * 1e-9
        if gap_s > self._config.max_gap_s and self._references:
            self._references.forget()
            self._interruption = f"gap of {gap_s:.3g} s between frames, {self._config.max_gap_s:g} s are bridged"

    def _track(self, view: View, watch: Stopwatch) -> Outcome:
        """The view related to the first reference that settles where it is, else to the one that tells it best."""
        if not self._references:
            return self._begin(view)
        outcomes = []
        for reference in self._references:
            outcomes.append(self._related(reference, view, watch))
            if self._references.settled_by(outcomes[-1]):
                break
        # A window weighs what a poor frame tells, and would lose its tracks by going around it.
        return self._references.best(outcomes, view.stamp_ns, around_poor=self._window is None)

    def _related(self, reference: Reference, view: View, watch: Stopwatch) -> Outcome:
        stamps = reference.view.stamp_ns, view.stamp_ns
        predicted = self._whereabouts.model.predicted((stamps[1] - stamps[0]) * 1e-9)
        expected = self._whereabouts.model.expected(*stamps)
        motion = self._estimator.relate(reference.view, view, watch, self._tracks_of(reference), predicted, expected)
        motion = replace(motion, pose=with_common_error(motion.pose, self._config))
        still = motion.median_px() < self._config.keyframe_min_motion_px if len(motion.matches) else False
        state, reason = judge(
            motion.pose, motion.points, stands_still=still, metric=self._estimator.metric, config=self._config
        )
        # One camera that turned on the spot is not lost, but where it looks is not known; nor where it is while it is to
        # have metres and nobody says how far it moved.
        located = state is TrackingState.TRACKING or (motion.pose.ok and (still or not motion.pose.reason))
        return Outcome(reference, motion, state, reason, located, still)

    def _tracks_of(self, reference: Reference) -> Tracks | None:
        """The points that the window knows of a reference; it begins anew with a first one that it does not know."""
        if self._config.window_keyframes < 2 or not self._estimator.metric:
            self._window = None
            return None
        if self._window is None:
            self._window = self._estimator.window()
        if self._window.newest is not reference.view:
            if not self._references.is_first(reference):
                return None
            self._window.begin(reference.view, self._estimator.right_centre.shift_px)
            self._window_base = reference
        return self._window.tracks

    def _estimate_together(self, view: View, outcome: Outcome, watch: Stopwatch) -> Outcome:
        """The pose of a frame that is to replace its reference, from all that the window knows."""
        if self._window is None or outcome.stands_still or outcome.beside or not outcome.motion.pose.ok:
            return outcome
        if outcome.reference is None or outcome.reference.view is not self._window.newest:
            return outcome
        with watch.stage("window"):
            estimate = self._window.add(view, outcome.motion, self._estimator.right_centre.shift_px)
        if estimate is None:
            return outcome
        pose = replace(
            outcome.motion.pose,
            T_reference_current=estimate.T_reference_current,
            covariance=estimate.relative_covariance,
            right_centre=None,
        )
        assert self._window_base is not None
        placed = self._window_base.place.moved(Step(estimate.T_window_camera, estimate.covariance))
        return replace(outcome, motion=replace(outcome.motion, pose=pose), placed=placed)

    def _begin(self, view: View) -> Outcome:
        """No pose yet, and why: this is the first frame, or it is too empty to be one, or tracking was interrupted."""
        empty, interrupted = self._estimator.too_empty(view), self._interruption
        reason = ": ".join(filter(None, [interrupted, empty])) or _FIRST_FRAME
        pose = RelativePose(PoseStatus.LOST if interrupted else PoseStatus.NO_REFERENCE, reason)
        state = TrackingState.LOST if interrupted else TrackingState.INITIALISING
        return Outcome(None, _no_motion(pose), state, reason, reason == _FIRST_FRAME)

    def _keep(self, view: View, outcome: Outcome) -> None:
        """Decide what the next frames are related to."""
        place = self._whereabouts.place(view.stamp_ns)
        unrelated = outcome.bridged is not None or outcome.state in (TrackingState.LOST, TrackingState.INITIALISING)
        lengthless = outcome.motion.pose.ok and not outcome.located
        if not unrelated and not lengthless:
            self._references.follow(view, place, outcome)
        elif not self._estimator.too_empty(view):
            self._references.stand_beside(view, place, measured=outcome.located and outcome.bridged is None)
            self._interruption = ""


def _no_motion(pose: RelativePose) -> Motion:
    empty, none = np.zeros((0, 2)), np.zeros(0, dtype=np.intp)
    matches = RefinedMatches(empty, empty, empty, empty, np.zeros(0, dtype=np.float32))
    return Motion(matches, pose, np.zeros((0, 3)), none, none)


def _total_last(stage_ms: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in stage_ms.items() if name != "total"} | {"total": stage_ms["total"]}
