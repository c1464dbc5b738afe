"""What every source of training pairs offers, and the steps that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from subpx_ros.errors import DataError
from subpx_ros.training.pairs import TrainingPair


class PairSource(ABC):
    """Pairs by number. The same configuration gives the same pair, whatever was asked for before."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @abstractmethod
    def pair(self, index: int) -> TrainingPair:
        """Pair number `index`. Raises DataError where its data is missing or damaged."""

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Plain values that say what the pairs are made of, for manifests and checkpoints; no absolute paths."""


class JoinedSource(PairSource):
    """Several sources in a row."""

    def __init__(self, sources: Sequence[PairSource]) -> None:
        super().__init__(sum(len(source) for source in sources))
        self._sources = sources

    def pair(self, index: int) -> TrainingPair:
        for source in self._sources:
            if index < len(source):
                return source.pair(index)
            index -= len(source)
        raise IndexError(index)

    def describe(self) -> Mapping[str, Any]:
        return {"sources": [dict(source.describe()) for source in self._sources]}


def pairs_with_gap(frames: int, largest_gap: int, count: int, seed: int, what: str) -> list[tuple[int, int]]:
    """`count` different pairs (i, j), 1 <= j - i <= largest_gap, drawn by seed; all there are where there are fewer.

    Raises:
        DataError: fewer than two frames.
    """
    if frames < 2:
        raise DataError(f"{what}: pairs need at least 2 frames; there are {frames}")
    pairs = [(i, i + gap) for gap in range(1, largest_gap + 1) for i in range(frames - gap)]
    order = np.random.default_rng([seed, frames, largest_gap]).permutation(len(pairs))
    return [pairs[position] for position in order[:count]]
