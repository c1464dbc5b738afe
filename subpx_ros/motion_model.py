"""What the camera is expected to do next, and how surely: it goes on as it did, but for an acceleration.

Constant velocity with an unknown constant acceleration meanwhile (Bar-Shalom, Li and Kirubarajan, Estimation with
Applications to Tracking and Navigation, section 6.2), whose size is learned from how far the predictions before were off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array, RelativePose
from subpx_ros.dead_reckoning import Step, Uncertainty
from subpx_ros.geometry import exponential, invert, logarithm, vector_from_rotation

_LEAST_ACCELERATION = np.repeat([2.0, 2.0], 3)
"""m/s^2 and rad/s^2: so much a standard deviation is taken to be at least, also of a robot that moved evenly so far."""
_SHARE_OF_NEWEST = 0.1
"""Of the square of the acceleration that is learned from one frame."""
_LEAST_COMPARED = 3
"""So many predictions must have been compared with what came before anything is expected with a known certainty."""
NS_TO_S = 1e-9


@dataclass(frozen=True)
class ExpectedMotion:
    """Where a camera should be if it goes on as it did."""

    T_reference_current: Array
    """(4, 4) metres."""
    covariance: Array
    """(6, 6) as RelativePose defines it."""

    def distance(self, pose: RelativePose) -> float:
        """How many standard deviations a pose that was found is away, its own uncertainty counted as well."""
        assert pose.T_reference_current is not None and pose.covariance is not None
        difference = _difference(pose.T_reference_current, self.T_reference_current)
        return float(np.sqrt(difference @ np.linalg.solve(self.covariance + pose.covariance, difference)))


@dataclass(frozen=True)
class Place:
    """Where the odometry is at an instant."""

    stamp_ns: int
    T_odom_camera: Array
    """(4, 4)"""
    uncertainty: Uncertainty

    def moved(self, step: Step) -> tuple[Array, Uncertainty]:
        """The pose (4, 4) after a step, and its uncertainty."""
        return self.T_odom_camera @ step.T_here_there, step.after(self.T_odom_camera, self.uncertainty)


class MotionModel:
    """Follows the places that were measured."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nobody knows how the camera moves."""
        self.last: Place | None = None
        """The newest place that was measured."""
        self._velocity: Array | None = None
        """(6,) metres and radians per second, a twist in the axes of the camera."""
        self._interval_s = 0.0
        """That the velocity is the mean of."""
        self._square_acceleration = _LEAST_ACCELERATION**2
        self._compared = 0

    def measured(self, place: Place) -> None:
        """A pose that images gave; newer than the one before."""
        before, self.last = self.last, place
        if before is None:
            return
        seconds = (place.stamp_ns - before.stamp_ns) * NS_TO_S
        if seconds <= 0.0:
            return
        step = invert(before.T_odom_camera) @ place.T_odom_camera
        if self._velocity is not None:
            missed = _difference(step, exponential(self._velocity * seconds))
            squared = (missed / self._lever(0.0, seconds)) ** 2
            learned = self._square_acceleration + _SHARE_OF_NEWEST * (squared - self._square_acceleration)
            self._square_acceleration = np.maximum(learned, _LEAST_ACCELERATION**2)
            self._compared += 1
        self._velocity, self._interval_s = logarithm(step) / seconds, seconds

    def predicted(self, seconds: float) -> Array | None:
        """The motion (4, 4) of so long a time; None where none was measured yet."""
        return None if self._velocity is None else exponential(self._velocity * seconds)

    def expected(self, from_ns: int, to_ns: int) -> ExpectedMotion | None:
        """The motion between two instants, the later one newer than the last place; None where too little was measured."""
        if self.last is None or self._compared < _LEAST_COMPARED:
            return None
        seconds, age_s = (to_ns - from_ns) * NS_TO_S, (from_ns - self.last.stamp_ns) * NS_TO_S
        predicted = self.predicted(seconds)
        assert predicted is not None
        deviation = np.sqrt(self._square_acceleration) * self._lever(max(age_s, 0.0), seconds)
        turned = np.kron(np.eye(2), predicted[:3, :3])
        return ExpectedMotion(predicted, turned @ np.diag(deviation**2) @ turned.T)

    def _lever(self, age_s: float, seconds: float) -> float:
        """What an acceleration of one makes of the motion of `seconds` that begins `age_s` after the last place.

        The velocity is the mean of an interval, hence that in its middle.
        """
        return seconds * (age_s + 0.5 * (seconds + self._interval_s))


def _difference(T_a_b: Array, T_a_c: Array) -> Array:
    """(6,) translation and rotation vector, in the axes of a, from c to b."""
    return np.concatenate([T_a_b[:3, 3] - T_a_c[:3, 3], vector_from_rotation(T_a_b[:3, :3] @ T_a_c[:3, :3].T)])
