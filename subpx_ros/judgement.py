"""What a relative pose is worth: the state of the odometry, and whether the camera has moved at all."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Array, PoseStatus, RelativePose, TrackingState
from subpx_ros.geometry import invert, logarithm

_ROUNDING = 1e-9
"""Of a variance: so much is the least that counts."""


def judge(
    relative: RelativePose, points: Array, *, stands_still: bool, metric: bool, config: OdometryConfig
) -> tuple[TrackingState, str]:
    """The state, and why it is not TRACKING.

    Args:
        relative: of the current frame.
        points: (M, 3) the matched points in the current camera; NaN where it shows no depth.
        stands_still: whether the matches hardly move in the image.
        metric: whether poses are in metres; one camera's are not.
        config: limits of DEGRADED.
    """
    if relative.status is PoseStatus.NO_REFERENCE:
        return TrackingState.INITIALISING, relative.reason
    if relative.ok:
        if relative.reason and not stands_still:
            return TrackingState.DEGRADED, relative.reason
        weakness = _weakness(relative.inliers, config)
        if metric and not weakness:
            weakness = _flatness(points[relative.inliers], config)
        return (TrackingState.DEGRADED, weakness) if weakness else (TrackingState.TRACKING, "")
    if relative.status is PoseStatus.DEGENERATE and not metric:
        # One camera that stands still is where it was; one that turns on the spot is not, but will be found again
        # once it has moved away from the reference.
        return (TrackingState.TRACKING, "") if stands_still else (TrackingState.DEGRADED, relative.reason)
    return TrackingState.LOST, relative.reason


def _weakness(agree: NDArray[np.bool_], config: OdometryConfig) -> str:
    inliers, matches = int(np.count_nonzero(agree)), len(agree)
    if inliers < config.degraded_inliers:
        return f"only {inliers} inliers, {config.degraded_inliers} wanted"
    if inliers < config.degraded_inlier_ratio * matches:
        return f"only {inliers} of {matches} matches agree with the pose, {config.degraded_inlier_ratio:.0%} wanted"
    return ""


def _flatness(points: Array, config: OdometryConfig) -> str:
    """A pose needs the depths of the reference only; without those of this frame the next one has nothing to begin from."""
    deep = int(np.count_nonzero(np.isfinite(points[:, 2])))
    if deep < config.degraded_inliers:
        return f"only {deep} of {len(points)} inliers have a depth in this frame, {config.degraded_inliers} wanted"
    return ""


class Standstill:
    """The pose to show of a camera that hardly moved: the one shown before, unless the new one is truly another.

    The estimates of a camera at rest scatter. Following each of them would make a robot at rest tremble, and its path
    grow. A slow motion is not lost: it is measured against the same reference until it is larger than the noise.
    """

    CONFIRMATIONS = 3
    """So many frames in a row must say that it moved: one estimate in some hundred is far off."""

    def __init__(self) -> None:
        self._moved = 0

    def leave(self) -> None:
        """The camera moves."""
        self._moved = 0

    def shown(self, T_shown: Array, T_found: Array, covariance: Array, sigmas: float) -> tuple[Array, Array]:
        """
        Args:
            T_shown: (4, 4) pose in the reference shown before.
            T_found: (4, 4) pose in the reference estimated now.
            covariance: (6, 6) of T_found, as RelativePose defines it.
            sigmas: how many standard deviations apart they must be for T_found to be another one.

        Returns:
            T_shown with a covariance that covers its distance from T_found, or T_found with its own.
        """
        turned = logarithm(T_found @ invert(T_shown))[3:]
        distance = np.concatenate([T_found[:3, 3] - T_shown[:3, 3], turned])
        moved = distance @ np.linalg.pinv(covariance, hermitian=True) @ distance >= sigmas**2
        self._moved = self._moved + 1 if moved else 0
        if sigmas == 0.0 or self._moved >= self.CONFIRMATIONS:
            return T_found, covariance
        return T_shown, covariance + np.outer(distance, distance)


def vagueness(covariance: Array) -> float:
    """Logarithm of the geometric mean of the variances of a pose along the axes of its covariance (6, 6).

    The difference of two does not depend on the units of the axes.
    """
    # A direction that is claimed to be certain, as of a length from elsewhere, must not turn rounding into a verdict.
    ridge = _ROUNDING * np.diag(np.diag(covariance))
    return float(np.linalg.slogdet(covariance + ridge)[1]) / len(covariance)


class TypicalVagueness:
    """How vague poses were lately, and which are too vague to be a reference.

    A pose relates two frames, so a frame that is hard to see spoils two of them, unless the way goes around it. Errors
    of a way add up at random, so that twice the way has about twice the variance: going around one frame pays where the
    pose to it alone has more than that of two usual ones.
    """

    _REMEMBERED = 20
    _LEAST_REMEMBERED = 5
    _TWO_FOR_ONE = 2.0
    _LEAST_SECONDS = 1e-6

    def __init__(self) -> None:
        self._per_second: deque[float] = deque(maxlen=self._REMEMBERED)

    def is_exceeded(self, covariance: Array, seconds: float) -> bool:
        """Whether the pose of a motion that took so long has more than twice the usual variance; it is remembered as well.

        Args:
            covariance: (6, 6) of the pose.
            seconds: that the motion took.
        """
        before, now = list(self._per_second), vagueness(covariance) - math.log(max(seconds, self._LEAST_SECONDS))
        self._per_second.append(now)
        if len(before) < self._LEAST_REMEMBERED:
            return False
        return now > float(np.median(before)) + math.log(self._TWO_FOR_ONE)
