"""`subpx bench speed`: the odometry in turns with the plain pipeline, so that both meet the same moods of the machine."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from subpx_ros.config import Config, load_config
from subpx_ros.console import note, track
from subpx_ros.datasets import open_sequence
from subpx_ros.datasets.sequence import Sequence
from subpx_ros.evaluation.bench_config import SpeedConfig
from subpx_ros.evaluation.bench_results import Cell, Table, write_results
from subpx_ros.evaluation.plain import PlainPipeline, published_network, refine_as_published
from subpx_ros.evaluation.roofline import CountingStopwatch, Machine, Work, measure_machine
from subpx_ros.evaluation.run import peak_rss_mb
from subpx_ros.evaluation.runner import Outcome
from subpx_ros.odometry import VisualOdometry
from subpx_ros.output import output_folder
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.keypt2subpx import channels_last, refine_pairs
from subpx_ros.relative_motion import MotionEstimator, Stopwatch
from subpx_ros.settings import to_mapping

_KEYPT2SUBPX_MATCHES = (512, 2048)
Times = dict[str, list[float]]


def run_speed(config: SpeedConfig, out: Path, file: Path | None = None) -> dict[str, Any]:
    """Measures, writes results.json and config.yaml into `out` and prints the tables.

    Args:
        config: recording, mode, preset, frames.
        out: folder of the results.
        file: YAML file of settings of the odometry's stages.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: data, weights or device cannot be had.
    """
    output_folder(out)
    overrides = {"preset": config.preset, "device": config.device, "mode": config.mode}
    loaded = load_config(overrides, file)
    loaded = replace(loaded, threads=config.threads or loaded.threads)
    sequence = open_sequence(config.source, config.mode, (0, config.warm_up + config.frames))
    front_end = FrontEnd(loaded, note)
    machine = measure_machine(front_end.device)
    odometry = VisualOdometry(loaded, sequence.rig, front_end=front_end)
    ours, plain, work = _frames(odometry, loaded, front_end, sequence, config.warm_up)
    rss = peak_rss_mb()
    published = _keypt2subpx(front_end, config.rounds)
    items = {
        odometry.mode: {
            "ours": _statistics(ours),
            "plain": _statistics(plain),
            "ratio": float(np.median(ours["total"]) / np.median(plain["total"])) if plain else None,
            "work": {name: vars(each) for name, each in work.items()},
            "peak_rss_mb": rss,
        },
        "machine": vars(machine),
        "keypt2subpx": published,
    }
    tables = [_table(odometry, ours, plain, work, machine), _published_table(published)]
    data = {"source": config.source, "frames": len(ours["total"]), "peak_rss_mb": rss}
    note(
        f"peak memory {rss:.0f} MiB, the plain pipeline included; the machine: {machine.operations_per_s / 1e9:.0f} "
        f"billion operations and {machine.bytes_per_s / 1e9:.1f} GB a second"
    )
    settings = {"benchmark": to_mapping(config), "odometry": to_mapping(loaded)}
    return write_results(out, "speed", settings, tables, Outcome(items, {}), data)


def _frames(
    odometry: VisualOdometry, config: Config, front_end: FrontEnd, sequence: Sequence, warm_up: int
) -> tuple[Times, Times, dict[str, Work]]:
    """Milliseconds per stage of both pipelines, and what the odometry's stages ask for in the last frame."""
    plain = None if odometry.mode == "rgbd" else PlainPipeline(config, front_end)
    times: tuple[Times, Times] = ({}, {})
    before = None
    for number, frame in enumerate(track(iter(sequence), "speed", len(sequence))):
        turns = (0, 1) if number % 2 else (1, 0)
        for turn in turns:
            if turn == 0:
                stage_ms: Mapping[str, float] = odometry.process(frame).stage_ms
            elif plain is not None and before is not None:
                watch = Stopwatch()
                plain.relate(before, frame, watch)
                stage_ms = watch.stage_ms
            else:
                continue
            if number >= warm_up:
                for stage, value in stage_ms.items():
                    times[turn].setdefault(stage, []).append(value)
        before = frame
    return (*times, _work(config, front_end, sequence))


def _work(config: Config, front_end: FrontEnd, sequence: Sequence) -> dict[str, Work]:
    """Of the second frame, stage by stage; counting slows it down, so that it is not timed."""
    estimator = MotionEstimator(config, sequence.rig, front_end)
    reference = estimator.describe(sequence.frame(0), Stopwatch())
    counted = CountingStopwatch()
    estimator.relate(reference, estimator.describe(sequence.frame(1), counted), counted)
    return counted.works


def _keypt2subpx(front_end: FrontEnd, rounds: int) -> dict[str, Any]:
    """Our Keypt2Subpx in turns with the published computation, the same weights: us per match, largest difference."""
    if front_end.detector.keypt2subpx is None:
        return {}
    published = published_network(front_end.detector.name).to(front_end.device)
    ours = channels_last(copy.deepcopy(published))
    random = torch.Generator().manual_seed(0)
    maps = (torch.rand(2 if published.use_score_map else 1, 370, 1226, generator=random),) * 2
    rows = {}
    for count in _KEYPT2SUBPX_MATCHES:
        points = [10.0 + torch.rand(count, 2, generator=random) * torch.tensor([1200.0, 350.0]) for _ in range(2)]
        descriptors = [normalize(torch.randn(count, published.descriptor_size, generator=random)) for _ in range(2)]
        device = front_end.device
        arguments = [tuple(each.to(device) for each in pair) for pair in (points, maps, descriptors)]
        variants = (("ours", refine_pairs, ours), ("published", refine_as_published, published))
        times: Times = {"ours": [], "published": []}
        with torch.inference_mode():
            for _ in range(rounds + 1):
                results = []
                for name, refine, network in variants:
                    start = time.perf_counter()
                    results.append(refine(network, *arguments))  # type: ignore[arg-type]
                    if device.type == "cuda":
                        torch.cuda.synchronize(device)
                    times[name].append(1e6 * (time.perf_counter() - start) / count)
        difference = max(float((a - b).abs().max()) for a, b in zip(*results, strict=True))
        medians = {name: float(np.median(values[1:])) for name, values in times.items()}
        rows[str(count)] = {
            **medians,
            "ratio": medians["ours"] / medians["published"],
            "difference_px": difference,
        }
    return rows


def _statistics(times: Times) -> dict[str, dict[str, float]]:
    return {
        stage: {"median_ms": float(np.median(values)), "p95_ms": float(np.percentile(values, 95))}
        for stage, values in times.items()
    }


def _table(odometry: VisualOdometry, ours: Times, plain: Times, work: dict[str, Work], machine: Machine) -> Table:
    rows: list[list[Cell]] = []
    for stage, values in ours.items():
        median = float(np.median(values))
        other = float(np.median(plain[stage])) if stage in plain else None
        done = work.get(stage) if stage != "total" else Work(
            sum(each.operations for each in work.values()), sum(each.moved_bytes for each in work.values())
        )  # fmt: skip
        limit = machine.limit_ms(done) if done is not None else None
        rows.append([
            stage, median, float(np.percentile(values, 95)), other, median / other if other else None,
            done.operations / 1e9 if done else None, done.moved_bytes / 1e6 if done else None, limit,
            limit / median if limit is not None else None,
        ])  # fmt: skip
    columns = [
        "stage", "median (ms)", "95 % (ms)", "plain (ms)", "x plain", "operations (1e9)", "bytes (1e6)",
        "limit (ms)", "limit / median",
    ]  # fmt: skip
    return Table(f"{odometry.mode}, {odometry.detector}, {odometry.refiner}, {odometry.device}", columns, rows)


def _published_table(published: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [int(count), row["ours"], row["published"], row["ratio"], 1e6 * row["difference_px"]]
        for count, row in published.items()
    ]
    columns = ["matches", "ours (us)", "published (us)", "x published", "largest difference (1e-6 px)"]
    return Table("Keypt2Subpx per match, same weights", columns, rows)
