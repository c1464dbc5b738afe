"""Tables of the odometry benchmark: per recording, per segment length and per speed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from subpx_ros.evaluation.bench_results import Cell, Table
from subpx_ros.evaluation.metrics import KITTI_LENGTHS_M

Figures = Mapping[str, Any]
_METHOD = ["preset", "refiner", "mode"]
_DRIFT = ["translation (%)", "rotation (deg/100 m)"]


def sequence_tables(results: Mapping[str, Figures]) -> list[Table]:
    """Figures of all items, by name, as `SequenceBenchmark` measures them; no table for no results."""
    if not results:
        return []
    per_recording = [_recording_row(each) for each in results.values()]
    for method, group in by_method(results.values()):
        if len(group) > 1 and all(each["drift"] for each in group):
            per_recording.append(_all_row(method, group))
    per_frame = [_frame_row(each) for each in results.values()]
    columns = [*_METHOD, "recording", "frames", "lost", *_DRIFT, "ATE (m)", "RPE (m)", "RPE (deg)", "time (ms)"]
    tables = [
        Table("odometry: drift, absolute and relative errors", columns, per_recording),
        Table(
            "odometry: per frame, medians",
            [*_METHOD, "recording", "rotation (deg)", "direction (deg)", "time (ms)", "time, 95 % (ms)"],
            per_frame,
        ),
    ]
    for title, key, name, unit in (
        ("length of the segments", "per_length", "length_m", "length (m)"),
        ("speed", "per_speed", "speed_mps", "speed (m/s)"),
    ):
        rows: list[list[Cell]] = []
        for method, group in by_method(results.values()):
            for part in pooled(group, key, name):
                rows.append([*method, part[name], *_drift_cells(part), part["segments"]])
        if rows:
            tables.append(Table(f"drift by {title}", [*_METHOD, unit, *_DRIFT, "segments"], rows))
    return tables


def by_method(results: Iterable[Figures]) -> Iterator[tuple[tuple[str, ...], list[Figures]]]:
    """Preset, refiner and mode with the figures of all their recordings."""
    groups: dict[tuple[str, ...], list[Figures]] = {}
    for each in results:
        groups.setdefault(tuple(each[name] for name in _METHOD), []).append(each)
    yield from groups.items()


def pooled(group: Sequence[Figures], key: str, name: str) -> list[dict[str, Any]]:
    """`per_length` or `per_speed` over the segments of several recordings, as if they were one."""
    parts: dict[float, list[Figures]] = {}
    for each in group:
        for part in (each["drift"] or {}).get(key, ()):
            parts.setdefault(part[name], []).append(part)
    return [{name: value, **_pooled(parts[value])} for value in sorted(parts)]


def _pooled(parts: Sequence[Figures]) -> dict[str, Any]:
    """Mean drift over the segments of all parts."""
    segments = sum(part["segments"] for part in parts)
    means = {
        figure: sum(part[figure] * part["segments"] for part in parts) / segments
        for figure in ("t_percent", "r_deg_per_100m")
    }
    return {**means, "segments": segments}


def _recording_row(result: Figures) -> list[Cell]:
    drift = result["drift"] or {"t_percent": None, "r_deg_per_100m": None}
    return [
        *(result[name] for name in _METHOD),
        result["sequence"],
        result["frames"],
        result["lost"],
        *_drift_cells(drift),
        result["ate_m"],
        result["rpe"]["t_m_rmse"],
        result["rpe"]["r_deg_rmse"],
        result["stage_ms"]["total"]["median"],
    ]


def _all_row(method: tuple[str, ...], group: Sequence[Figures]) -> list[Cell]:
    """Over the segments of all recordings, as KITTI ranks; only where all have segments of the same lengths."""
    official = {min(each["drift"]["lengths_m"]) >= KITTI_LENGTHS_M[0] for each in group}
    parts = [part for each in group for part in each["drift"]["per_length"]]
    drift: list[Cell] = _drift_cells(_pooled(parts)) if len(official) == 1 else [None, None]
    counts = [sum(each[name] for each in group) for name in ("frames", "lost")]
    return [*method, "all", *counts, *drift, None, None, None, None]


def _frame_row(result: Figures) -> list[Cell]:
    per_frame, total = result["per_frame"], result["stage_ms"]["total"]
    return [
        *(result[name] for name in _METHOD),
        result["sequence"],
        per_frame["rotation_deg_median"],
        per_frame["direction_deg_median"],
        total["median"],
        total["p95"],
    ]


def _drift_cells(drift: Figures) -> list[Cell]:
    return [drift["t_percent"], drift["r_deg_per_100m"]]
