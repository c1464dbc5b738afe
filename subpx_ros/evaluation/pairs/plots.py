"""Pictures of a benchmark on pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.evaluation.pairs.task import PairTask, by_method, errors_of
from subpx_ros.evaluation.plots import new_figure, save_figure
from subpx_ros.evaluation.side_by_side import COLOURS

_STYLES = ("-", "--", ":", "-.")


def plot_pair_results(out: Path, task: PairTask, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes `recall.png`: for every preset the share of pairs below an error, by refiner and estimator."""
    methods = list(by_method(results))
    presets = list(dict.fromkeys(method.preset for method, _ in methods))
    estimators = list(dict.fromkeys(method.estimator for method, _ in methods))
    figure = new_figure(100 + 420 * len(presets), 420)
    for column, preset in enumerate(presets):
        axes = figure.add_subplot(1, len(presets), column + 1)
        for method, figures in methods:
            if method.preset != preset:
                continue
            errors = np.sort(errors_of([model for _, model in figures], task.error))
            shown = errors[errors <= task.error_limit]
            share = 100.0 * np.arange(len(shown) + 1) / len(errors)
            label = method.refiner + (f", {method.estimator}" if len(estimators) > 1 else "")
            axes.step(
                np.concatenate([[0.0], shown, [task.error_limit]]),
                np.concatenate([share, share[-1:]]),
                where="post",
                color=COLOURS[method.refiner],
                linestyle=_STYLES[estimators.index(method.estimator) % len(_STYLES)],
                label=label,
            )
        axes.set_title(preset)
        axes.set_xlabel(task.error_label)
        axes.set_ylabel("pairs below (%)")
        axes.set_xlim(0.0, task.error_limit)
        axes.set_ylim(0.0, 101.0)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", fontsize=8)
    save_figure(figure, out / "recall.png")
