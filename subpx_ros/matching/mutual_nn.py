"""Mutual nearest neighbours of descriptors, over the whole image or along the rows of a rectified stereo pair."""

from __future__ import annotations

from collections.abc import Callable

import torch

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.matching.matcher import Matcher, no_matches
from subpx_ros.parallel import each_by_a_thread, parts_for

_BLOCK = 256
"""Rows of similarities that are held at a time: a megabyte for each 1024 columns."""


class MutualNearestNeighbours(Matcher):
    """Pairs of descriptors that are each other's nearest."""

    def _match(self, features0: Features, features1: Features) -> Matches:
        if self._config.max_ratio < 1.0:
            return self.among(features0.descriptors @ features1.descriptors.T)
        return nearest_in_blocks(features0.descriptors, features1.descriptors, self._config.min_similarity)

    def among(self, similarity: torch.Tensor, allowed: torch.Tensor | None = None) -> Matches:
        """Matches of a matrix (N, M) of cosine similarities, of the pairs that are allowed."""
        if allowed is not None:
            similarity = similarity.masked_fill(~allowed, -1.0)
        return mutual_nearest(similarity, self._config.min_similarity, self._config.max_ratio)


class StereoRowMatcher:
    """Mutual nearest neighbours among left-right pairs that a rectified pair allows: equal rows, positive disparity."""

    def __init__(self, config: MatchingConfig) -> None:
        self._config = config

    def match(self, left: Features, right: Features, principal_offset_px: float) -> Matches:
        """Left (0) to right (1) matches.

        Args:
            left: features of the left image.
            right: features of the right image.
            principal_offset_px: cx of the left camera minus cx of the right one, the disparity of a point at infinity.
        """
        if len(left) == 0 or len(right) == 0:
            return no_matches(left.keypoints.device)
        limits = self._config
        with torch.inference_mode():
            # Sorted by rows, a block of left points has its right ones close together.
            order0, order1 = left.keypoints[:, 1].argsort(stable=True), right.keypoints[:, 1].argsort(stable=True)
            keypoints0, keypoints1 = left.keypoints[order0], right.keypoints[order1]
            least_px = principal_offset_px + limits.min_disparity_px

            def allowed(rows: slice, columns: slice) -> torch.Tensor:
                difference = keypoints0[rows, None] - keypoints1[columns]
                return (difference[..., 1].abs() <= limits.max_row_difference_px) & (difference[..., 0] >= least_px)

            def reach(rows: slice) -> slice:
                if left.keypoints.is_cuda:
                    return slice(None)  # to ask a GPU for a number costs more than comparing with all
                ends = keypoints0[rows, 1][[0, -1]].contiguous()
                ends += torch.tensor([-1.0, 1.0], device=ends.device) * limits.max_row_difference_px
                first, last = (torch.searchsorted(keypoints1[:, 1].contiguous(), end) for end in ends)
                return slice(max(0, int(first) - 1), int(last) + 1)

            found = nearest_in_blocks(
                left.descriptors[order0], right.descriptors[order1], limits.min_similarity, allowed, reach
            )
            indices0, order = order0[found.indices0].sort()
            return Matches(indices0, order1[found.indices1][order], found.scores[order])


def nearest_in_blocks(
    descriptors0: torch.Tensor,
    descriptors1: torch.Tensor,
    least: float,
    allowed: Callable[[slice, slice], torch.Tensor] | None = None,
    reach: Callable[[slice], slice] = lambda rows: slice(None),
) -> Matches:
    """`mutual_nearest` of descriptors (N, D) and (M, D) without their whole matrix: memory grows with N + M.

    See `best_in_blocks`.
    """
    return chosen_matches(*best_in_blocks(descriptors0, descriptors1, least, allowed, reach))


def best_in_blocks(
    descriptors0: torch.Tensor,
    descriptors1: torch.Tensor,
    least: float,
    allowed: Callable[[slice, slice], torch.Tensor] | None = None,
    reach: Callable[[slice], slice] = lambda rows: slice(None),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The largest cosine similarity (N,) of each first descriptor, which second one has it (N,), and whether they match (N,).

    Args:
        descriptors0: (N, D) of unit length.
        descriptors1: (M, D) of unit length.
        least: cosine similarity that a match must exceed.
        allowed: which pairs (rows, columns) may match, as a mask of these; all unless given.
        reach: the columns outside of which nothing is allowed for some rows; all unless given.
    """
    count0, count1, device = len(descriptors0), len(descriptors1), descriptors0.device
    best0, nearest1 = torch.full((count0,), -1.0, device=device), torch.zeros(count0, dtype=torch.int64, device=device)

    def compare(blocks: range) -> torch.Tensor:
        """Fills the rows of these blocks; the largest values (M,) of the columns among them."""
        best1 = torch.full((count1,), -2.0, device=device)
        for start in blocks:
            rows = slice(start, min(start + _BLOCK, count0))
            columns = reach(rows)
            similarity = descriptors0[rows] @ descriptors1[columns].T
            if similarity.shape[1] == 0:
                continue
            if allowed is not None:
                similarity.masked_fill_(~allowed(rows, columns), -1.0)
            best0[rows], nearest = _largest_of_rows(similarity)
            nearest1[rows] = nearest + (columns.start or 0)
            torch.maximum(best1[columns], similarity.amax(dim=0), out=best1[columns])
        return best1

    count = parts_for(count0, device, count0, _BLOCK)
    shares = [range(first * _BLOCK, count0, count * _BLOCK) for first in range(count)]
    best1 = torch.stack(each_by_a_thread(compare, shares)).amax(dim=0)
    return best0, nearest1, _mutual(best0, nearest1, best1, least)


def mutual_nearest(similarity: torch.Tensor, least: float, max_ratio: float = 1.0) -> Matches:
    """Matches of a matrix (N, M) of cosine similarities: largest of their row and column, above `least`, and distinct.

    Distinct means that the distance of the descriptors is at most `max_ratio` times that of the second nearest, of
    either side.
    """
    best, nearest1 = similarity.max(dim=1)
    found = chosen_matches(best, nearest1, _mutual(best, nearest1, similarity.amax(dim=0), least))
    if max_ratio < 1.0:
        second = torch.maximum(_second(similarity)[found.indices0], _second(similarity.T)[found.indices1])
        distinct = second <= 1.0 - (1.0 - best[found.indices0]) / max_ratio**2
        return found[distinct]
    return found


def _largest_of_rows(similarity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest value (N,) of each row and its place (N,)."""
    if similarity.device.type != "cpu":
        return similarity.max(dim=1)
    # numpy looks for places with vector instructions, torch without.
    nearest = torch.from_numpy(similarity.numpy().argmax(axis=1))
    return similarity.gather(1, nearest[:, None])[:, 0], nearest


def _mutual(best0: torch.Tensor, nearest1: torch.Tensor, best1: torch.Tensor, least: float) -> torch.Tensor:
    """Which rows (N,) match, of largest values best0 (N,) at columns nearest1 (N,), whose own are best1 (M,).

    A match is mutual where the two values are one: no places along columns are needed, which lie apart in memory.
    """
    indices0 = torch.arange(len(nearest1), device=nearest1.device)
    mutual = best0 == best1[nearest1]
    # Of several equal rows the first gets the column.
    claims = indices0.masked_fill(~mutual, len(nearest1))
    first = claims.new_full(best1.shape, len(nearest1)).scatter_reduce(0, nearest1, claims, "amin")
    return mutual & (first[nearest1] == indices0) & (best0 > least)


def chosen_matches(best0: torch.Tensor, nearest1: torch.Tensor, matched: torch.Tensor) -> Matches:
    """The matches among rows (N,)."""
    rows = matched.nonzero()[:, 0]
    return Matches(rows, nearest1[rows], best0[rows].clamp(0.0, 1.0))


def _second(similarity: torch.Tensor) -> torch.Tensor:
    """The second largest value (N,) of each row (M values); -1, as far as can be, where there is only one."""
    if similarity.shape[1] < 2:
        return torch.full_like(similarity[:, 0], -1.0)
    return similarity.topk(2, dim=1).values[:, 1]
