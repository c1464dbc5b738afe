"""The benchmark on pairs as the runner takes it: items are pairs with a preset; refiners and estimators share the matches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.config import Config
from subpx_ros.console import note
from subpx_ros.datasets.pairs import open_pairs
from subpx_ros.datasets.pairs.pair import ImagePair, PairSet, View
from subpx_ros.datatypes import Features
from subpx_ros.evaluation.bench_config import PairBenchConfig
from subpx_ros.evaluation.bench_presets import file_digest, preset_configs
from subpx_ros.evaluation.bench_results import write_results
from subpx_ros.evaluation.estimators import create_estimator
from subpx_ros.evaluation.estimators.estimator import Estimator
from subpx_ros.evaluation.pairs.task import PairTask
from subpx_ros.evaluation.runner import Item, Measure, run_items
from subpx_ros.evaluation.side_by_side import refiners_for
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.settings import to_mapping

TASKS = {
    "pose": "subpx_ros.evaluation.pairs.pose:PoseTask",
    "fundamental": "subpx_ros.evaluation.pairs.fundamental:FundamentalTask",
    "homography": "subpx_ros.evaluation.pairs.homography:HomographyTask",
}
_KEPT_FEATURES = 16
"""Images whose features a process keeps: sets name the same image in pairs that follow each other."""


def run_pair_benchmark(task: str, config: PairBenchConfig, out: Path, file: Path | None = None) -> dict[str, Any]:
    """Measures all pairs with all presets, writes tables, results.json, config.yaml and pictures into `out`.

    Args:
        task: a name in `TASKS`.
        config: the benchmark's settings.
        out: folder of the results; what it holds of an earlier run with the same settings is not measured again.
        file: YAML file of settings of the odometry's stages, put over every preset.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: data, weights or device cannot be had; or, after all is written, some pairs failed.
    """
    from subpx_ros.evaluation.pairs.plots import plot_pair_results

    benchmark = PairBenchmark(
        task, config, preset_configs(config.preset_names, config.runner, file, device=config.device)
    )
    kind, pairs = create_task(task), benchmark.open()
    chosen = _spread(len(pairs), config.max_pairs)
    for index in chosen:
        kind.check(pairs.source(index))
    outcome = run_items(benchmark.items(pairs, chosen), benchmark, out, config.runner, f"{task}, {pairs.name}")
    settings = {"benchmark": to_mapping(config), "presets": benchmark.settings()}
    data = {"name": pairs.name, "pairs": len(chosen), "of": len(pairs)}
    tables = []
    if outcome.results:
        tables = kind.tables(outcome.results)
        plot_pair_results(out, kind, outcome.results)
    return write_results(out, task, settings, tables, outcome, data)


def create_task(name: str) -> PairTask:
    module, kind = TASKS[name].split(":")
    task: PairTask = getattr(import_module(module), kind)()
    return task


@dataclass(frozen=True)
class PairBenchmark:
    """See `subpx_ros.evaluation.runner.Benchmark`."""

    task: str
    config: PairBenchConfig
    presets: dict[str, Config]

    def open(self) -> PairSet:
        return open_pairs(self.config.data, self.config.layout, self.config.gap)

    def settings(self) -> dict[str, Any]:
        return {name: to_mapping(config) for name, config in self.presets.items()}

    def items(self, pairs: PairSet, chosen: Sequence[int]) -> list[Item]:
        """One per preset and pair; neighbours share images, so that their features are found once."""
        config = self.config
        common = {
            "task": self.task,
            "data": str(Path(config.data).expanduser().resolve()),
            "layout": config.layout,
            "gap": config.gap,
            "resize_px": config.resize_px,
            "estimators": config.estimator_names,
            "threshold_px": config.threshold_px,
            "weights": file_digest(config.weights),
        }
        items = []
        for preset, settings in self.settings().items():
            stages = {name: value for name, value in settings.items() if name != "threads"}
            for index in chosen:
                own = {"preset": stages, "pair": pairs.source(index).name, "index": index}
                items.append(Item(f"{preset}/{index:05d} {pairs.source(index).name}", common | own))
        return items

    def prepare(self) -> Measure:
        return _PairMeasure(self).measure


class _PairMeasure:
    """Lives in one process: the pairs, the models of each preset once it is needed, features of the latest images."""

    def __init__(self, benchmark: PairBenchmark) -> None:
        self._config = benchmark.config
        self._presets = benchmark.presets
        self._task = create_task(benchmark.task)
        self._pairs = benchmark.open()
        pose = replace(next(iter(benchmark.presets.values())).pose, epipolar_threshold_px=benchmark.config.threshold_px)
        self._estimators = [create_estimator(name, pose) for name in benchmark.config.estimator_names]
        self._loaded: dict[str, _Loaded] = {}

    def measure(self, item: Item) -> dict[str, Any]:
        preset = item.name.partition("/")[0]
        if preset not in self._loaded:
            self._loaded[preset] = _Loaded(self._presets[preset], self._config)
        loaded = self._loaded[preset]
        pair = self._pairs.pair(item.settings["index"]).reduced(self._config.resize_px)
        features = loaded.features(pair.view0), loaded.features(pair.view1)
        refiners = compare_refiners(self._task, pair, features, loaded.front_end, loaded.refiners, loaded.estimators)
        return {"preset": preset, "group": pair.group, "refiners": refiners}


def compare_refiners(
    task: PairTask,
    pair: ImagePair,
    features: tuple[Features, Features],
    front_end: FrontEnd,
    refiners: Mapping[str, Refiner],
    estimators: Sequence[Estimator],
) -> dict[str, Any]:
    """Figures of one pair by refiner: `matches`, and `estimators` by name. All refiners get the same matches."""
    matches = front_end.match(*features)
    figures = {}
    for label, refiner in refiners.items():
        refined = refiner.refine(*features, matches)
        points = pair.view0.undistort(refined.refined0), pair.view1.undistort(refined.refined1)
        models = {estimator.name: task.measure_model(pair, *points, estimator) for estimator in estimators}
        figures[label] = {"matches": task.measure_matches(pair, *points), "estimators": models}
    return figures


class _Loaded:
    """The models of one preset."""

    def __init__(self, preset: Config, config: PairBenchConfig) -> None:
        self.front_end = FrontEnd(preset, note)
        self.refiners = refiners_for(self.front_end, weights=config.weights)
        pose = replace(preset.pose, epipolar_threshold_px=config.threshold_px)
        self.estimators = [create_estimator(name, pose) for name in config.estimator_names]
        self._features: OrderedDict[str, Features] = OrderedDict()

    def features(self, view: View) -> Features:
        if view.name not in self._features:
            self._features[view.name] = self.front_end.detect([view.image])[0]
            while len(self._features) > _KEPT_FEATURES:
                self._features.popitem(last=False)
        self._features.move_to_end(view.name)
        return self._features[view.name]


def _spread(count: int, most: int) -> list[int]:
    """At most `most` numbers below `count`, evenly; all where `most` is 0."""
    if most == 0 or most >= count:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, most).round()]
