"""A text file that lists pairs, one on a line; '#' begins a comment. The numbers behind the two image names say which kind:

IMAGE0 IMAGE1 K0 K1 R t          9 + 9 + 9 + 3 numbers; MegaDepth-1500 and ScanNet-1500 as glue-factory has them
IMAGE0 IMAGE1 K0 K1 T            9 + 9 + 16 numbers
IMAGE0 IMAGE1 0 0 K0 K1 T        2 + 9 + 9 + 16 numbers; ScanNet-1500 as SuperGlue has it (quarter turns must be 0)
IMAGE0 IMAGE1 H                  9 numbers

Matrices row by row. x1 = R x0 + t (T the same in 4x4) maps points of camera 0 into camera 1; H maps pixels of image 0
to pixels of image 1; the centre of the first pixel is (0, 0). Image names are relative to the file's folder or to the
folder `images` in it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.pairs.homographies import check_homography
from subpx_ros.datasets.pairs.pair import PairSet, PairSource, ViewSource, camera_of_matrix
from subpx_ros.datasets.text import parse_number, pose_from_row, read_lines
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError

NAMES = ("pairs_calibrated.txt", "scannet_test_pairs_with_gt.txt", "pairs.txt")
"""Files that a folder may have instead of being named itself."""
_COUNTS = (9, 30, 34, 36)


def read_pair_list(path: Path) -> PairSet:
    """The pairs of a list, or of the first file in `NAMES` that a folder has.

    Raises:
        DataError: no such file, a missing image, another count of numbers, or numbers that are no camera, motion or
            homography; names the line.
    """
    if path.is_dir():
        found = [path / name for name in NAMES if (path / name).is_file()]
        if not found:
            raise DataError(f"{path} needs a list of pairs, {' or '.join(NAMES)}; it has none")
        path = found[0]
    pairs = [_pair(path.parent, line, f"{path} line {number}") for number, line in read_lines(path)]
    return PairSet(path.resolve().parent.name, pairs)


def _pair(folder: Path, line: str, where: str) -> PairSource:
    names, tokens = line.split()[:2], line.split()[2:]
    if len(tokens) not in _COUNTS:
        raise DataError(
            f"{where}: two images and {', '.join(map(str, _COUNTS[:-1]))} or {_COUNTS[-1]} numbers are required; "
            f"got {len(tokens)} numbers"
        )
    numbers = np.array([parse_number(token, where) for token in tokens])
    if len(numbers) == 9:
        H_1_0 = check_homography(numbers.reshape(3, 3), where)
        return PairSource(_view(folder, names[0], where), _view(folder, names[1], where), H_1_0=H_1_0)
    if len(numbers) == 36:
        if np.any(numbers[:2]):
            raise DataError(f"{where}: images must be upright (quarter turns 0 0); turn them and write the list anew")
        numbers = numbers[2:]
    view0 = _view(folder, names[0], where, numbers[:9])
    view1 = _view(folder, names[1], where, numbers[9:18])
    return PairSource(view0, view1, T_1_0=_motion(numbers[18:], where), group=_scene(names[0]))


def _motion(numbers: Array, where: str) -> Array:
    if len(numbers) == 16:
        return pose_from_row(numbers[:12], where)
    return pose_from_row(np.column_stack([numbers[:9].reshape(3, 3), numbers[9:]]).ravel(), where)


def _view(folder: Path, name: str, where: str, intrinsics: Array | None = None) -> ViewSource:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{where}: image names must be relative and stay below the list's folder; got '{name[:60]}'")
    found = [path for path in (folder / name, folder / "images" / name) if path.is_file()]
    if not found:
        raise DataError(f"{where}: the image '{name[:60]}' is neither in {folder} nor in {folder / 'images'}")
    camera_of = None if intrinsics is None else camera_of_matrix(intrinsics.reshape(3, 3), where)
    return ViewSource(name, partial(read_grey, found[0]), camera_of)


def _scene(name: str) -> str:
    """The first folder of an image name: the scene, in the lists that are in use."""
    return Path(name).parts[0] if len(Path(name).parts) > 1 else ""
