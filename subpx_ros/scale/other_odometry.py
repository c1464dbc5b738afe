"""Another odometry of the same robot, as a source of distances: wheels, legs, whatever tells poses with stamps."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import interpolate

LONGEST_GAP_S = 0.5
"""Between two poses that interpolation bridges."""
LONGEST_AHEAD_S = 0.1
"""Beyond the newest pose, as images may overtake it."""
_KEPT_S = 60.0
_MOST_KEPT = 30_000
_TIME_WENT_BACK_S = 1.0
"""A stamp that is older by less came late; by more, a recording loops."""
_ACCELERATION = 2.0
"""m/s^2, standard deviation of what a robot does between two poses."""
_RESOLUTION_M = 1e-3
"""Standard deviation of a position, as encoders count."""
_HIGHEST_SPEED = 100.0
"""m/s; faster is a jump."""
_JUMP_M = 0.1


@dataclass(frozen=True)
class Sample:
    """One pose of the other odometry."""

    stamp_ns: int
    T_odom_tracked: Array
    """(4, 4) metres: what it tracks, x forward, in its own fixed frame."""
    speed: float | None = None
    """m/s that it claims beside the pose; None where it does not."""
    velocity_covariance: Array | None = None
    """(3, 3) m^2/s^2 of the velocity in tracked axes; None where it is not known."""


@dataclass(frozen=True)
class Travel:
    """From one instant to another, or why that is not known."""

    displacement: Array | None = None
    """(3,) metres, in tracked axes at the first instant."""
    seconds: float = 0.0
    deviation_m: float = 0.0
    """Of each end along the way, from interpolation and resolution."""
    velocity_covariance: Array | None = None
    """(3, 3) m^2/s^2 as the newest pose claims it."""
    reason: str = ""

    @property
    def metres(self) -> float:
        return float("nan") if self.displacement is None else float(np.linalg.norm(self.displacement))


class OtherOdometry:
    """Poses of the last while. One thread may add them while another asks."""

    def __init__(self, kept_s: float = 60.0) -> None:
        """`kept_s`: how long poses are kept, by their stamps; infinite for those of a file."""
        self.mount: Array | None = None
        """(4, 4) T_tracked_camera, in optical axes; None while it is not known."""
        self.unmounted = "where the camera sits on what it tracks is not known"
        """Why there is no mount."""
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._kept: deque[_Kept] = deque(maxlen=None if np.isinf(kept_s) else _MOST_KEPT)
        self._claims_speed = False
        self._refused = ""

    def clear(self) -> None:
        """Forget all poses."""
        with self._lock:
            self._kept.clear()
            self._claims_speed, self._refused = False, ""

    def refuse(self, why: str) -> None:
        """The next pose cannot be used: said with whatever is missing, until one can."""
        with self._lock:
            self._refused = why

    def add(self, sample: Sample) -> str:
        """Takes the next pose. Returns what is odd about it, for people; empty where nothing is.

        When time goes back, as in a recording that loops, all that was before is forgotten; what was before a jump is
        not related to what comes after it.

        Raises:
            DataError: it came too late, or a second time.
        """
        with self._lock:
            newest = self._kept[-1] if self._kept else None
            back_s = 0.0 if newest is None else (newest.sample.stamp_ns - sample.stamp_ns) * 1e-9
            if newest is not None and sample.stamp_ns <= newest.sample.stamp_ns and back_s <= _TIME_WENT_BACK_S:
                self._refused = f"a stamp must be newer than the one before; it is {back_s:.3f} s older"
                raise DataError(self._refused)
            self._refused = ""
            self._claims_speed |= bool(sample.speed)
            if newest is None or back_s > 0.0:
                self._kept.clear()
                self._kept.append(_Kept(sample, 0))
                return f"its stamps went back by {back_s:.3f} s" if back_s > 0.0 else ""
            jump = self._jump(sample, newest.sample)
            self._kept.append(_Kept(sample, newest.piece + bool(jump)))
            while (sample.stamp_ns - self._kept[0].sample.stamp_ns) * 1e-9 > self._kept_s:
                self._kept.popleft()
            return jump

    def _jump(self, sample: Sample, before: Sample) -> str:
        seconds = (sample.stamp_ns - before.stamp_ns) * 1e-9
        step_m = float(np.linalg.norm(sample.T_odom_tracked[:3, 3] - before.T_odom_tracked[:3, 3]))
        fastest = _HIGHEST_SPEED
        if self._claims_speed and sample.speed is not None and before.speed is not None:
            fastest = 2.0 * max(sample.speed, before.speed) + _ACCELERATION * seconds
        return f"it jumped by {step_m:.3g} m in {seconds:.3f} s" if step_m > fastest * seconds + _JUMP_M else ""

    def travel(self, start_ns: int, end_ns: int) -> Travel:
        """What was tracked from one stamp to a later one."""
        with self._lock:
            start, end = self._at(start_ns), self._at(end_ns)
            claimed = self._kept[-1].sample.velocity_covariance if self._kept else None
            refused = f"; the last one was refused: {self._refused}" if self._refused else ""
        if isinstance(start, str) or isinstance(end, str):
            return Travel(reason=f"{start if isinstance(start, str) else end}{refused}")
        if start.piece != end.piece:
            return Travel(reason="it jumped between the frames")
        displacement = start.pose[:3, :3].T @ (end.pose[:3, 3] - start.pose[:3, 3])
        deviation_m = float(np.hypot(start.deviation_m, end.deviation_m))
        return Travel(displacement, (end_ns - start_ns) * 1e-9, deviation_m, claimed)

    def _at(self, stamp_ns: int) -> _Place | str:
        """Where it was at a stamp, or why that is not known."""
        if not self._kept:
            return "none has been heard"
        after = bisect_left(self._kept, stamp_ns, key=_stamp)
        if after == len(self._kept):
            return self._ahead(stamp_ns)
        second = self._kept[after]
        if second.sample.stamp_ns == stamp_ns:
            return _Place(second.sample.T_odom_tracked, _RESOLUTION_M, second.piece)
        if after == 0:
            return f"it begins {(second.sample.stamp_ns - stamp_ns) * 1e-9:.3f} s after a frame"
        first = self._kept[after - 1]
        gap_s = (second.sample.stamp_ns - first.sample.stamp_ns) * 1e-9
        if gap_s > LONGEST_GAP_S:
            return f"it pauses for {gap_s:.3f} s at a frame, {LONGEST_GAP_S:g} s are bridged"
        return _place(first, second, stamp_ns, gap_s**2 / 8.0)

    def _ahead(self, stamp_ns: int) -> _Place | str:
        """As `_at`, after the newest pose: as it moved within as long a time before it."""
        newest = self._kept[-1]
        ahead_s = (stamp_ns - newest.sample.stamp_ns) * 1e-9
        if ahead_s > LONGEST_AHEAD_S:
            return f"it ends {ahead_s:.3f} s before a frame, {LONGEST_AHEAD_S:g} s are bridged"
        earlier = bisect_left(self._kept, 2 * newest.sample.stamp_ns - stamp_ns + 1, key=_stamp) - 1
        first = self._kept[max(earlier, 0)]
        span_s = (newest.sample.stamp_ns - first.sample.stamp_ns) * 1e-9
        if not 0.0 < span_s <= LONGEST_GAP_S:
            return f"it ends {ahead_s:.3f} s before a frame, and little is known of what was before"
        return _place(first, newest, stamp_ns, 0.5 * ahead_s * (ahead_s + span_s))


@dataclass(frozen=True)
class _Kept:
    """A pose; between pieces it jumped."""

    sample: Sample
    piece: int


@dataclass(frozen=True)
class _Place:
    """Where it was at an instant."""

    pose: Array
    deviation_m: float
    piece: int


def _stamp(kept: _Kept) -> int:
    return kept.sample.stamp_ns


def _place(first: _Kept, second: _Kept, stamp_ns: int, seconds_squared: float) -> _Place | str:
    """On, or straight beyond, the way from the first to the second; an acceleration deviates from it."""
    if first.piece != second.piece:
        return "it jumped at a frame"
    start, end = first.sample, second.sample
    share = (stamp_ns - start.stamp_ns) / (end.stamp_ns - start.stamp_ns)
    pose = interpolate(start.T_odom_tracked, end.T_odom_tracked, share)
    return _Place(pose, float(np.hypot(_RESOLUTION_M, _ACCELERATION * seconds_squared)), second.piece)
