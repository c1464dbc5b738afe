"""`subpx bench odometry`: odometry over recordings with true poses, ours beside others.

Items are a recording with a preset and a refiner, or with a peer.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.config import Config
from subpx_ros.console import note
from subpx_ros.datasets import Sequence as Recording
from subpx_ros.datasets import is_rendered, open_sequence
from subpx_ros.errors import DataError
from subpx_ros.evaluation.bench_config import SequenceBenchConfig
from subpx_ros.evaluation.bench_presets import file_digest, preset_configs, varied
from subpx_ros.evaluation.bench_results import write_results
from subpx_ros.evaluation.run import RunRecord, lost_frames, summarise
from subpx_ros.evaluation.runner import Item, Measure, Outcome, run_items
from subpx_ros.evaluation.sequences.outputs import PER_FRAME, write_trajectories
from subpx_ros.evaluation.sequences.peers import PEER, Peer, known_peers, run_peer
from subpx_ros.evaluation.sequences.tables import sequence_tables
from subpx_ros.evaluation.side_by_side import GIVEN, refiners_for
from subpx_ros.offline import run_sequence
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.settings import to_mapping

Window = tuple[int | None, int | None]
_SUMMARY = (
    "preset", "mode", "metric", "frames", "lost", "degraded", "reasons", "fps", "stage_ms",
    "path_m", "drift", "ate_m", "rpe", "per_frame",
)  # fmt: skip
"""What a result takes over of a run's summary."""


def run_sequence_benchmark(
    sources: Sequence[str],
    config: SequenceBenchConfig,
    out: Path,
    file: Path | None = None,
    frames: Window | None = None,
) -> dict[str, Any]:
    """Runs the odometry over all recordings with all presets and refiners; writes tables, trajectories and pictures.

    Args:
        sources: recordings with true poses, as `open_sequence` takes them.
        config: the benchmark's settings.
        out: folder of the results; what it holds of an earlier run with the same settings is not measured again.
        file: YAML file of settings of the odometry's stages, put over every preset.
        frames: (A, B), only the frames A <= index < B of every recording.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: data, weights or device cannot be had; or, after all is written, some items failed.
    """
    from subpx_ros.evaluation.sequences.plots import plot_sequences

    presets = varied(
        preset_configs(config.preset_names, config.runner, file, device=config.device, mode=config.mode), config.vary
    )
    peers = tuple(known_peers(config.peer_python, config.peers_file)) if config.peers else ()
    benchmark = SequenceBenchmark(config, presets, named(sources, config.mode, frames), frames, peers)
    recordings = {name: benchmark.open(name) for name in benchmark.sources}
    for name, recording in recordings.items():
        if recording.truth is None:
            raise DataError(
                f"{benchmark.sources[name]} has no true poses, which drift is measured against: leave it out"
            )
    outcome = run_items(benchmark.items(), benchmark, out, config.runner, "odometry")
    truths = {name: recording.truth for name, recording in recordings.items() if recording.truth is not None}
    write_trajectories(out, outcome.results, {name: each.stamps_ns for name, each in recordings.items()})
    plot_sequences(out, outcome.results, truths)
    settings = {
        "benchmark": to_mapping(config),
        "sequences": list(benchmark.sources.values()),
        "frames": list(frames) if frames else None,
        "presets": benchmark.settings(),
        "peers": {peer.name: list(peer.command) for peer in peers},
    }
    data = {
        name: {"source": benchmark.sources[name], "frames": len(recording), "mode": recording.rig.mode}
        for name, recording in recordings.items()
    }
    figures = {
        name: {key: value for key, value in result.items() if key != PER_FRAME}
        for name, result in outcome.results.items()
    }
    return write_results(
        out, "odometry", settings, sequence_tables(figures), Outcome(figures, outcome.failures), {"sequences": data}
    )


def named(sources: Sequence[str], mode: str, frames: Window | None) -> dict[str, str]:
    """Sources by short names that differ and that file names can hold. Raises DataError for a source that is none."""
    names: dict[str, str] = {}
    for source in dict.fromkeys(sources):
        name = short = re.sub(r"[^A-Za-z0-9.-]+", "_", open_sequence(source, mode, frames).name).lstrip(".") or "_"
        count = 2
        while name in names:
            name, count = f"{short}-{count}", count + 1
        names[name] = source
    return names


@dataclass(frozen=True)
class SequenceBenchmark:
    """See `subpx_ros.evaluation.runner.Benchmark`."""

    config: SequenceBenchConfig
    presets: dict[str, Config]
    sources: dict[str, str]
    """By name."""
    frames: Window | None
    peers: tuple[Peer, ...] = ()

    def open(self, name: str) -> Recording:
        return open_sequence(self.sources[name], self.config.mode, self.frames)

    def settings(self) -> dict[str, Any]:
        return {name: to_mapping(config) for name, config in self.presets.items()}

    def items(self) -> list[Item]:
        """One per preset, recording and refiner. Loads the models, so that what cannot be had is known before."""
        items = []
        for name, source in self.sources.items():
            for peer in self.peers:
                own = self._data(source) | {"mode": self.config.mode, "command": list(peer.command)}
                items.append(Item(f"{PEER}/{name}/{peer.name}", own))
        for preset, settings in self.settings().items():
            stages = {name: value for name, value in settings.items() if name != "threads"}
            labels = list(_Loaded(self.presets[preset], self.config).refiners)
            for name, source in self.sources.items():
                own = self._data(source) | {"preset": stages}
                for label in labels:
                    weights = file_digest(self.config.weights) if label == GIVEN else ""
                    items.append(Item(f"{preset}/{name}/{label}", own | {"refiner": label, "weights": weights}))
        return items

    def _data(self, source: str) -> dict[str, Any]:
        where = source if is_rendered(source) else str(Path(source).expanduser().resolve())
        return {"data": where, "frames": self.frames}

    def prepare(self) -> Measure:
        return _SequenceMeasure(self).measure


class _SequenceMeasure:
    """Lives in one process: the models of each preset once it is needed."""

    def __init__(self, benchmark: SequenceBenchmark) -> None:
        self._benchmark = benchmark
        self._loaded: dict[str, _Loaded] = {}

    def measure(self, item: Item) -> dict[str, Any]:
        preset, name, label = item.name.split("/")
        run = self._run_peer if preset == PEER else self._run_ours
        record = run(preset, name, label)
        summary = summarise(record)
        return {
            **{key: summary[key] for key in _SUMMARY},
            "preset": preset,
            "sequence": name,
            "refiner": label,
            PER_FRAME: {
                "poses": record.poses[:, :3].reshape(-1, 12).tolist(),
                "lost": np.flatnonzero(lost_frames(record.states)).tolist(),
                "inliers": [counts["inliers"] for counts in record.counts if counts],
                "total_ms": [times["total"] for times in record.stage_ms],
            },
        }

    def _run_ours(self, preset: str, name: str, label: str) -> RunRecord:
        benchmark = self._benchmark
        config = benchmark.presets[preset]
        if preset not in self._loaded:
            self._loaded[preset] = _Loaded(config, benchmark.config, skip=lambda line: None)
        front_end = self._loaded[preset].with_refiner(label)
        recording = benchmark.open(name)
        return run_sequence(recording, config, benchmark.sources[name], front_end=front_end, progress=False)

    def _run_peer(self, preset: str, name: str, label: str) -> RunRecord:
        benchmark = self._benchmark
        peer = next(peer for peer in benchmark.peers if peer.name == label)
        return run_peer(peer, benchmark.open(name), benchmark.sources[name], benchmark.config.peer_timeout_s)


class _Loaded:
    """The models of one preset."""

    def __init__(self, preset: Config, config: SequenceBenchConfig, skip: Callable[[str], None] = note) -> None:
        self._front_end = FrontEnd(preset, note)
        self.refiners: Mapping[str, Refiner] = refiners_for(self._front_end, skip, config.weights)

    def with_refiner(self, label: str) -> FrontEnd:
        front_end = copy.copy(self._front_end)
        front_end.refiner = self.refiners[label]
        return front_end
