"""Where the camera is: composed of relative poses, bridged for a few frames without one, held where it stands still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import TrackingState
from subpx_ros.dead_reckoning import Step, Uncertainty
from subpx_ros.geometry import invert
from subpx_ros.judgement import Standstill
from subpx_ros.motion_model import NS_TO_S, MotionModel, Place
from subpx_ros.references import Outcome

UNKNOWN_VARIANCE = 1e6
"""m^2 and rad^2 on the diagonal of the covariance of a pose that is not known."""


class Whereabouts:
    """The pose of the odometry, and what motion is expected from it."""

    def __init__(self, *, metric: bool, may_be_metric: bool) -> None:
        """
        Args:
            metric: whether every motion is in metres.
            may_be_metric: whether motions are, wherever somebody knows how far one camera moved.
        """
        self._metric, self._may_be_metric = metric, may_be_metric
        self.T_odom_camera = np.eye(4)
        self.uncertainty = Uncertainty(np.zeros((6, 6)))
        self.model = MotionModel()
        self._standstill = Standstill()
        self._bridged_frames = 0
        self._at_rest = False

    def place(self, stamp_ns: int) -> Place:
        """Where the odometry is now."""
        return Place(stamp_ns, self.T_odom_camera, self.uncertainty)

    def bridge(self, outcome: Outcome, stamp_ns: int, config: OdometryConfig) -> Outcome:
        """A frame that could not be related, for a few frames and while the motion before is known well: where it should be."""
        last, frames = self.model.last, self._bridged_frames + 1
        if outcome.state is not TrackingState.LOST or outcome.reference is None or last is None:
            return outcome
        expected = self.model.expected(last.stamp_ns, stamp_ns)
        seconds = (stamp_ns - last.stamp_ns) * NS_TO_S
        if expected is None or frames > config.bridge_frames or seconds > config.max_gap_s:
            return outcome
        reason = f"{outcome.reason}: bridged with the motion before, frame {frames} of {config.bridge_frames}"
        T_bridged, uncertainty = last.moved(Step(expected.T_reference_current, expected.covariance))
        bridged = self.T_odom_camera if self._at_rest else T_bridged, uncertainty
        return replace(outcome, state=TrackingState.DEGRADED, reason=reason, located=True, bridged=bridged)

    def advance(self, outcome: Outcome, config: OdometryConfig) -> None:
        """Compose the odometry where a pose was found; stay put where it was not, or where the camera stands still."""
        if outcome.state is TrackingState.INITIALISING or not outcome.located:
            # Whatever is related to a frame that is not located inherits that nobody knows where it was.
            self.uncertainty = Uncertainty(np.zeros((6, 6)) if outcome.located else UNKNOWN_VARIANCE * np.eye(6))
        if outcome.bridged is not None:
            self.T_odom_camera, self.uncertainty = outcome.bridged
            return
        reference, pose = outcome.reference, outcome.motion.pose
        if reference is None or not outcome.located:
            return
        if outcome.stands_still and not self._metric:
            # The translation of one camera has unit length, however little it moved.
            self.T_odom_camera, self.uncertainty = reference.place.T_odom_camera, reference.place.uncertainty
            return
        if outcome.placed is not None:
            self._standstill.leave()
            self.T_odom_camera, self.uncertainty = outcome.placed
            return
        assert pose.T_reference_current is not None and pose.covariance is not None
        T_found, covariance = pose.T_reference_current, pose.covariance
        if outcome.stands_still:
            T_shown = invert(reference.place.T_odom_camera) @ self.T_odom_camera
            T_found, covariance = self._standstill.shown(T_shown, T_found, covariance, config.standstill_sigmas)
        else:
            self._standstill.leave()
        step = Step.measured(T_found, covariance, pose, config)
        self.T_odom_camera, self.uncertainty = reference.place.moved(step)

    def learn(self, outcome: Outcome, stamp_ns: int, config: OdometryConfig, *, certain: bool) -> None:
        """What is expected of the next frames, from those whose place is `certain`."""
        if outcome.bridged is not None:
            self._bridged_frames += 1
        elif not outcome.located or not self._may_be_metric:
            self.model.forget()
        else:
            self._bridged_frames, self._at_rest = 0, outcome.stands_still
            if certain:
                self.model.measured(self._measured_place(outcome, stamp_ns, config))

    def _measured_place(self, outcome: Outcome, stamp_ns: int, config: OdometryConfig) -> Place:
        """Where the images say that the camera is, although it may be shown where it stood."""
        pose, reference = outcome.motion.pose, outcome.reference
        if not outcome.stands_still or reference is None or pose.T_reference_current is None or pose.covariance is None:
            return self.place(stamp_ns)
        step = Step.measured(pose.T_reference_current, pose.covariance, pose, config)
        return Place(stamp_ns, *reference.place.moved(step))
