"""Which points are worth their time, where there are more than there is time for."""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.window.bundle import Indices

_CELL_PX = 160.0
"""Side of the squares that get equally many points: the best of every square first, then the second best of every one."""


def spread_over_image(pixels: Array, worth: Array | Indices, most: int) -> Indices:
    """Numbers of at most so many places, rising.

    Args:
        pixels: (N, 2) where they are.
        worth: (N,) which are to be preferred among neighbours: the larger.
        most: how many.
    """
    if len(pixels) <= most:
        return np.arange(len(pixels))
    column, row = np.floor(pixels / _CELL_PX).astype(np.intp).T
    cell = (row - row.min()) * (np.ptp(column) + 1) + column - column.min()
    order = np.lexsort((-worth, cell))
    first = np.flatnonzero(np.diff(cell[order], prepend=-1))
    size = np.diff(np.append(first, len(order)))
    rank = np.arange(len(order)) - np.repeat(first, size)
    return np.sort(order[np.lexsort((-worth[order], rank))[:most]])
