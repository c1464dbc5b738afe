"""A sequence in the layout of the KITTI odometry benchmark (Geiger, Lenz, Urtasun, CVPR 2012).

image_0/000000.png ...   left grey; image_1: right grey; colour-only sequences have image_2 and image_3
calib.txt                'P0: 12 numbers' (3x4, row by row) per camera
times.txt                optional, seconds, one per frame; without it frames are 0.1037 s apart
poses.txt                optional, 12 numbers per frame: T_first_camera of the left grey camera, metres;
                         in the official tree it is ../../poses/<sequence>.txt
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from subpx_ros.datasets.camera_info import camera_from_projection, offset_from_projection, rig_from_projections
from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.image_folders import check_pairs, common_size, image_paths
from subpx_ros.datasets.sequence import Sequence, check_increasing, relative_to_first
from subpx_ros.datasets.text import parse_numbers, parse_stamp, pose_from_row, read_lines
from subpx_ros.datatypes import Array, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import se3

DEFAULT_PERIOD_NS = 103_700_000
_PAIRS = ((0, 1), (2, 3))


class KittiSequence(Sequence):
    """Frames of a KITTI sequence folder; headers of all images are checked when it is opened, pixels when asked for."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Opens `folder`; mode "mono" leaves the right camera out, "auto" and "stereo" take it where it is there.

        Raises:
            DataError: anything that is missing, damaged or inconsistent, one line that says what to do.
        """
        left, right = _camera_pair(folder)
        self._left = image_paths(folder / f"image_{left}")
        self._right: list[Path] | None = None
        if mode != "mono" and (folder / f"image_{right}").is_dir():
            self._right = image_paths(folder / f"image_{right}")
            check_pairs(self._left, self._right)
        size = common_size(self._left + (self._right or []))

        projections = read_calibration(folder / "calib.txt")
        names = tuple(f"P{camera} of {folder / 'calib.txt'}" for camera in (left, right))
        left_projection = _projection(projections, left, folder)
        if self._right is None:
            rig = Rig(camera_from_projection(left_projection, *size, what=names[0]))
        else:
            right_projection = _projection(projections, right, folder)
            rig = rig_from_projections(left_projection, right_projection, size, (names[0], names[1]))

        count = len(self._left)
        truth = _read_truth(folder, count, offset_from_projection(left_projection, names[0]))
        super().__init__(folder.resolve().name, rig, _read_times(folder / "times.txt", count), truth)

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        right = None if self._right is None else read_grey(self._right[index])
        return Frame(self.stamps_ns[index], read_grey(self._left[index]), self.rig, right)


def is_kitti(folder: Path) -> bool:
    """Whether the folder has KITTI's calibration or a folder of images."""
    return folder.is_dir() and ((folder / "calib.txt").exists() or any(folder.glob("image_?")))


def read_calibration(path: Path) -> dict[str, Array]:
    """The rows 'NAME: 12 numbers' of a calib.txt that are named P0 to P3, as (12,) float64.

    Raises:
        DataError: the file is missing, or such a row has not 12 finite numbers or comes twice.
    """
    if not path.is_file():
        raise DataError(f"{path} is required (rows 'P0: 12 numbers', one per camera) but is not there")
    rows: dict[str, Array] = {}
    for number, line in read_lines(path):
        name, _, values = line.partition(":")
        name = name.strip()
        if name not in ("P0", "P1", "P2", "P3"):
            continue
        if name in rows:
            raise DataError(f"{path} line {number}: {name} comes a second time: keep one row per camera")
        rows[name] = parse_numbers(values, 12, f"{path} line {number} ({name})")
    return rows


def read_kitti_poses(path: Path) -> Array:
    """Poses (N, 4, 4) from rows of 12 numbers [R | t]; N >= 1, rotations made exactly orthonormal.

    Raises:
        DataError: unreadable, empty, or a row that is no rigid motion; names the line.
    """
    poses = []
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        poses.append(pose_from_row(parse_numbers(line, 12, where), where))
    if not poses:
        raise DataError(f"{path} is empty: rows of 12 numbers, one pose per frame, are required")
    return np.array(poses)


def _camera_pair(folder: Path) -> tuple[int, int]:
    for left, right in _PAIRS:
        if (folder / f"image_{left}").is_dir():
            return left, right
    raise DataError(
        f"{folder} needs a folder image_0 (left grey) or image_2 (left colour) with PNG images; has neither"
    )


def _projection(projections: dict[str, Array], camera: int, folder: Path) -> Array:
    name = f"P{camera}"
    if name not in projections:
        found = ", ".join(projections) or "none"
        raise DataError(f"{folder / 'calib.txt'} needs the row '{name}: 12 numbers'; its cameras are: {found}")
    return projections[name]


def _read_times(path: Path, count: int) -> tuple[int, ...]:
    if not path.exists():
        return tuple(index * DEFAULT_PERIOD_NS for index in range(count))
    lines = read_lines(path)
    if len(lines) != count:
        raise DataError(f"{path} needs one time per frame, {count}; got {len(lines)}")
    stamps = tuple(parse_stamp(line, f"{path} line {number}") for number, line in lines)
    check_increasing(stamps, str(path))
    return stamps


def _read_truth(folder: Path, count: int, offset: Array) -> Array | None:
    """T_first_camera of the camera that lies at -offset (3,) in the left grey one, which the file's poses are of."""
    path = folder / "poses.txt"
    if not path.exists():
        resolved = folder.resolve()
        path = resolved.parent.parent / "poses" / f"{resolved.name}.txt"
        if resolved.parent.name != "sequences" or not path.exists():
            return None
    poses = read_kitti_poses(path)
    if len(poses) != count:
        raise DataError(f"{path} needs one pose per frame, {count} as there are images; got {len(poses)}")
    T_grey_camera = se3(np.eye(3), -offset)
    return relative_to_first(poses @ T_grey_camera)
