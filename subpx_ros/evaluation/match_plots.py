"""Pictures of matches and of what refinement moved, in colours that colour-blind readers tell apart (plasma)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, RefinedMatches
from subpx_ros.evaluation.plots import new_figure, save_figure

_OUTLIER = "#56B4E9"
_MOST_LINES = 200


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
    image0: NDArray[np.uint8],
    image1: NDArray[np.uint8],
    matches: RefinedMatches,
    inliers: NDArray[np.bool_],
    path: Path,
    title: str = "",
) -> None:
    """The matches of a pair at their refined positions, coloured by how far refinement moved them."""
    moved = np.concatenate([matches.refined0 - matches.detected0, matches.refined1 - matches.detected1], axis=1)
    offsets = np.linalg.norm(moved.reshape(-1, 2, 2), axis=2).mean(axis=1)
    refined = bool(np.any(offsets > 0))
    plot_matches(
        image0,
        image1,
        matches.refined0,
        matches.refined1,
        inliers,
        path,
        values=offsets if refined else None,
        label="mean offset by refinement (px)" if refined else "keypoint motion (px)",
        title=title,
    )


def plot_offsets(path: Path, offsets: Mapping[str, Mapping[str, Array]], colours: Mapping[str, str]) -> None:
    """The paper's histograms: length and direction of the second point's move, a row per title.

    Args:
        path: the PNG file to write.
        offsets: by title and label, (N, 2) refined minus detected, px.
        colours: of the labels.
    """
    figure = new_figure(1000, 60 + 320 * len(offsets))
    for row, (title, by_label) in enumerate(offsets.items()):
        length = figure.add_subplot(len(offsets), 2, 2 * row + 1)
        direction = figure.add_subplot(len(offsets), 2, 2 * row + 2, projection="polar")
        for label, moves in by_label.items():
            if not len(moves):
                continue
            length.hist(
                np.linalg.norm(moves, axis=1), bins=np.linspace(0.0, 3.0, 61).tolist(), density=True, histtype="step",
                linewidth=2.0, color=colours[label], label=label,
            )  # fmt: skip
            counts, edges = np.histogram(
                np.arctan2(moves[:, 1], moves[:, 0]), bins=np.linspace(-np.pi, np.pi, 37), density=True
            )
            direction.plot(np.append((edges[:-1] + edges[1:]) / 2.0, edges[0] + np.pi / 36), np.append(counts, counts[0]),
                           linewidth=2.0, color=colours[label])  # fmt: skip
        length.set_title(f"{title}: offset of the second point")
        length.set_xlabel("length (px)")
        length.set_ylabel("density (1/px)")
        length.grid(alpha=0.3)
        if any(map(len, by_label.values())):
            length.legend()
        direction.set_title("direction (x right, y down)", fontsize=9)
        direction.set_theta_direction(-1)  # type: ignore[attr-defined]
        direction.set_yticklabels([])
    save_figure(figure, path)


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
