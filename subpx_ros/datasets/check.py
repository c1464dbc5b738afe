"""Checks of data sets on disk: what they are, whether they are complete, and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subpx_ros.datasets import SOURCES, open_sequence, sequence_layout
from subpx_ros.datasets.catalogue import CATALOGUE
from subpx_ros.datasets.pairs import open_pairs, pair_layout
from subpx_ros.errors import DataError

_DEEPEST = 3
"""Folders below the named one in which data sets are looked for: KITTI's sequences/00, a day's drives."""

Progress = Callable[[str, int, int], None]
"""Called with what is read, how many images were, and how many there are."""


@dataclass(frozen=True)
class Finding:
    """One data set, good or not."""

    path: Path
    layout: str
    content: str
    """What is in it; empty where it is not complete."""
    fault: str = ""
    """What is missing or damaged; empty where nothing is."""


def check_data(path: Path, read_images: bool, progress: Progress) -> list[Finding]:
    """Every data set at a path, or below it where it is none itself.

    Args:
        path: a folder or file.
        read_images: whether to decode every image, beside the files, headers, counts and numbers that are always read.
        progress: called while images are read.

    Raises:
        DataError: nothing there, or nothing that is known.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: name a data set, or a folder with some ('subpx data list')")
    found = list(_data_sets(path, _DEEPEST))
    if not found:
        raise DataError(
            f"{path} holds no data set that is known: recordings are {SOURCES}; pairs are "
            f"{', '.join(each.name for each in CATALOGUE if each.kind == 'pairs')} ('subpx data list' has the layouts)"
        )
    return [_check(place, layout, read_images, progress) for place, layout in found]


def _data_sets(path: Path, deeper: int) -> Iterator[tuple[Path, str]]:
    layout = _layout(path)
    if layout is not None:
        yield path, layout
    elif path.is_dir() and deeper:
        for below in sorted(path.iterdir()):
            if below.is_dir() or below.suffix != ".txt":
                yield from _data_sets(below, deeper - 1)


def _layout(path: Path) -> str | None:
    layout = sequence_layout(path)
    if layout == "kitti-raw" and not any(path.glob("image_0?")):
        return None  # a day: its drives are data sets of their own
    if layout is not None:
        return layout
    if not path.is_dir() and path.suffix != ".txt":
        return None
    layout = pair_layout(str(path))
    # These are recognised by what is below them too; a folder of many data sets is none itself.
    own = {"sequence": "", "colmap": "images", "oxford": "H1to2p"}.get(layout, ".")
    return layout if own and (path / own).exists() else None


def _check(path: Path, layout: str, read_images: bool, progress: Progress) -> Finding:
    check = _check_pairs if layout in {each.name for each in CATALOGUE if each.kind == "pairs"} else _check_recording
    try:
        return Finding(path, layout, check(path, layout, read_images, progress))
    except DataError as error:
        return Finding(path, layout, "", " ".join(str(error).split()))


def _check_recording(path: Path, layout: str, read_images: bool, progress: Progress) -> str:
    sequence = open_sequence(str(path))
    if read_images:
        for index in range(len(sequence)):
            sequence.frame(index)
            progress(sequence.name, index + 1, len(sequence))
    camera, seconds = sequence.rig.left, (sequence.stamps_ns[-1] - sequence.stamps_ns[0]) * 1e-9
    truth = "no true poses"
    if sequence.truth is not None:
        metres = float(np.linalg.norm(np.diff(sequence.truth[:, :3, 3], axis=0), axis=1).sum())
        truth = f"true poses over {metres:.1f} m"
    return f"{len(sequence)} frames, {sequence.rig.mode}, {camera.width}x{camera.height} px, {seconds:.1f} s, {truth}"


def _check_pairs(path: Path, layout: str, read_images: bool, progress: Progress) -> str:
    pairs = open_pairs(str(path), layout)
    sources = [pairs.source(index) for index in range(len(pairs))]
    views = {view.name: view for source in sources for view in (source.view0, source.view1)}
    if read_images:
        for count, view in enumerate(views.values(), start=1):
            view.view()
            progress(pairs.name, count, len(views))
    truth = "homographies" if sources[0].H_1_0 is not None else "true poses"
    return f"{len(pairs)} pairs of {len(views)} images, {truth}"
