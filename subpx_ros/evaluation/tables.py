"""Summaries as tables for people: percent, degrees and milliseconds, units in every header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from subpx_ros.evaluation.bench_results import Cell, Table
from subpx_ros.geometry import rotation_angle

if TYPE_CHECKING:
    from subpx_ros.two_view import TwoView


def print_summary(summary: Mapping[str, Any]) -> None:
    """The figures of `summarise`: the run, its stages and, where there is truth, its accuracy."""
    for each in summary_tables(summary):
        each.show()


def print_accuracy(figures: Mapping[str, Any]) -> None:
    """The figures of `evaluate`, or of a summary with truth."""
    for each in accuracy_tables(figures):
        each.show()


def summary_tables(summary: Mapping[str, Any]) -> list[Table]:
    """What `print_summary` prints."""
    rows: list[list[Cell]] = [
        ["frames", f"{summary['frames']}"],
        ["lost frames", f"{summary['lost']}"],
        ["degraded frames", f"{summary['degraded']}"],
        ["time (s)", _number(summary["seconds"], 1)],
        ["frames per second (1/s)", _number(summary["fps"], 2)],
        ["peak memory (MiB)", _number(summary["peak_rss_mb"], 0)],
    ]
    rows += [[f"reason: {reason} (frames)", f"{count}"] for reason, count in summary["reasons"].items()]
    what = f"{summary['source']}: {summary['mode']}, {summary['preset']}, {summary['refiner']}, {summary['device']}"
    tables = [Table(what, ["run", "value"], rows)]
    stages: list[list[Cell]] = [
        [name, _number(times["median"], 1), _number(times["p95"], 1)] for name, times in summary["stage_ms"].items()
    ]
    if stages:
        tables.append(Table("time per frame", ["stage", "median (ms)", "95 % (ms)"], stages))
    return tables + (accuracy_tables(summary) if "per_frame" in summary else [])


def accuracy_tables(figures: Mapping[str, Any]) -> list[Table]:
    """What `print_accuracy` prints."""
    drift = figures["drift"]
    if drift is None:
        first = Table("drift", ["segments"], [["none: the path is too short, or the estimate does not move"]])
    else:
        title = "drift (scale aligned to the truth)" if drift["scale_aligned"] else "drift"
        rows: list[list[Cell]] = [
            [f"{each['length_m']} m", f"{each['segments']}", *_drift_cells(each)] for each in drift["per_length"]
        ]
        total = sum(each["segments"] for each in drift["per_length"])
        rows.append(["all", f"{total}", *_drift_cells(drift)])
        first = Table(title, ["segment length", "segments", "translation (%)", "rotation (deg/100 m)"], rows)
    per_frame, relative = figures["per_frame"], figures["rpe"]
    accuracy: list[list[Cell]] = [
        ["path length (m)", _number(figures["path_m"], 1)],
        ["ATE, rms position error after alignment (m)", _number(figures["ate_m"], 3)],
        ["RPE per frame, median translation (m)", _number(relative["t_m_median"], 4)],
        ["RPE per frame, median rotation (deg)", _number(relative["r_deg_median"], 4)],
        ["direction of translation per frame, median error (deg)", _number(per_frame["direction_deg_median"], 3)],
    ]
    return [first, Table("accuracy", ["figure", "value"], accuracy)]


def print_pair(pair: TwoView) -> None:
    """What `subpx match` found."""
    matches, pose = pair.matches, pair.pose
    moved = (matches.refined0 - matches.detected0, matches.refined1 - matches.detected1)
    offsets = [f"{np.median(np.linalg.norm(each, axis=1)):.3f}" if len(each) else "-" for each in moved]
    rows: list[list[Cell]] = [
        ["pose", pose.status.name + (f": {pose.reason}" if pose.reason else "")],
        ["matches", f"{len(matches)}"],
        ["inliers", f"{int(np.count_nonzero(pose.inliers))}"],
        ["median offset by refinement, first and second point (px)", ", ".join(offsets)],
    ]
    if pose.T_reference_current is not None:
        rows.append(["rotation (deg)", f"{np.degrees(rotation_angle(pose.T_reference_current[:3, :3])):.3f}"])
    Table("pair", ["figure", "value"], rows).show()


def _drift_cells(drift: Mapping[str, Any]) -> tuple[str, str]:
    return _number(drift["t_percent"], 3), _number(drift["r_deg_per_100m"], 3)


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
