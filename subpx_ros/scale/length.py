"""How far one camera moved: what a source of metres is asked, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array


@dataclass(frozen=True)
class Length:
    """Of the camera's motion from the reference to the current frame, or why it is not known."""

    metres: float = float("nan")
    variance: float = float("inf")
    """m^2"""
    reason: str = ""
    """One clause for people; empty where the length is known."""


@dataclass(frozen=True)
class UnitMotion:
    """What the images alone say of a motion."""

    T_reference_current: Array
    """(4, 4), translation of unit length."""
    covariance: Array
    """(6, 6), as RelativePose defines it."""
    pixels0: Array
    """(M, 2) of the matches that agree with the motion, in the reference frame."""
    pixels1: Array
    """(M, 2) in the current frame."""
    reference_ns: int
    moving_since_ns: int
    """When the camera was last seen to rest where the reference was taken; reference_ns where it was not."""
    moving_share: float
    """Of the motion in the image, what came after moving_since_ns; in (0, 1]."""
    current_ns: int

    @property
    def seconds(self) -> float:
        """How long the motion took, without the rest before it."""
        return (self.current_ns - self.moving_since_ns) * 1e-9 / self.moving_share

    @property
    def direction(self) -> Array:
        """(3,) unit vector in the reference camera."""
        return np.asarray(self.T_reference_current[:3, 3])


class LengthSource(ABC):
    """Says how far the camera moved."""

    @abstractmethod
    def length(self, motion: UnitMotion) -> Length:
        """Of a motion that takes longer than no time."""

    def rested(self) -> None:
        """The camera stood still for a while, or nothing is known of it any more: its speed before says nothing."""
