"""Mutual nearest neighbours of descriptors, over the whole image or along the rows of a rectified stereo pair."""

from __future__ import annotations

import torch

from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.matching.matcher import Matcher, no_matches


class MutualNearestNeighbours(Matcher):
    """Pairs of descriptors that are each other's nearest."""

    def _match(self, features0: Features, features1: Features) -> Matches:
        return mutual_nearest(features0.descriptors @ features1.descriptors.T, self._config.min_similarity)


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


def mutual_nearest(similarity: torch.Tensor, least: float) -> Matches:
    """Matches of a matrix (N, M) of cosine similarities: largest of their row and column, and above `least`."""
    best, nearest1 = similarity.max(dim=1)
    nearest0 = similarity.argmax(dim=0)
    indices0 = torch.arange(len(nearest1), device=similarity.device)
    kept = (nearest0[nearest1] == indices0) & (best > least)
    return Matches(indices0[kept], nearest1[kept], best[kept].clamp(0.0, 1.0))
