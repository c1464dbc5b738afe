"""Constant velocity: what the camera is expected to do next."""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import rotation_from_vector, se3, vector_from_rotation


class MotionModel:
    """Remembers the last motion that was measured."""

    def __init__(self) -> None:
        self._velocity: Array | None = None
        """(6,) metres and radians per second, in the axes of the frame that the motion began at."""

    def measured(self, T_reference_current: Array, seconds: float) -> None:
        """A motion (4, 4) that took so long."""
        if seconds <= 0.0:
            return
        turn = vector_from_rotation(T_reference_current[:3, :3])
        self._velocity = np.concatenate([T_reference_current[:3, 3], turn]) / seconds

    def stopped(self) -> None:
        """The camera stands still."""
        self._velocity = np.zeros(6)

    def forget(self) -> None:
        """Nobody knows how the camera moves."""
        self._velocity = None

    def predicted(self, seconds: float) -> Array | None:
        """T_reference_current (4, 4) after so long; None where no motion was measured yet."""
        if self._velocity is None:
            return None
        return se3(rotation_from_vector(self._velocity[3:] * seconds), self._velocity[:3] * seconds)
