"""Mutual nearest neighbours of descriptors, over the whole image or along the rows of a rectified stereo pair."""

from __future__ import annotations

import torch

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.matching.matcher import Matcher, no_matches


class MutualNearestNeighbours(Matcher):
    """Pairs of descriptors that are each other's nearest."""

    def _match(self, features0: Features, features1: Features) -> Matches:
        return self.among(features0.descriptors @ features1.descriptors.T)

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
        with torch.inference_mode():
            difference = left.keypoints[:, None] - right.keypoints[None]
            allowed = difference[..., 1].abs() <= self._config.max_row_difference_px
            allowed &= difference[..., 0] - principal_offset_px >= self._config.min_disparity_px
            similarity = (left.descriptors @ right.descriptors.T).masked_fill(~allowed, -1.0)
            return mutual_nearest(similarity, self._config.min_similarity)


def mutual_nearest(similarity: torch.Tensor, least: float, max_ratio: float = 1.0) -> Matches:
    """Matches of a matrix (N, M) of cosine similarities: largest of their row and column, above `least`, and distinct.

    Distinct means that the distance of the descriptors is at most `max_ratio` times that of the second nearest, of
    either side.
    """
    best, nearest1 = similarity.max(dim=1)
    indices0 = torch.arange(len(nearest1), device=similarity.device)
    # Whether a row's largest is its column's too needs no search for places along columns, which lie apart in memory.
    mutual = best == similarity.amax(dim=0)[nearest1]
    # Of several equal rows the first gets the column.
    claims = torch.where(mutual, indices0, len(nearest1))
    first = claims.new_full((similarity.shape[1],), len(nearest1)).scatter_reduce(0, nearest1, claims, "amin")
    kept = mutual & (first[nearest1] == indices0) & (best > least)
    if max_ratio < 1.0:
        kept &= torch.maximum(_second(similarity), _second(similarity.T)[nearest1]) <= 1.0 - (1.0 - best) / max_ratio**2
    return Matches(indices0[kept], nearest1[kept], best[kept].clamp(0.0, 1.0))


def _second(similarity: torch.Tensor) -> torch.Tensor:
    """The second largest value (N,) of each row (M values); -1, as far as can be, where there is only one."""
    if similarity.shape[1] < 2:
        return torch.full_like(similarity[:, 0], -1.0)
    return similarity.topk(2, dim=1).values[:, 1]
