"""Folders of numbered PNG images, checked by their names and headers; no pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from subpx_ros.datasets.image_files import png_size
from subpx_ros.errors import DataError


def image_paths(folder: Path) -> list[Path]:
    """The PNG images of a folder by name. Raises DataError when there is none."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise DataError(f"{folder} needs PNG images (000000.png, ...); it has none")
    return paths


def check_pairs(left: list[Path], right: list[Path]) -> None:
    """Raises DataError unless both folders, neither of them empty, have images of the same names."""
    left_names, right_names = {path.name for path in left}, {path.name for path in right}
    missing = [left[0].parent / name for name in sorted(right_names - left_names)]
    missing += [right[0].parent / name for name in sorted(left_names - right_names)]
    if missing:
        raise DataError(
            f"every left image needs a right one of the same name; there are {len(left)} left and {len(right)} right "
            f"ones, and {missing[0]} is missing: copy it, or use --mode mono"
        )


def common_size(paths: Sequence[Path]) -> tuple[int, int]:
    """(width, height) of all images, at least one. Raises DataError where they differ or one is no PNG."""
    first = png_size(paths[0])
    for path in paths[1:]:
        size = png_size(path)
        if size != first:
            raise DataError(
                f"all images of a sequence must have one size; {paths[0]} has {first[0]}x{first[1]} px "
                f"and {path} has {size[0]}x{size[1]} px: export them from one rectification"
            )
    return first
