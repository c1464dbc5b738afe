"""Pictures of trajectories and of what every frame took, in colours that colour-blind readers tell apart (Okabe and Ito)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.metrics import path_length, rescaled
from subpx_ros.output import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TRUTH, _ESTIMATE, _START, _LOST, _LIGHT = "#A0A0A0", "#0072B2", "#009E73", "#D55E00", "#56B4E9"
_SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
_DPI = 100


def plot_trajectory(
    path: Path,
    estimate: Array,
    truth: Array | None = None,
    *,
    lost: NDArray[np.bool_] | None = None,
    drift: Mapping[str, Any] | None = None,
    align_scale: bool = False,
    title: str = "",
) -> None:
    """Top view (x right, z forward) of the estimate against the truth, and the position error along the way.

    Args:
        path: the PNG file to write.
        estimate: T_first_camera (N, 4, 4).
        truth: T_first_camera (N, 4, 4), metres, or None.
        lost: (N,) frames to mark as lost.
        drift: `t_percent` and `r_deg_per_100m` for the title.
        align_scale: bring an estimate that is not metric to the scale of the truth.
        title: what the trajectory is of.
    """
    scaled = rescaled(estimate, truth) if truth is not None and align_scale else None
    shown = estimate if scaled is None else scaled
    figure = new_figure(900, 700)
    if truth is None:
        view = figure.add_subplot()
    else:
        view, error = figure.subplots(2, 1, height_ratios=[4, 1])
        _draw_error(error, shown, truth)
    unit = "scale not known" if align_scale and truth is None else "m"
    _draw_top_view(view, shown, truth, np.zeros(len(shown), dtype=bool) if lost is None else lost, unit)
    view.set_title(_trajectory_title(title, drift, align_scale and truth is not None))
    save_figure(figure, path)


def plot_drift(
    path: Path, drifts: Mapping[str, Mapping[str, Any]], colours: Mapping[str, str] | None = None, title: str = ""
) -> None:
    """Translation and rotation drift over the length of a segment and, where there is one, over its speed.

    Args:
        path: the PNG file to write.
        drifts: `drift` of `accuracy` by label, at least one.
        colours: of the labels; others get the next of a series.
        title: what the drift is of.
    """
    chosen = dict(zip(drifts, cycle(_SERIES), strict=False)) | dict(colours or {})
    figures = (("t_percent", "translation (%)"), ("r_deg_per_100m", "rotation (deg/100 m)"))
    groups = [("per_length", "length_m", "segment length (m)")]
    if any(drift.get("per_speed") for drift in drifts.values()):
        groups.append(("per_speed", "speed_mps", "speed (m/s)"))
    figure = new_figure(900, 60 + 300 * len(groups))
    grid = figure.subplots(len(groups), 2, squeeze=False)
    for row, (group, abscissa, name) in zip(grid, groups, strict=True):
        for axes, (key, label) in zip(row, figures, strict=True):
            for method, drift in drifts.items():
                parts = drift.get(group, ())
                places, values = [part[abscissa] for part in parts], [part[key] for part in parts]
                axes.plot(places, values, marker="o", color=chosen[method], label=method)
            axes.set_xticks(sorted({part[abscissa] for drift in drifts.values() for part in drift.get(group, ())}))
            axes.set_xlabel(name)
            axes.set_ylabel(label)
            axes.set_ylim(0.0, 1.1 * float(axes.dataLim.ymax) or 1.0)
            axes.grid(alpha=0.3)
    if len(drifts) > 1:
        grid[0, 0].legend()
    figure.suptitle(title)
    save_figure(figure, path)


def plot_frames(
    path: Path,
    counts: Sequence[Mapping[str, int]],
    stage_ms: Sequence[Mapping[str, float]],
    lost: NDArray[np.bool_],
    title: str = "",
) -> None:
    """Matches and inliers of every frame, and how long its stages took.

    Args:
        path: the PNG file to write.
        counts: (N,) `matches` and `inliers`.
        stage_ms: (N,) milliseconds per stage and `total`.
        lost: (N,) frames to mark as lost.
        title: what the frames are of.
    """
    frames = np.arange(len(counts))
    figure = new_figure(900, 560)
    support, times = figure.subplots(2, 1, sharex=True)
    for name, colour in (("matches", _LIGHT), ("inliers", _ESTIMATE)):
        support.plot(frames, [each.get(name, 0) for each in counts], color=colour, label=name)
    for axes in (support, times):
        for index in np.flatnonzero(lost):
            axes.axvspan(index - 0.5, index + 0.5, color=_LOST, alpha=0.3, linewidth=0.0)
    support.set_ylabel("matches of a frame")
    stages = [name for name in dict.fromkeys(name for each in stage_ms for name in each) if name != "total"]
    values = [[each.get(name, 0.0) for each in stage_ms] for name in stages]
    if stages:
        times.stackplot(frames, values, labels=stages, colors=[*islice(cycle(_SERIES), len(stages))], alpha=0.8)
    totals = [each.get("total", np.nan) for each in stage_ms]
    times.plot(frames, totals, color="#404040", linewidth=1.0, label="total")
    times.set_ylabel("time of a frame (ms)")
    times.set_xlabel("frame")
    for axes in (support, times):
        axes.set_ylim(bottom=0.0)
        axes.margins(x=0.01)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    support.set_title(f"{title}, lost frames shaded" if np.any(lost) else title)
    save_figure(figure, path)


def _draw_top_view(view: Axes, estimate: Array, truth: Array | None, lost: NDArray[np.bool_], unit: str) -> None:
    x, z = estimate[:, 0, 3], estimate[:, 2, 3]
    if truth is not None:
        view.plot(truth[:, 0, 3], truth[:, 2, 3], color=_TRUTH, linewidth=5.0, label="truth")
    view.plot(x, z, color=_ESTIMATE, linewidth=2.0, label="estimate")
    if np.any(lost):
        view.plot(x[lost], z[lost], "x", color=_LOST, markersize=9, markeredgewidth=2, label=f"lost ({lost.sum()})")
    view.plot(x[0], z[0], "o", color=_START, markersize=10, label="start")
    view.plot(x[-1], z[-1], "s", color=_ESTIMATE, markersize=9, markeredgecolor="white", label="end")
    view.set_xlabel(f"x, right ({unit})")
    view.set_ylabel(f"z, forward ({unit})")
    view.set_aspect("equal", adjustable="datalim")
    view.margins(0.08)
    view.grid(alpha=0.3)
    view.legend(loc="best", framealpha=0.9)


def _draw_error(axes: Axes, estimate: Array, truth: Array) -> None:
    error = np.linalg.norm(estimate[:, :3, 3] - truth[:, :3, 3], axis=1)
    axes.plot(path_length(truth), error, color=_ESTIMATE, linewidth=1.5)
    axes.set_xlabel("distance travelled (m)")
    axes.set_ylabel("position error (m)")
    axes.set_ylim(bottom=0.0)
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)


def _trajectory_title(title: str, drift: Mapping[str, Any] | None, scale_aligned: bool) -> str:
    parts = [title] if title else []
    if drift:
        parts.append(f"drift {drift['t_percent']:.2f} %, {drift['r_deg_per_100m']:.2f} deg/100 m")
    if scale_aligned:
        parts.append("scale aligned to the truth")
    return " · ".join(parts)


def new_figure(width: int, height: int) -> Figure:
    """A figure of a size in pixels, drawn without a display and without touching global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    with written_beside(path) as temporary:
        figure.savefig(temporary, format="png")
