"""What frames are related to, and what became of a frame that was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from subpx_ros.datatypes import Array, TrackingState
from subpx_ros.dead_reckoning import Step, Uncertainty
from subpx_ros.judgement import TypicalVagueness, vagueness
from subpx_ros.motion_model import NS_TO_S, Place
from subpx_ros.relative_motion import Motion, View

REFUSED, DOUBTED, TRUSTED = range(3)
"""How far a frame's relation to a reference can be relied on."""
_PATIENCE = 3
"""So many frames after one that is to be doubted, or whose pose is poor, are first related to the reference before it."""


@dataclass(frozen=True)
class Reference:
    """A view, and where the odometry was when it was taken."""

    view: View
    place: Place
    measured: bool = True
    """Whether the way to it was: not behind a loss or a bridge."""
    way: Place | None = None
    """Its pose in the reference that it stands beside, where that is not to be doubted."""


@dataclass(frozen=True)
class Outcome:
    """What became of a frame."""

    reference: Reference | None
    motion: Motion
    state: TrackingState
    reason: str
    located: bool
    """Whether the pose of the frame becomes known."""
    stands_still: bool = False
    beside: bool = False
    """Whether it will not replace its reference, but stand beside it."""
    placed: tuple[Array, Uncertainty] | None = None
    """The pose (4, 4) in the odometry frame and its uncertainty, where the window knows more than the motion."""
    bridged: tuple[Array, Uncertainty] | None = None
    """The same as the motion before predicts it, where none was found."""

    @property
    def trust(self) -> int:
        """REFUSED, DOUBTED or TRUSTED."""
        if self.state is TrackingState.LOST:
            return REFUSED
        return DOUBTED if self.state is TrackingState.DEGRADED or self.motion.doubtful else TRUSTED


class References:
    """The view that frames are related to; then the newest one, where it is not to replace that yet.

    A frame that hardly moved does not replace its reference, so that standing still does not drift. One that could not
    be related stands beside the reference, which a bad image must not cost. So does, for a few frames, one whose pose is
    to be doubted, in case that the next one sees past it; and one whose pose is poor, as that of a blurred or dark image:
    it would spoil two motions, the one to it and the one from it, where the way around it is a single good one.
    """

    def __init__(self, *, metric: bool) -> None:
        """`metric`: one camera's motions have no length that a way around a frame would keep."""
        self._metric = metric
        self._kept: list[Reference] = []
        self._passed_over = 0
        """Frames in a row that did not replace the reference."""
        self._typical = TypicalVagueness()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._kept)

    def is_first(self, reference: Reference) -> bool:
        """Whether it is the one that frames are related to before any other."""
        return reference is self._kept[0]

    def forget(self) -> None:
        self._kept = []

    def settled_by(self, outcome: Outcome) -> bool:
        """Whether a frame that was related to one of them need not be related to the next one.

        The way over a poor frame is vaguer than its first part, but how much is known only when it has been tried.
        """
        way = self._kept[-1].way
        if outcome.trust < TRUSTED or way is None:
            return outcome.trust == TRUSTED
        return self._vagueness(outcome) <= vagueness(way.uncertainty.covariance)

    def best(self, outcomes: list[Outcome], stamp_ns: int, *, around_poor: bool) -> Outcome:
        """Of a frame that was related to one or more of them: what leaves the least doubt, then the least uncertainty.

        Args:
            outcomes: in the order of the references.
            stamp_ns: of the frame.
            around_poor: whether a poor frame may stand beside its reference.
        """
        found = [outcome for outcome in outcomes if outcome.trust != REFUSED]
        if not found:
            return outcomes[-1]
        best = min(found, key=lambda outcome: (-outcome.trust, self._vagueness(outcome)))
        return replace(best, beside=self._stands_beside(best, stamp_ns, around_poor))

    def stand_beside(self, view: View, place: Place, *, measured: bool) -> None:
        """A frame that was related to none."""
        self._kept = [*self._kept[:1], Reference(view, place, measured)]

    def follow(self, view: View, place: Place, outcome: Outcome) -> None:
        """A frame that was related to one of them."""
        reference, pose = outcome.reference, outcome.motion.pose
        if reference is None:
            return
        if outcome.stands_still or pose.T_reference_current is None or pose.covariance is None:
            self._kept = [replace(reference, way=None)]
        elif not outcome.beside:
            self._kept = [Reference(view, place)]
        else:
            known = self.is_first(reference) and outcome.trust == TRUSTED
            way = Place(view.stamp_ns, pose.T_reference_current, Uncertainty(pose.covariance)) if known else None
            self._kept = [self._kept[0], Reference(view, place, reference.measured, way)]

    def _stands_beside(self, outcome: Outcome, stamp_ns: int, around_poor: bool) -> bool:
        """Whether a frame must not replace the first reference: for doubts or as poor, and not for too long already."""
        reference, pose = outcome.reference, outcome.motion.pose
        if reference is None or pose.covariance is None or not outcome.located:
            return False
        if outcome.stands_still or not self._metric:
            return False
        # What is poor by the poor frame that it is related to would be passed over for no fault of its own.
        vague = self._typical.is_exceeded(pose.covariance, (stamp_ns - reference.view.stamp_ns) * NS_TO_S)
        poor = around_poor and vague and self.is_first(reference)
        trusted = outcome.trust == TRUSTED and reference.measured
        self._passed_over = 0 if trusted and not poor else self._passed_over + 1
        return 0 < self._passed_over <= _PATIENCE

    def _vagueness(self, outcome: Outcome) -> float:
        """Of the pose of a frame in the first reference; infinite where nobody knows it."""
        reference, pose = outcome.reference, outcome.motion.pose
        if reference is None or pose.T_reference_current is None or pose.covariance is None:
            return np.inf
        if self.is_first(reference):
            return vagueness(pose.covariance)
        if reference.way is None:
            return np.inf
        _, uncertainty = reference.way.moved(Step(pose.T_reference_current, pose.covariance))
        return vagueness(uncertainty.covariance)
