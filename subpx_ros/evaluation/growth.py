"""`subpx bench growth`: the odometry's time per stage and its memory against keypoints and image size.

A textured plane moves past a stereo pair by whole pixels, so that images of any size have as many keypoints as asked
for and as many of them match. The exponent of a step's growth is the slope between its last two values, both axes
logarithmic: 1 is proportional, 2 the square.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from subpx_ros.config import Config, load_config
from subpx_ros.console import note, track
from subpx_ros.datatypes import Camera, Frame, Rig
from subpx_ros.evaluation.bench_config import GrowthConfig, image_size
from subpx_ros.evaluation.bench_results import Cell, Table, write_results
from subpx_ros.evaluation.plots import new_figure, save_figure
from subpx_ros.evaluation.runner import Outcome
from subpx_ros.memory import peak_of
from subpx_ros.odometry import VisualOdometry
from subpx_ros.output import output_folder
from subpx_ros.pipeline import FrontEnd
from subpx_ros.settings import merge, to_mapping

_WARM_UP = 2
_DISPARITY_PX = 24
_STEP_PX = 6
_BASELINE_M = 0.5
_CELLS_PX = (2, 4, 8, 16, 48)
MEMORY = "memory"

Point = dict[str, Any]
"""`value` on the axis of growth, `name`, `keypoints` found, `stage_ms` {stage: median}, `peak_mb` or None."""


def run_growth(config: GrowthConfig, out: Path, file: Path | None = None) -> dict[str, Any]:
    """Measures both growths, writes results.json, config.yaml and growth.png into `out`, prints two tables.

    Args:
        config: what to measure.
        out: folder of the results.
        file: YAML file of settings, put over the preset.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: a setting is not valid, or weights or device cannot be had.
    """
    counts, sizes, at_size = config.counts, config.image_sizes, image_size(config.at_size)
    output_folder(out)
    wanted = {"preset": config.preset, "device": config.device, "mode": "stereo"}
    settings = load_config(wanted | {"features": {"detection_threshold": 0.0}}, file)
    settings = replace(settings, threads=config.threads or settings.threads)
    front_end = FrontEnd(settings, note)
    items = {
        "keypoints": [
            _measure(front_end, _with(settings, count), at_size, config.rounds, str(count), count)
            for count in track(counts, "keypoints", len(counts))
        ],
        "pixels": [
            _measure(front_end, _with(settings, config.at_keypoints), size, config.rounds, "x".join(map(str, size)))
            for size in track(sizes, "image sizes", len(sizes))
        ],
    }
    titles = {
        "keypoints": f"keypoints, {config.at_size}, {front_end.device}",
        "pixels": f"image size, {config.at_keypoints} keypoints, {front_end.device}",
    }
    _plot(out / "growth.png", items, titles)
    tables = [_table(points, titles[name]) for name, points in items.items()]
    all_settings = {"benchmark": to_mapping(config), "odometry": to_mapping(settings)}
    return write_results(
        out,
        "growth",
        all_settings,
        tables,
        Outcome({name: {"points": points} for name, points in items.items()}, {}),
        {"scene": "textured plane"},
    )


def _with(settings: Config, keypoints: int) -> Config:
    return merge(settings, {"features": {"max_keypoints": keypoints}})


def _measure(
    front_end: FrontEnd, settings: Config, size: tuple[int, int], rounds: int, name: str, value: int | None = None
) -> Point:
    """`value` is the number of pixels unless given."""
    front_end.reconfigure(settings)
    frames = list(_frames(size, _WARM_UP + rounds + 1))
    odometry = VisualOdometry(settings, frames[0].rig, front_end=front_end)
    results = [odometry.process(frame) for frame in frames[:-1]]
    counted = results[_WARM_UP:]
    peak_mb = peak_of(lambda: odometry.process(frames[-1]), front_end.device)
    return {
        "name": name,
        "value": value or size[0] * size[1],
        "keypoints": counted[-1].counts["keypoints"],
        "matches": counted[-1].counts["matches"],
        "stage_ms": {stage: median(each.stage_ms[stage] for each in counted) for stage in counted[-1].stage_ms},
        "peak_mb": peak_mb,
    }


def _frames(size: tuple[int, int], count: int) -> Iterator[Frame]:
    """Stereo frames (width, height) of a plane that moves past."""
    width, height = size
    camera = Camera(0.8 * width, 0.8 * width, (width - 1) / 2, (height - 1) / 2, width, height)
    rig = Rig(camera, camera, _BASELINE_M)
    texture = _texture(width + _DISPARITY_PX + count * _STEP_PX, height)
    for index in range(count):
        first = index * _STEP_PX
        left, right = (
            np.ascontiguousarray(texture[:, start : start + width]) for start in (first, first + _DISPARITY_PX)
        )
        yield Frame(index * 10**8, left, rig, right)


def _texture(width: int, height: int) -> NDArray[np.uint8]:
    """Noise of several scales."""
    rng = np.random.default_rng(17)
    total = np.zeros((height, width), dtype=np.float32)
    for cell in _CELLS_PX:
        coarse = rng.normal(size=(height // cell + 2, width // cell + 2)).astype(np.float32)
        total += np.sqrt(cell) * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grey: NDArray[np.uint8] = np.clip(128.0 + 45.0 * total / total.std(), 0, 255).astype(np.uint8)
    return grey


def exponent(values: list[float], figures: list[float]) -> float | None:
    """Slope between the last two points, both axes logarithmic; None where there are no two."""
    if len(values) < 2 or min(figures[-2:]) <= 0.0:
        return None
    return math.log(figures[-1] / figures[-2]) / math.log(values[-1] / values[-2])


def _series(points: list[Point]) -> dict[str, list[float]]:
    """Milliseconds of every stage that all points have, and the memory in MiB."""
    stages = [stage for stage in points[-1]["stage_ms"] if all(stage in point["stage_ms"] for point in points)]
    series = {stage: [point["stage_ms"][stage] for point in points] for stage in stages}
    peaks = [point["peak_mb"] for point in points]
    return series if None in peaks else series | {MEMORY: peaks}


def _table(points: list[Point], title: str) -> Table:
    values = [point["value"] for point in points]
    rows: list[list[Cell]] = [
        [f"{name} ({'MiB' if name == MEMORY else 'ms'})", *figures, exponent(values, figures)]
        for name, figures in _series(points).items()
    ]
    rows += [[what, *(point[what] for point in points), None] for what in ("keypoints", "matches")]
    return Table(title, ["step", *(point["name"] for point in points), "exponent"], rows)


def _plot(path: Path, items: dict[str, list[Point]], titles: dict[str, str]) -> None:
    """Time on the left and memory on the right, both axes logarithmic; dashed: proportional growth."""
    figure = new_figure(1000, 380 * len(items))
    for row, (name, points) in enumerate(items.items()):
        values, series = [point["value"] for point in points], _series(points)
        memory = series.pop(MEMORY, None)
        times = figure.add_subplot(len(items), 2, 2 * row + 1)
        for stage, figures in series.items():
            times.plot(
                values, figures, marker="o", markersize=3, linewidth=2.0 if stage == "total" else 1.0, label=stage
            )
        _finish(times, values, max(series["total"]), name, "ms a frame", titles[name])
        times.legend(fontsize=7)
        if memory is not None:
            axes = figure.add_subplot(len(items), 2, 2 * row + 2)
            axes.plot(values, memory, marker="o", markersize=3, color="#0072B2")
            _finish(axes, values, max(memory), name, "MiB while a frame is in work", "")
    save_figure(figure, path)


def _finish(axes: Axes, values: list[float], largest: float, name: str, unit: str, title: str) -> None:
    axes.plot(values, [largest * value / values[-1] for value in values], "--", color="#808080", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(name)
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3, which="both")
