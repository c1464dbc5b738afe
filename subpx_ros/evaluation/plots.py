"""Pictures of trajectories and matches, in colours that colour-blind readers tell apart (Okabe and Ito; plasma)."""

from __future__ import annotations

from collections.abc import Mapping
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

    from subpx_ros.two_view import TwoView


_TRUTH, _ESTIMATE, _START, _LOST, _OUTLIER = "#A0A0A0", "#0072B2", "#009E73", "#D55E00", "#56B4E9"
_DPI = 100
_MOST_LINES = 200


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


def plot_matches(
    image0: NDArray[np.uint8],
    image1: NDArray[np.uint8],
    keypoints0: Array,
    keypoints1: Array,
    inliers: NDArray[np.bool_],
    path: Path,
    *,
    values: Array | None = None,
    label: str = "offset (px)",
    title: str = "",
) -> None:
    """Both images with lines between the inliers, coloured by `values`; the other matches are dots.

    Of many inliers an even selection is drawn, so that the images stay visible. Wide images stand one above the other, others side by side.

    Args:
        image0: (H, W) uint8.
        image1: (H, W) uint8, of any size.
        keypoints0: (M, 2) pixels in image0.
        keypoints1: (M, 2) pixels in image1.
        inliers: (M,)
        path: the PNG file to write.
        values: (M,) what colours the lines; by default the distance between the two keypoints, px.
        label: name and unit of `values`.
        title: what the images are of; the counts are added.
    """
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    if values is None:
        values, label = np.linalg.norm(keypoints1 - keypoints0, axis=1), "keypoint motion (px)"
    canvas, shift = _joined(image0, image1)
    moved1 = keypoints1 + shift
    height, width = canvas.shape
    scale = min(1.0, 1600 / width)
    figure = new_figure(max(600, int(width * scale)), int(height * scale) + 110)
    view = figure.add_subplot()
    view.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    outliers = np.concatenate([keypoints0[~inliers], moved1[~inliers]])
    view.plot(*outliers.T, linestyle="none", marker=".", markersize=4, color=_OUTLIER)
    drawn = np.flatnonzero(inliers)
    drawn = drawn[:: max(1, round(len(drawn) / _MOST_LINES))]
    lines = LineCollection(list(np.stack([keypoints0, moved1], axis=1)[drawn]), linewidths=0.8, alpha=0.8)
    # The dark end is cut off: it does not show on a dark image.
    lines.set_cmap(ListedColormap(colormaps["plasma"](np.linspace(0.3, 1.0, 256))))
    lines.set_array(values[drawn])
    if np.any(inliers):
        lines.set_clim(0.0, max(float(np.percentile(values[inliers], 98)), 1e-9))
        view.add_collection(lines)
        figure.colorbar(lines, ax=view, label=label, location="bottom", shrink=0.4, aspect=40, pad=0.02)
    counts = f"{int(inliers.sum())} inliers ({len(drawn)} lines), {int((~inliers).sum())} other matches (dots)"
    view.set_title(f"{title}: {counts}" if title else counts)
    view.set_axis_off()
    save_figure(figure, path)


def plot_refined_matches(
    image0: NDArray[np.uint8], image1: NDArray[np.uint8], pair: TwoView, path: Path, title: str = ""
) -> None:
    """The matches of a pair at their refined positions, coloured by how far refinement moved them."""
    matches = pair.matches
    moved = np.concatenate([matches.refined0 - matches.detected0, matches.refined1 - matches.detected1], axis=1)
    offsets = np.linalg.norm(moved.reshape(-1, 2, 2), axis=2).mean(axis=1)
    refined = bool(np.any(offsets > 0))
    plot_matches(
        image0,
        image1,
        matches.refined0,
        matches.refined1,
        pair.pose.inliers,
        path,
        values=offsets if refined else None,
        label="mean offset by refinement (px)" if refined else "keypoint motion (px)",
        title=title,
    )


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


def _joined(image0: NDArray[np.uint8], image1: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Array]:
    """One picture of both, and the (x, y) of image1's first pixel in it."""
    (height0, width0), (height1, width1) = image0.shape, image1.shape
    gap = 6
    above = width0 > 1.3 * height0
    shift = (0, height0 + gap) if above else (width0 + gap, 0)
    size = (shift[1] + height1, max(width0, width1)) if above else (max(height0, height1), shift[0] + width1)
    canvas = np.full(size, 255, dtype=np.uint8)
    canvas[:height0, :width0] = image0
    canvas[shift[1] : shift[1] + height1, shift[0] : shift[0] + width1] = image1
    return canvas, np.array(shift, dtype=np.float64)


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
