"""Pictures of the odometry benchmark: refiners side by side against the truth, drift, inliers and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.metrics import path_length, rescaled
from subpx_ros.evaluation.plots import new_figure, plot_drift, save_figure
from subpx_ros.evaluation.sequences.outputs import PER_FRAME, poses_of
from subpx_ros.evaluation.sequences.peers import PEER
from subpx_ros.evaluation.sequences.tables import by_method, pooled
from subpx_ros.evaluation.side_by_side import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRUTH = "#A0A0A0"
_PEERS = ("#000000", "#56B4E9", "#F0E442")
Results = Sequence[Mapping[str, Any]]


def plot_sequences(out: Path, results: Mapping[str, Mapping[str, Any]], truths: Mapping[str, Array]) -> None:
    """Writes `drift_PRESET_MODE.png`, and of every recording `trajectory_PRESET_NAME.png` and `frames_PRESET_NAME.png`.

    Args:
        out: folder of the pictures.
        results: of the items, by name.
        truths: T_first_camera (N, 4, 4) by recording.
    """
    peers = [result for result in results.values() if result["preset"] == PEER]
    presets = [preset for preset in dict.fromkeys(result["preset"] for result in results.values()) if preset != PEER]
    for preset in presets or [PEER] * bool(peers):
        own = [result for result in results.values() if result["preset"] == preset]
        chosen = own if preset == PEER else [*own, *peers]
        for mode in dict.fromkeys(result["mode"] for result in chosen):
            alike = [result for result in chosen if result["mode"] == mode]
            drifts = {refiner: _pooled_drift(group) for (_, refiner, _), group in by_method(alike)}
            if any(drift["per_length"] for drift in drifts.values()):
                plot_drift(out / f"drift_{preset}_{mode}.png", drifts, _colours(drifts), f"drift, {preset}, {mode}")
        for name in dict.fromkeys(result["sequence"] for result in chosen):
            ours = [result for result in chosen if result["sequence"] == name]
            _plot_trajectories(out / f"trajectory_{preset}_{name}.png", ours, truths[name], f"{name}, {preset}")
            _plot_frames(out / f"frames_{preset}_{name}.png", ours, f"{name}, {preset}")


def _colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for every refiner or peer."""
    peers = [label for label in dict.fromkeys(labels) if label not in COLOURS]
    return COLOURS | {peer: _PEERS[index % len(_PEERS)] for index, peer in enumerate(peers)}


def _pooled_drift(group: Results) -> dict[str, Any]:
    return {
        "per_length": pooled(group, "per_length", "length_m"),
        "per_speed": pooled(group, "per_speed", "speed_mps"),
    }


def _plot_trajectories(path: Path, results: Results, truth: Array, title: str) -> None:
    """Top view (x right, z forward), and the position error along the way."""
    figure = new_figure(900, 700)
    view, error = figure.subplots(2, 1, height_ratios=[4, 1])
    view.plot(truth[:, 0, 3], truth[:, 2, 3], color=_TRUTH, linewidth=5.0, label="truth")
    aligned, colours = "", _colours(result["refiner"] for result in results)
    for result in results:
        poses = poses_of(result)
        scaled = None if result["metric"] else rescaled(poses, truth)
        if scaled is not None:
            poses, aligned = scaled, ", scale aligned to the truth"
        colour, lost = colours[result["refiner"]], result[PER_FRAME]["lost"]
        view.plot(poses[:, 0, 3], poses[:, 2, 3], color=colour, linewidth=1.5, label=result["refiner"])
        view.plot(poses[lost, 0, 3], poses[lost, 2, 3], "x", color=colour)
        distance = np.linalg.norm(poses[:, :3, 3] - truth[:, :3, 3], axis=1)
        error.plot(path_length(truth), distance, color=colour, linewidth=1.5)
    view.set_title(f"{title}{aligned}" + (", lost frames crossed" if any(_lost(results)) else ""))
    view.set_xlabel("x, right (m)")
    view.set_ylabel("z, forward (m)")
    view.set_aspect("equal", adjustable="datalim")
    view.margins(0.08)
    view.legend(loc="best", framealpha=0.9)
    error.set_xlabel("distance travelled (m)")
    error.set_ylabel("position error (m)")
    _finish((view, error), from_zero=(error,))
    save_figure(figure, path)


def _plot_frames(path: Path, results: Results, title: str) -> None:
    """Inliers and time of every frame."""
    figure = new_figure(900, 560)
    inliers, times = figure.subplots(2, 1, sharex=True)
    colours = _colours(result["refiner"] for result in results)
    for result in results:
        colour, frames = colours[result["refiner"]], result[PER_FRAME]
        # Peers tell nothing of their inliers.
        inliers.plot(frames["inliers"], color=colour, linewidth=1.2, label=result["refiner"])
        times.plot(frames["total_ms"], color=colour, linewidth=1.2)
        for axes in (inliers, times):
            for index in frames["lost"]:
                axes.axvline(index, color=colour, alpha=0.3, linestyle=":")
    inliers.set_title(title + (", lost frames dotted" if any(_lost(results)) else ""))
    inliers.set_ylabel("inliers of a frame")
    inliers.legend(loc="best", framealpha=0.9)
    times.set_ylabel("time of a frame (ms)")
    times.set_xlabel("frame")
    _finish((inliers, times), from_zero=(inliers, times))
    save_figure(figure, path)


def _lost(results: Results) -> list[int]:
    return [len(result[PER_FRAME]["lost"]) for result in results]


def _finish(all_axes: Sequence[Axes], from_zero: Sequence[Axes]) -> None:
    for axes in all_axes:
        axes.grid(alpha=0.3)
    for axes in from_zero:
        axes.set_ylim(bottom=0.0)
        axes.margins(x=0.01)
