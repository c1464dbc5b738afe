"""Lists of any length in a fixed number of rows."""

from __future__ import annotations

import torch

from subpx_ros.features.detector import Detector


def rows_for(count: int, detector: Detector) -> int:
    """How many rows `count` values are given: as many as the detector may find, or a few times that, since its limit may
    have been lowered after it found them."""
    budget = detector.max_keypoints
    return budget * max(1, -(-count // budget))


def fill_up(values: torch.Tensor, budget: int) -> torch.Tensor:
    """(N, ...) with N at most the budget, followed by zeros up to it."""
    return torch.cat([values, values.new_zeros((budget, *values.shape[1:]))])[:budget]
