"""Metres from a speed that is known beforehand, as on a rail, a conveyor or a turntable rig."""

from __future__ import annotations

from subpx_ros.scale.length import Length, LengthSource, UnitMotion

_DEVIATION = 0.05
"""Relative standard deviation of a speed that somebody keeps to."""


class FromSpeed(LengthSource):
    """Whenever the camera moves it moves at this speed. While it stands still, which the images show, nothing is asked."""

    def __init__(self, speed_mps: float) -> None:
        """`speed_mps` of the camera, m/s."""
        self._speed_mps = speed_mps

    def length(self, motion: UnitMotion) -> Length:
        metres = self._speed_mps * motion.seconds
        return Length(metres, (_DEVIATION * metres) ** 2)
