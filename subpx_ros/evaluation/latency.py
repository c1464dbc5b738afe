"""`subpx bench latency`: time per stage on one pair, the refiners in turns so that they share the machine's moods."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from subpx_ros.config import PoseConfig, load_config
from subpx_ros.console import note, track
from subpx_ros.datasets import DEMO
from subpx_ros.datasets.pairs import open_pairs
from subpx_ros.datasets.pairs.pair import ImagePair
from subpx_ros.evaluation.bench_config import LatencyConfig, listed
from subpx_ros.evaluation.bench_results import Cell, Table, write_results
from subpx_ros.evaluation.plots import new_figure, save_figure
from subpx_ros.evaluation.runner import Outcome
from subpx_ros.evaluation.side_by_side import COLOURS, DETECTED, OURS, PUBLISHED, refiners_for
from subpx_ros.output import output_folder
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import ransac_mono
from subpx_ros.settings import to_mapping

_Result = TypeVar("_Result")
_REFINE = "refine, "


def run_latency(config: LatencyConfig, out: Path, file: Path | None = None) -> dict[str, Any]:
    """Measures every preset, writes results.json, config.yaml and latency.png into `out`, prints a table.

    Args:
        config: data, presets, rounds.
        out: folder of the results.
        file: YAML file of settings of the odometry's stages, put over every preset.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: data, weights or device cannot be had.
    """
    output_folder(out)
    pair = _pair(config)
    stages, presets = {}, {}
    for name in listed(config.presets):
        loaded = load_config({"preset": name, "device": config.device, "refiner": "none"}, file)
        loaded = replace(loaded, threads=config.threads or loaded.threads)
        presets[name] = to_mapping(loaded)
        stages[name] = _measure(FrontEnd(loaded, note), pair, config, loaded.pose, name)
    height, width = pair.view0.image.shape
    data = {"pair": pair.name, "width": width, "height": height}
    _plot(out / "latency.png", stages)
    settings = {"benchmark": to_mapping(config), "presets": presets}
    return write_results(out, "latency", settings, [_table(stages)], Outcome(stages, {}), data)


def _pair(config: LatencyConfig) -> ImagePair:
    if config.data:
        pairs = open_pairs(config.data, config.layout, config.gap)
    else:
        pairs = open_pairs(DEMO, "sequence", config.gap)
    return pairs.pair(0).reduced(config.resize_px)


def _measure(
    front_end: FrontEnd, pair: ImagePair, config: LatencyConfig, pose: PoseConfig, title: str
) -> dict[str, Any]:
    """Per stage the median, 95th percentile and, for refiners, microseconds per match; counts of what was worked on."""
    refiners = refiners_for(front_end)
    del refiners[DETECTED]
    times: dict[str, list[float]] = {}
    counts = {"keypoints": 0, "matches": 0}
    camera0, camera1 = pair.view0.camera, pair.view1.camera
    for number in track(range(config.warm_up + config.rounds), f"latency, {title}", config.warm_up + config.rounds):
        clock = _Clock(times if number >= config.warm_up else {}, front_end.device)
        features0 = clock.time("detect, per image", partial(front_end.detect, [pair.view0.image]))[0]
        features1 = front_end.detect([pair.view1.image])[0]
        matches = clock.time("match", partial(front_end.match, features0, features1))
        order = list(refiners)[number % len(refiners) :] + list(refiners)[: number % len(refiners)]
        refined = {
            label: clock.time(_REFINE + label, partial(refiners[label].refine, features0, features1, matches))
            for label in order
        }
        if camera0 is not None and camera1 is not None:
            points = refined[OURS].refined0, refined[OURS].refined1
            clock.time("pose", partial(ransac_mono, *points, camera0, camera1, pose))
        counts = {"keypoints": len(features0), "matches": len(matches)}
    stages = {stage: _statistics(stage, values, counts["matches"]) for stage, values in times.items()}
    memory = torch.cuda.max_memory_allocated(front_end.device) / 2**20 if front_end.device.type == "cuda" else None
    return {"device": str(front_end.device), "gpu_memory_mb": memory, **counts, "stages": stages}


class _Clock:
    """Measures calls, with the GPU's work finished before and after."""

    def __init__(self, times: dict[str, list[float]], device: torch.device) -> None:
        self._times = times
        self._cuda = device.type == "cuda"

    def time(self, stage: str, call: Callable[[], _Result]) -> _Result:
        self._finish()
        start = time.perf_counter()
        result = call()
        self._finish()
        self._times.setdefault(stage, []).append(1e3 * (time.perf_counter() - start))
        return result

    def _finish(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def _statistics(stage: str, milliseconds: list[float], matches: int) -> dict[str, Any]:
    median = float(np.median(milliseconds))
    per_match = 1e3 * median / matches if stage.startswith(_REFINE) and matches else None
    return {"median_ms": median, "p95_ms": float(np.percentile(milliseconds, 95)), "us_per_match": per_match}


def _table(presets: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for preset, figures in presets.items():
        published = figures["stages"].get(_REFINE + PUBLISHED)
        for stage, values in sorted(figures["stages"].items()):
            ratio = None
            if stage.startswith(_REFINE) and published is not None:
                ratio = values["median_ms"] / published["median_ms"]
            rows.append([preset, stage, values["median_ms"], values["p95_ms"], values["us_per_match"], ratio])
    devices = ", ".join(sorted({figures["device"] for figures in presets.values()}))
    columns = ["preset", "stage", "median (ms)", "95 % (ms)", "per match (us)", "x published"]
    return Table(f"latency, {devices}", columns, rows)


def _plot(path: Path, presets: dict[str, Any]) -> None:
    """Medians as bars, the 95th percentile as a whisker."""
    figure = new_figure(800, 120 + 130 * len(presets))
    for row, (preset, figures) in enumerate(presets.items()):
        axes = figure.add_subplot(len(presets), 1, row + 1)
        stages = sorted(figures["stages"], reverse=True)
        medians = [figures["stages"][stage]["median_ms"] for stage in stages]
        above = [figures["stages"][stage]["p95_ms"] - median for stage, median in zip(stages, medians, strict=True)]
        colours = [COLOURS.get(stage.removeprefix(_REFINE), "#56B4E9") for stage in stages]
        axes.barh(stages, medians, xerr=[[0.0] * len(stages), above], color=colours, ecolor="#404040")
        axes.set_title(f"{preset}: {figures['keypoints']} keypoints, {figures['matches']} matches", fontsize=9)
        axes.set_xlabel("median, whisker to the 95th percentile (ms)")
        axes.grid(axis="x", alpha=0.3)
    save_figure(figure, path)
