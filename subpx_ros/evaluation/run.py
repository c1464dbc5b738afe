"""The outputs of one odometry run: poses, trajectory, configuration, picture and summary."""

from __future__ import annotations

import json
import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, RefinedMatches, TrackingState
from subpx_ros.evaluation.accuracy import accuracy
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.evaluation.metrics import nominal_period_s, path_length
from subpx_ros.evaluation.trajectories import write_kitti, write_tum
from subpx_ros.output import output_folder, write_text

_PICTURES = ("trajectory.png", "drift.png", "frames.png", "matches.png", "offsets.png")
_REFINED_COLOUR = "#0072B2"


@dataclass(frozen=True)
class MatchedFrames:
    """Two frames and their matches, to be drawn."""

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    """Grey (H, W)."""
    matches: RefinedMatches
    inliers: NDArray[np.bool_]
    """(M,)"""
    title: str


@dataclass(frozen=True)
class RunRecord:
    """What a run over N frames did, offline or through the node."""

    source: str
    preset: str
    refiner: str
    device: str
    mode: str
    """mono, stereo or rgbd."""
    config: Mapping[str, Any]
    """All settings, nested plain values."""
    stamps_ns: Sequence[int]
    """(N,)"""
    poses: Array
    """(N, 4, 4) T_first_camera; for a lost frame the last good one."""
    states: Sequence[TrackingState]
    """(N,)"""
    reasons: Sequence[str]
    """(N,) why a frame's state is not TRACKING; empty where it is."""
    stage_ms: Sequence[Mapping[str, float]]
    """(N,) milliseconds per stage; a frame names only the stages that it ran."""
    counts: Sequence[Mapping[str, int]]
    """(N,) per frame `matches` to its reference, and `inliers` of these."""
    seconds: float
    """Wall time of the whole run, reading of images included."""
    metric: bool
    """Whether poses are in metres; else their scale is arbitrary."""
    truth: Array | None = None
    """(N, 4, 4) T_first_camera, metres."""
    peak_rss_mb: float | None = None
    """Of the process that ran the odometry; None: this one."""
    offsets: Array | None = None
    """(K, 2) px by which refinement moved the second points of inliers, of all frames; None where that is not known."""
    example: MatchedFrames | None = None
    versions: Mapping[str, str] = field(default_factory=library_versions)

    def __post_init__(self) -> None:
        count = len(self.stamps_ns)
        lengths = {name: len(getattr(self, name)) for name in ("poses", "states", "reasons", "stage_ms", "counts")}
        if self.truth is not None:
            lengths["truth"] = len(self.truth)
        if count < 1 or any(length != count for length in lengths.values()):
            raise ValueError(f"a run record needs one entry per frame, at least one; {count} stamps and {lengths}")


def summarise(record: RunRecord) -> dict[str, Any]:
    """The content of summary.json: finite plain values, None where a figure does not exist.

    `frames`, `lost`, `degraded`, `reasons` {text: frames}, `seconds`, `fps`, `stage_ms` {name: {median, p95}},
    `peak_rss_mb`, `source`, `mode`, `metric`, `device`, `preset`, `refiner`, `versions`, `machine`; with truth also
    `path_m` and the figures of `accuracy`.
    """
    frames = len(record.stamps_ns)
    states = Counter(record.states)
    summary: dict[str, Any] = {
        "source": record.source,
        "preset": record.preset,
        "refiner": record.refiner,
        "device": record.device,
        "mode": record.mode,
        "metric": record.metric,
        "frames": frames,
        "lost": int(np.count_nonzero(lost_frames(record.states))),
        "degraded": states[TrackingState.DEGRADED],
        "reasons": _reasons(record),
        "seconds": record.seconds,
        "fps": frames / record.seconds if record.seconds > 0 else None,
        "stage_ms": _stage_statistics(record.stage_ms),
        "peak_rss_mb": record.peak_rss_mb if record.peak_rss_mb is not None else peak_rss_mb(),
        "versions": dict(record.versions),
        "machine": machine(),
    }
    if record.truth is not None:
        summary["path_m"] = float(path_length(record.truth)[-1])
        period_s = nominal_period_s(record.stamps_ns)
        summary |= accuracy(record.poses, record.truth, align_scale=not record.metric, period_s=period_s)
    return summary


def write_run(record: RunRecord, out: Path) -> dict[str, Any]:
    """Writes poses.txt, trajectory.tum, config.yaml, the pictures and, last, summary.json into the folder `out`.

    Pictures are trajectory.png, frames.png, with truth drift.png, and matches.png and offsets.png where the record has
    what they show. An earlier run's are removed first, and its summary.json: a folder that has one is complete.

    Returns:
        The summary.

    Raises:
        DataError: the folder cannot be written.
    """
    import yaml

    output_folder(out)
    for name in ("summary.json", *_PICTURES):
        (out / name).unlink(missing_ok=True)
    summary = summarise(record)
    write_kitti(out / "poses.txt", record.poses)
    write_tum(out / "trajectory.tum", record.stamps_ns, record.poses)
    write_text(out / "config.yaml", yaml.safe_dump(dict(record.config), sort_keys=False))
    _draw(record, summary, out)
    write_json(out / "summary.json", summary)
    return summary


def _draw(record: RunRecord, summary: Mapping[str, Any], out: Path) -> None:
    from subpx_ros.evaluation.match_plots import plot_offsets, plot_refined_matches
    from subpx_ros.evaluation.plots import plot_drift, plot_frames, plot_trajectory

    name, lost, drift = Path(record.source).name, lost_frames(record.states), summary.get("drift")
    trajectory, drifts, frames, matches, offsets = (out / picture for picture in _PICTURES)
    plot_trajectory(
        trajectory, record.poses, record.truth, lost=lost, drift=drift, align_scale=not record.metric, title=name
    )
    if drift is not None:
        plot_drift(drifts, {record.refiner: drift}, title=f"drift, {name}")
    plot_frames(frames, record.counts, record.stage_ms, lost, title=name)
    if record.example is not None:
        example = record.example
        plot_refined_matches(*example.images, example.matches, example.inliers, matches, example.title)
    if record.offsets is not None:
        plot_offsets(offsets, {name: {record.refiner: record.offsets}}, {record.refiner: _REFINED_COLOUR})


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Strict JSON: a NaN or infinity is a defect and raises ValueError."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def lost_frames(states: Sequence[TrackingState]) -> NDArray[np.bool_]:
    """(N,) which frames have no pose: those that are lost, and those after the first that still wait for a beginning."""
    waiting = [index > 0 and state is TrackingState.INITIALISING for index, state in enumerate(states)]
    return np.array([state is TrackingState.LOST for state in states]) | np.array(waiting)


def _reasons(record: RunRecord) -> dict[str, int]:
    """Why frames were lost or degraded, the most frequent reason first."""
    degraded = np.array([state is TrackingState.DEGRADED for state in record.states])
    impaired = degraded | lost_frames(record.states)
    reasons = Counter(why for bad, why in zip(impaired, record.reasons, strict=True) if why and bad)
    return dict(reasons.most_common())


def _stage_statistics(stage_ms: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile per stage, over the frames that ran it, in the order of first appearance, total last."""
    times: dict[str, list[float]] = {}
    for frame in stage_ms:
        for name, milliseconds in frame.items():
            times.setdefault(name, []).append(milliseconds)
    if "total" in times:
        times["total"] = times.pop("total")
    return {
        name: {"median": float(np.median(values)), "p95": float(np.percentile(values, 95))}
        for name, values in times.items()
    }
