"""The road's centreline: straight parts and bends with a curvature that changes smoothly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from subpx_ros.datatypes import Array

STEP_M = 0.05


@dataclass(frozen=True)
class Bends:
    """How a road winds. Pairs are the range that a random value is taken from."""

    first_straight_m: tuple[float, float] = (16.0, 24.0)
    """From the road's beginning to its first bend."""
    straight_m: tuple[float, float] = (24.0, 40.0)
    radius_m: tuple[float, float] = (20.0, 26.0)
    heading: tuple[float, float] = (0.5, 0.75)
    """Of a straight part against the road's main direction, radians; to the left and to the right in turn."""
    ramp_m: float = 7.0
    """Length over which the curvature grows at the start of a bend, and falls at its end."""


class Centreline:
    """A planar curve by arc length s in metres, from `start` to `end`; s = 0 is at the world's origin.

    Bends lead to the left and to the right in turn, and the heading of the straight parts stays within 45 degrees, so
    that the road always leads towards +x and never crosses itself.
    """

    def __init__(self, rng: np.random.Generator, start: float, end: float, bends: Bends | None = None) -> None:
        first_heading, curvature = _curvature(rng, start, end, bends or Bends())
        self._s = start + STEP_M * np.arange(len(curvature))
        heading = first_heading + _integral(curvature)
        position = np.stack([_integral(np.cos(heading)), _integral(np.sin(heading))], axis=1)
        position -= position[np.searchsorted(self._s, 0.0)]
        self._states = np.column_stack([position, heading, curvature])

    def at(self, s: ArrayLike) -> Array:
        """(..., 4): x, y in metres, heading in radians, curvature in 1/m (positive: bends to the left)."""
        s = np.asarray(s, dtype=np.float64)
        return np.stack([np.interp(s, self._s, column) for column in self._states.T], axis=-1)

    def offset(self, s: ArrayLike, left: ArrayLike, height: float = 0.0) -> Array:
        """Points (..., 3) at `left` metres to the left of the centreline and `height` above the road."""
        x, y, heading, _ = np.moveaxis(self.at(s), -1, 0)
        left = np.asarray(left, dtype=np.float64)
        return np.stack([x - left * np.sin(heading), y + left * np.cos(heading), np.full_like(x, height)], axis=-1)

    def steps(self, start: float, end: float, longest: float, turn: float) -> Array:
        """Arc lengths (n,) from start to end, at most `longest` metres and `turn` radians apart."""
        marks = [start]
        while marks[-1] < end:
            curvature = np.abs(self.at(np.linspace(marks[-1], marks[-1] + longest, 5))[:, 3]).max()
            marks.append(marks[-1] + min(longest, turn / max(curvature, 1e-6)))
        marks[-1] = end
        return np.array(marks)


def _curvature(rng: np.random.Generator, start: float, end: float, bends: Bends) -> tuple[float, Array]:
    """First heading, and the curvature at every step."""
    s = np.arange(start, end + STEP_M, STEP_M)
    curvature = np.zeros_like(s)
    side = 1.0 if rng.random() < 0.5 else -1.0
    first_heading = heading = -side * rng.uniform(*bends.heading)
    mark = rng.uniform(*bends.first_straight_m)
    while mark < end:
        target = side * rng.uniform(*bends.heading)
        radius = rng.uniform(*bends.radius_m)
        plateau = max(abs(target - heading) * radius - bends.ramp_m, 0.0)
        rise = np.clip((s - mark) / bends.ramp_m, 0.0, 1.0)
        fall = np.clip((s - mark - bends.ramp_m - plateau) / bends.ramp_m, 0.0, 1.0)
        curvature += (_smoothstep(rise) - _smoothstep(fall)) * (target - heading) / (plateau + bends.ramp_m)
        mark += plateau + 2.0 * bends.ramp_m + rng.uniform(*bends.straight_m)
        heading, side = target, -side
    return first_heading, curvature


def _smoothstep(t: Array) -> Array:
    return t * t * (3.0 - 2.0 * t)


def _integral(values: Array) -> Array:
    """Cumulative trapezoids, 0 at the first sample."""
    return np.concatenate([[0.0], np.cumsum(0.5 * (values[1:] + values[:-1]))]) * STEP_M
