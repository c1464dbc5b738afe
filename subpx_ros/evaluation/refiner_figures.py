"""The paper's pictures of refinement: how far and where points move, and patches before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.evaluation import match_plots
from subpx_ros.evaluation.plots import new_figure, save_figure
from subpx_ros.evaluation.refiner_checks import EndPoints, Sample
from subpx_ros.evaluation.side_by_side import COLOURS, DETECTED, OURS, PUBLISHED, RETRAINED
from subpx_ros.training.pairs import transfer

_COLOURS = {label: COLOURS[label] for label in (PUBLISHED, RETRAINED, OURS)}
_DETECTED, _TRUTH = COLOURS[DETECTED], "#009E73"
_PATCH_RADIUS = 6
_PATCHES = 8


def plot_offsets(path: Path, results: dict[str, EndPoints]) -> None:
    """The histograms of the refiners that move points, by detector."""
    moving = {
        detector: {label: moves for label, moves in errors.offsets.items() if label in _COLOURS}
        for detector, errors in results.items()
    }
    match_plots.plot_offsets(path, moving, _COLOURS)


def plot_patches(path: Path, sample: Sample) -> None:
    """Patches of both images around matches, with the detected point, the refined ones and, in image 1, the truth.

    Shown are the matches with the most contrast around them among those that were detected with an error.
    """
    detected = sample.refined["detected"]
    target1, _ = transfer(sample.pair, detected.detected0)
    errors = np.linalg.norm(detected.detected1 - target1, axis=1)
    usable = np.flatnonzero(sample.correct & (errors > 0.3))
    contrast = [_around(sample.pair.image0, detected.detected0[match]).std() for match in usable]
    chosen = usable[np.argsort(contrast)[::-1][:_PATCHES]]
    columns = max(1, len(chosen))
    figure = new_figure(60 + 150 * columns, 400)
    for column, match in enumerate(chosen):
        for view, image in enumerate((sample.pair.image0, sample.pair.image1)):
            axes = figure.add_subplot(2, columns, view * columns + column + 1)
            centre = (detected.detected0, detected.detected1)[view][match]
            shown = _around(image, centre)
            axes.imshow(image, cmap="gray", vmin=shown.min(), vmax=shown.max(), interpolation="nearest")
            axes.set_xlim(centre[0] - _PATCH_RADIUS, centre[0] + _PATCH_RADIUS)
            axes.set_ylim(centre[1] + _PATCH_RADIUS, centre[1] - _PATCH_RADIUS)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.plot(
                *centre, "o", color=_DETECTED, markersize=9, fillstyle="none", markeredgewidth=2, label="detected"
            )
            for name, colour in _COLOURS.items():
                if name in sample.refined:
                    result = sample.refined[name]
                    point = (result.refined0, result.refined1)[view][match]
                    axes.plot(*point, "x", color=colour, markersize=8, markeredgewidth=2, label=name)
            if view == 1:
                axes.plot(*target1[match], "+", color=_TRUTH, markersize=12, markeredgewidth=2, label="truth")
            if column == 0:
                axes.set_ylabel(f"image {view}")
    if len(chosen):
        handles, labels = figure.axes[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    save_figure(figure, path)


def _around(image: NDArray[np.uint8], centre: Array) -> NDArray[np.uint8]:
    """The part of an image that a patch shows."""
    column, row = np.clip(np.rint(centre).astype(int) - _PATCH_RADIUS, 0, None)
    return image[row : row + 2 * _PATCH_RADIUS + 1, column : column + 2 * _PATCH_RADIUS + 1]


def plot_inliers(path: Path, rows: list[dict[str, object]]) -> None:
    """Share of matches that agree with the estimated pose, by detector and refiner."""
    figure = new_figure(800, 400)
    axes = figure.add_subplot()
    labels = [f"{row['detector']}\n{row['refiner']}" for row in rows]
    colours = [_COLOURS.get(str(row["refiner"]), _DETECTED) for row in rows]
    axes.bar(range(len(rows)), [100.0 * float(str(row["inlier_share"])) for row in rows], color=colours)
    axes.set_xticks(range(len(rows)), labels, fontsize=8)
    axes.set_ylabel("inliers (% of matches)")
    axes.grid(axis="y", alpha=0.3)
    save_figure(figure, path)
