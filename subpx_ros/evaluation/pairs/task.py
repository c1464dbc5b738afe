"""What the benchmarks on pairs have in common: figures of one pair, and tables of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from subpx_ros.datasets.pairs.pair import ImagePair, PairSource
from subpx_ros.datatypes import Array
from subpx_ros.evaluation.bench_results import Cell, Table
from subpx_ros.evaluation.estimators.estimator import Estimator

Figures = dict[str, Any]
"""Plain values; None where a figure does not exist, which for an error means that no model was found."""


@dataclass(frozen=True)
class Method:
    """A row of the tables."""

    preset: str
    refiner: str
    estimator: str


class PairTask(ABC):
    """One kind of benchmark on pairs. Keeps no state."""

    name: str
    error: str
    """The figure whose distribution is drawn."""
    error_label: str
    """What it is, with its unit."""
    error_limit: float
    """Up to where it is drawn."""

    @abstractmethod
    def check(self, pair: PairSource) -> None:
        """Raises DataError for a pair that lacks the truth that this benchmark needs; reads no pixels."""

    @abstractmethod
    def measure_matches(self, pair: ImagePair, points0: Array, points1: Array) -> Figures:
        """Figures of refined matches (M, 2) without distortion, before any estimate."""

    @abstractmethod
    def measure_model(self, pair: ImagePair, points0: Array, points1: Array, estimator: Estimator) -> Figures:
        """Figures of the model that an estimator finds in the same matches; `error` among them."""

    match_columns: tuple[str, ...]
    """Names of the figures of matches, with units."""
    model_columns: tuple[str, ...]
    """Names of the figures of models, with units."""

    @abstractmethod
    def summarise_matches(self, matches: Sequence[Figures]) -> list[Cell]:
        """The figures of matches over pairs, at least one."""

    @abstractmethod
    def summarise_models(self, matches: Sequence[Figures], models: Sequence[Figures]) -> list[Cell]:
        """The figures of models over pairs, at least one; `matches` are those that each was found in."""

    def tables(self, results: Mapping[str, Mapping[str, Any]]) -> list[Table]:
        """Over all pairs, and where there are several groups over each, from the stored results."""
        groups = sorted({result["group"] for result in results.values()})
        tables = self._tables(self.name, results)
        if len(groups) > 1:
            for group in groups:
                chosen = {name: result for name, result in results.items() if result["group"] == group}
                tables += self._tables(f"{self.name}, {group}", chosen)
        return tables

    def _tables(self, title: str, results: Mapping[str, Mapping[str, Any]]) -> list[Table]:
        models: list[list[Cell]] = []
        matches: dict[tuple[str, str], list[Cell]] = {}
        pairs = 0
        for method, figures in by_method(results):
            found, estimated = zip(*figures, strict=True)
            pairs = max(pairs, len(figures))
            row = self.summarise_models(found, estimated)
            models.append([method.preset, method.refiner, method.estimator, *row])
            key = method.preset, method.refiner
            matches.setdefault(key, [*key, *self.summarise_matches(found)])
        return [
            Table(f"{title}, {pairs} pairs", ["preset", "refiner", "estimator", *self.model_columns], models),
            Table(f"{title}: matches", ["preset", "refiner", *self.match_columns], list(matches.values())),
        ]


def by_method(
    results: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[Method, list[tuple[Figures, Figures]]]]:
    """Every combination of preset, refiner and estimator with its (matches, model) figures of all pairs."""
    collected: dict[Method, list[tuple[Figures, Figures]]] = {}
    for result in results.values():
        for refiner, figures in result["refiners"].items():
            for estimator, model in figures["estimators"].items():
                method = Method(result["preset"], refiner, estimator)
                collected.setdefault(method, []).append((figures["matches"], model))
    yield from collected.items()


def errors_of(models: Sequence[Figures], name: str = "error") -> list[float]:
    """An error of every pair; infinite where no model was found."""
    return [float("inf") if model[name] is None else float(model[name]) for model in models]


def finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that exist."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def percent(areas: Sequence[float]) -> list[Cell]:
    return [100.0 * area for area in areas]
