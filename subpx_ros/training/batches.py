"""Which pairs and matches a step learns from: a function of seed and step alone, so that any step can be repeated."""

from __future__ import annotations

import numpy as np
import torch

from subpx_ros.errors import TrainingError
from subpx_ros.training.config import TrainConfig
from subpx_ros.training.matches import MatchStore, StoredPair


class Batches:
    """Deals the pairs of a store in random order, every pair once per epoch, to all processes of a training."""

    def __init__(self, store: MatchStore, config: TrainConfig, rank: int, processes: int) -> None:
        """Raises TrainingError where no pair has `min_matches` matches."""
        self._store = store
        self._config = config
        self._rank = rank
        self._processes = processes
        self._usable = [index for index, count in enumerate(store.counts) if count >= config.min_matches]
        if not self._usable:
            raise TrainingError(
                f"no pair of {store.folder} has {config.min_matches} matches (min_matches): the most is "
                f"{max(store.counts, default=0)}"
            )

    def of_step(self, step: int) -> list[tuple[StoredPair, torch.Tensor]]:
        """This process's pairs in step `step` from 0, each with the indices (N,) of the matches to learn from.

        Process r of P takes the pairs r, r + P, ... of the step's; together they are those of one process that takes P
        times as many.
        """
        size = self._config.batch_pairs * self._processes
        positions = range(step * size + self._rank, (step + 1) * size, self._processes)
        batch = []
        for position in positions:
            epoch, place = divmod(position, len(self._usable))
            order = np.random.default_rng([self._config.seed, 0, epoch]).permutation(len(self._usable))
            pair = self._store.read(self._usable[order[place]])
            drawn = np.random.default_rng([self._config.seed, 1, position]).permutation(len(pair))
            batch.append((pair, torch.from_numpy(drawn[: self._config.matches_per_pair])))
        return batch

    def all_pairs(self) -> list[int]:
        """Numbers of all pairs that have enough matches."""
        return list(self._usable)
