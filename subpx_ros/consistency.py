"""The pose that the world tells, where something large moves by itself.

Most matches may lie on a vehicle that drives ahead; the pose that they agree on is the motion against that vehicle. It
contradicts the motion before, which a rig with mass cannot change at once. Then the pose that grows from the predicted
one is tried, and, behind one moving object after the other, what the rest of the matches agrees on (sequential RANSAC).
"""

from __future__ import annotations

import numpy as np

from subpx_ros.config import Config
from subpx_ros.datatypes import Array, PoseStatus, RelativePose, Rig
from subpx_ros.geometry import invert, rotation_angle
from subpx_ros.motion_model import ExpectedMotion
from subpx_ros.pose import estimate_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import StereoPoints

UNSUSPICIOUS = 1.0
"""Standard deviations from the predicted pose within which nothing else is tried."""
_AS_MUCH_SUPPORT = 0.8
"""A pose nearer to the predicted one wins with so many of the matches of another."""
_CLEARLY_NEARER = 0.9
"""And where it is nearer by more than rounding."""
_ROUNDS = 3
"""Of choosing inliers anew and polishing, from a pose that was not made from them."""
_MOVING_OBJECTS = 3
"""So many of them are looked behind at most."""
_NEARLY_ALL = 0.8
"""Where so many of the matches agree, and nothing behind them speaks for the prediction, the rig itself moved suddenly."""

_Found = tuple[RelativePose, RightCentre]


class WorldEstimator:
    """Poses from the matches of one pair of frames, the best supported one first, then others."""

    def __init__(
        self, reference: StereoPoints, current: StereoPoints, rig: Rig, config: Config, right_centre: RightCentre
    ) -> None:
        """
        Args:
            reference: M matched points in the reference pair.
            current: the same in the current pair.
            rig: the cameras as calibrated.
            config: `odometry.motion_gate_sigmas`, and the thresholds of poses.
            right_centre: what is known of the right principal point.
        """
        self._reference, self._current = reference, current
        self._rig, self._config, self._right_centre = rig, config.pose, right_centre
        self._gate = config.odometry.motion_gate_sigmas

    def estimate(
        self, expected: ExpectedMotion | None, start: Array | None = None
    ) -> tuple[RelativePose, RightCentre, bool]:
        """As `estimate_stereo`, of the poses that can be the camera's own motion; and whether there was another one, so
        that the matches are to be doubted.

        Args:
            expected: the motion as predicted; None where nothing is known of it: the best supported pose counts.
            start: a pose (4, 4) that the best supported one is polished from; None: RANSAC's.
        """
        best = self._solve(self._reference, self._current, start)
        if start is not None and not best[0].ok:
            best = self._solve(self._reference, self._current)
        if expected is None or self._gate == 0.0 or not best[0].ok or expected.distance(best[0]) <= UNSUSPICIOUS:
            return *best, False
        grown = self._grown_from(expected.T_reference_current)
        if grown is not None and self._rather(grown[0], best[0], expected):
            return *grown, True
        if expected.distance(best[0]) <= self._gate:
            return *best, False
        other = self._behind(best[0], expected)
        if other is None and self._nearly_all_agree(best[0]):
            return *best, False
        return *(other or (_refused(best[0], expected), self._right_centre)), True

    def _nearly_all_agree(self, pose: RelativePose) -> bool:
        usable = np.count_nonzero(np.isfinite(self._reference.disparity))
        return bool(np.count_nonzero(pose.inliers) >= _NEARLY_ALL * usable)

    def _rather(self, grown: RelativePose, best: RelativePose, expected: ExpectedMotion) -> bool:
        distance, before = expected.distance(grown), expected.distance(best)
        as_good = bool(grown.inliers.sum() >= _AS_MUCH_SUPPORT * best.inliers.sum())
        return distance < _CLEARLY_NEARER * before and distance <= self._gate and (as_good or before > self._gate)

    def _grown_from(self, start: Array) -> _Found | None:
        """The pose that the matches near a pose (4, 4) agree on, and those near that one."""
        for _ in range(_ROUNDS):
            pose, centre = self._solve(self._reference, self._current, start)
            if pose.T_reference_current is None:
                return None
            start = pose.T_reference_current
        return pose, centre

    def _behind(self, moving: RelativePose, expected: ExpectedMotion) -> _Found | None:
        """The first pose near the predicted one, the matches of those with more support left out."""
        others = np.flatnonzero(~moving.inliers)
        for _ in range(_MOVING_OBJECTS):
            pose, _ = self._solve(self._reference[others], self._current[others])
            if pose.T_reference_current is None:
                return None
            if expected.distance(pose) <= self._gate:
                # Far points agree with the moving object and with the world, and belong to both.
                return self._grown_from(pose.T_reference_current)
            others = others[~pose.inliers]
        return None

    def _solve(self, reference: StereoPoints, current: StereoPoints, start: Array | None = None) -> _Found:
        return estimate_stereo(reference, current, self._rig, self._config, self._right_centre, start)


def _refused(pose: RelativePose, expected: ExpectedMotion) -> RelativePose:
    assert pose.T_reference_current is not None
    apart = invert(expected.T_reference_current) @ pose.T_reference_current
    metres, degrees = float(np.linalg.norm(apart[:3, 3])), float(np.rad2deg(rotation_angle(apart[:3, :3])))
    reason = (
        f"{np.count_nonzero(pose.inliers)} of {len(pose.inliers)} matches agree on a pose {metres:.2g} m and {degrees:.2g} "
        "deg from the predicted one: something large moves by itself"
    )
    return RelativePose(PoseStatus.FEW_INLIERS, reason, inliers=np.zeros(len(pose.inliers), dtype=bool))
