"""What frames are related to, and what became of a frame that was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from subpx_ros.datatypes import Array, TrackingState
from subpx_ros.dead_reckoning import Uncertainty
from subpx_ros.motion_model import Place
from subpx_ros.relative_motion import Motion, View
from subpx_ros.window import WindowEstimate

REFUSED, DOUBTED, TRUSTED = range(3)
"""How far a frame's relation to a reference can be relied on."""
_PATIENCE = 3
"""So many frames after one that is to be doubted are first related to the reference before it."""


@dataclass(frozen=True)
class Reference:
    """A view, and where the odometry was when it was taken."""

    view: View
    place: Place
    measured: bool = True
    """Whether the way to it was: not behind a loss or a bridge."""


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
    estimate: WindowEstimate | None = None
    """Of the frame, together with those before it."""
    bridged: tuple[Array, Uncertainty] | None = None
    """The pose (4, 4) in the odometry frame and its uncertainty as the motion before predicts them, where none was found."""

    @property
    def trust(self) -> int:
        """REFUSED, DOUBTED or TRUSTED."""
        if self.state is TrackingState.LOST:
            return REFUSED
        return DOUBTED if self.state is TrackingState.DEGRADED or self.motion.doubtful else TRUSTED


class References:
    """The view that frames are related to; then the newest one, where it could not be related or is to be doubted.

    A frame that hardly moved does not replace its reference, so that standing still does not drift. One that could not
    be related stands beside the reference, which a bad image must not cost; and so, for a few frames, does one whose pose
    is to be doubted, in case that the next one sees past it.
    """

    def __init__(self) -> None:
        self._kept: list[Reference] = []
        self._untrusted_frames = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._kept)

    def forget(self) -> None:
        self._kept = []

    def stand_beside(self, view: View, place: Place, *, measured: bool) -> None:
        """A frame that was related to none."""
        self._kept = [*self._kept[:1], Reference(view, place, measured)]

    def follow(self, view: View, place: Place, outcome: Outcome, *, metric: bool) -> None:
        """A frame that was related to one of them. One camera's motions have no length that a way around them would keep."""
        reference = outcome.reference
        if reference is None:
            return
        if outcome.stands_still or not outcome.motion.pose.ok:
            self._kept = [reference]
            return
        trusted = outcome.trust == TRUSTED and reference.measured
        self._untrusted_frames = 0 if trusted else self._untrusted_frames + 1
        patient = metric and self._untrusted_frames <= _PATIENCE
        new = Reference(view, place, reference.measured or not patient)
        self._kept = [*self._kept[:1], new] if patient and not trusted else [new]
