"""One camera's motions in metres, by whatever knows how long they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from subpx_ros.datatypes import Array, RefinedMatches, RelativePose
from subpx_ros.scale.length import LengthSource, UnitMotion

_REST_PX = 1.0
"""Median motion in the image up to which a camera counts as resting where its reference was taken."""
_SHORT_REST_S = 1.0


@dataclass(frozen=True)
class _Rest:
    """The last time that the camera was seen where a reference was taken."""

    reference_ns: int
    last_ns: int
    moved_px: float


class MonoScale:
    """Gives motions of unit length their length, or says why it is not known. Remembers how long the camera stood still.

    A camera that stands still keeps its reference, so that the first motion afterwards is measured against a frame that may
    be minutes old. What a source says of those minutes, time that passed or wheels that spun, is not part of the motion.
    """

    def __init__(self, source: LengthSource) -> None:
        self._source = source
        self._rest: _Rest | None = None

    def reset(self) -> None:
        """Forget what was before."""
        self._rest = None
        self._source.rested()

    def metric(self, pose: RelativePose, matches: RefinedMatches, reference_ns: int, current_ns: int) -> RelativePose:
        """The pose with a translation in metres; as it is where there is none, and with a reason where its length is not known.

        Args:
            pose: of unit length, from the matches.
            matches: reference (0) to current (1).
            reference_ns: stamp of the reference.
            current_ns: stamp of the current frame.
        """
        agreeing = pose.inliers if pose.ok else np.ones(len(matches), dtype=bool)
        pixels0, pixels1 = matches.refined0[agreeing], matches.refined1[agreeing]
        moved_px = _median_motion(pixels0, pixels1)
        if moved_px <= _REST_PX:
            self._rested(_Rest(reference_ns, current_ns, moved_px))
        if pose.T_reference_current is None or pose.covariance is None:
            return pose
        if current_ns <= reference_ns:
            return _unscaled(pose, "no time passed between the frames")
        since_ns, share = self._moving(reference_ns, current_ns, moved_px)
        T, covariance = pose.T_reference_current, pose.covariance
        motion = UnitMotion(T, covariance, pixels0, pixels1, reference_ns, since_ns, share, current_ns)
        length = self._source.length(motion)
        if length.reason:
            return _unscaled(pose, length.reason)
        units = np.concatenate([np.full(3, length.metres), np.ones(3)])
        covariance = covariance * np.outer(units, units)
        covariance[:3, :3] += length.variance * np.outer(motion.direction, motion.direction)
        return replace(pose, T_reference_current=lengthened(T, length.metres), covariance=covariance, metric=True)

    def _rested(self, rest: _Rest) -> None:
        self._rest = rest
        if (rest.last_ns - rest.reference_ns) * 1e-9 > _SHORT_REST_S:
            self._source.rested()

    def _moving(self, reference_ns: int, current_ns: int, moved_px: float) -> tuple[int, float]:
        """Since when the camera has moved, and which share of the motion came since then."""
        rest = self._rest
        if rest is None or rest.reference_ns != reference_ns or not rest.last_ns < current_ns:
            return reference_ns, 1.0
        share = 1.0 - rest.moved_px / moved_px
        return (rest.last_ns, share) if share >= 0.5 else (reference_ns, 1.0)


def lengthened(T: Array, factor: float) -> Array:
    """T (4, 4) with its translation multiplied."""
    longer = T.copy()
    longer[:3, 3] *= factor
    return longer


def _unscaled(pose: RelativePose, why: str) -> RelativePose:
    return replace(pose, reason=f"the length of the motion is not known: {why}")


def _median_motion(pixels0: Array, pixels1: Array) -> float:
    """Pixels; infinite without matches, which is no sign of rest."""
    motion = np.linalg.norm(pixels1 - pixels0, axis=1)
    return float(np.median(motion)) if len(motion) else np.inf
