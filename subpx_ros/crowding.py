"""Points whose patches overlap show the same pixels, and err alike: what that takes from the certainty of a pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array

_ALIKE = 0.65
_WIDTH_PX = 6.0
"""The errors of two points d pixels apart correlate by `_ALIKE * exp(-(d / _WIDTH_PX)^2)`. Patches that are weighed by a Gaussian
of 3 px overlap so; the rest of their errors is their own. See docs/performance.md."""
_FARTHEST_PX = 3.0 * _WIDTH_PX


def times_counted(pixels: Array) -> Array:
    """How often (M,) the error of each point at pixels (M, 2) enters a sum over all: once, and with every point beside it as far as
    that one errs alike. The variance of the sum is that of independent errors, each times this."""
    first, second = _close_pairs(pixels)
    squared = ((pixels[first] - pixels[second]) ** 2).sum(axis=1)
    alike = _ALIKE * np.exp(-squared / _WIDTH_PX**2)
    shared = sum(np.bincount(each, alike, minlength=len(pixels)) for each in (first, second))
    return np.asarray(1.0 + shared)


def _close_pairs(pixels: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of all pairs of points that are close along x, every pair once."""
    order = np.argsort(pixels[:, 0], kind="stable")
    along = pixels[order, 0]
    later = np.searchsorted(along, along + _FARTHEST_PX, side="right") - np.arange(len(order)) - 1
    first = np.repeat(np.arange(len(order)), later)
    nth = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return order[first], order[first + 1 + nth]
