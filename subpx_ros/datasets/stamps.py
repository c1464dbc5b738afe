"""What belongs together by time: images of two cameras, and poses of a tracker at the stamps of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.console import note
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import interpolate

LONGEST_APART_NS = 20_000_000
"""Images that belong together may be stamped this far apart, and less than half a period."""
_LONGEST_GAP_NS = 200_000_000
"""Of a tracker that interpolation bridges: a fifth of a second of handheld motion is smooth, more is a guess."""


def nearest_pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (N, 2) of stamps in ns, each the nearest to the other, close enough to be of one instant.

    Args:
        first: (A,) increasing, at least one.
        second: (B,) increasing, at least one.
    """
    period = int(np.median(np.diff(first))) if len(first) > 1 else 2 * LONGEST_APART_NS
    partner, back = _nearest(first, second), _nearest(second, first)
    mutual = back[partner] == np.arange(len(first))
    near = np.abs(second[partner] - first) < min(period // 2, LONGEST_APART_NS)
    kept = mutual & (near | (second[partner] == first))
    return np.stack([first[kept], second[partner[kept]]], axis=1)


def _nearest(queries: NDArray[np.int64], stamps: NDArray[np.int64]) -> NDArray[np.intp]:
    """Index (Q,) of the nearest of `stamps` to each query."""
    after = np.clip(np.searchsorted(stamps, queries), 1, max(len(stamps) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(stamps) - 1)
    return np.where(queries - stamps[before] <= stamps[after] - queries, before, after)


@dataclass(frozen=True)
class Track:
    """Where something was, as a tracker saw it."""

    stamps_ns: tuple[int, ...]
    """(T,) increasing, at least one."""
    poses: Array
    """(T, 4, 4) T_world_tracked, metres."""

    def frames_within(self, stamps_ns: Sequence[int], name: str) -> slice:
        """The frames that lie within the time of the tracker; says on stderr how many do not.

        Raises:
            DataError: none does.
        """
        first = int(np.searchsorted(stamps_ns, self.stamps_ns[0]))
        last = int(np.searchsorted(stamps_ns, self.stamps_ns[-1], side="right"))
        if first >= last:
            raise DataError(
                f"{name}: no image lies within the time of the ground truth, {self.stamps_ns[0]} to "
                f"{self.stamps_ns[-1]} ns: are they of one recording and one clock?"
            )
        left_out = len(stamps_ns) - (last - first)
        if left_out:
            note(f"{name}: {left_out} of {len(stamps_ns)} frames before or after the ground truth are left out")
        return slice(first, last)

    def at(self, stamps_ns: Sequence[int], name: str) -> Array | None:
        """Poses (N, 4, 4) at stamps within the time of the tracker, interpolated between its two nearest ones.

        Positions go along a line, rotations at constant speed about one axis.

        Returns:
            None, said on stderr, where a frame lies in a gap of the tracker that is too long to be bridged.
        """
        stamps, tracked = np.array(stamps_ns, dtype=np.int64), np.array(self.stamps_ns, dtype=np.int64)
        after = np.searchsorted(tracked, stamps)
        before = np.where(tracked[after] == stamps, after, after - 1)
        gaps = tracked[after] - tracked[before]
        if gaps.max() > _LONGEST_GAP_NS:
            worst = int(gaps.argmax())
            note(f"{name}: the ground truth pauses for {gaps[worst] * 1e-9:.2f} s at frame {worst} and is not used")
            return None
        shares = (stamps - tracked[before]) / np.maximum(gaps, 1)
        ends = zip(self.poses[before], self.poses[after], shares, strict=True)
        return np.array([interpolate(start, end, float(share)) for start, end, share in ends])
