"""Trajectory files: KITTI rows (12 numbers, [R | t]) and TUM (stamp tx ty tz qx qy qz qw)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from subpx_ros.datasets.sequence import check_increasing
from subpx_ros.datasets.text import parse_number, parse_stamp, pose_from_quaternion, pose_from_row, read_lines
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.frames import quaternion_from_rotation
from subpx_ros.output import write_text

_FORMATS = "12 numbers (KITTI: [R | t] row by row) or 8 (TUM: stamp tx ty tz qx qy qz qw) on every line"


@dataclass(frozen=True)
class Trajectory:
    """A path as a file holds it."""

    poses: Array
    """(N, 4, 4) T_world_camera, N >= 1, metres."""
    stamps_ns: tuple[int, ...] | None
    """Strictly increasing; None where the file carries no times (KITTI)."""

    def __len__(self) -> int:
        return len(self.poses)


def read_trajectory(path: Path) -> Trajectory:
    """A KITTI or TUM file, told apart by the numbers on its first line.

    Raises:
        DataError: unreadable, empty, of another format, or a line that is no pose; names the line.
    """
    lines = read_lines(path)
    if not lines:
        raise DataError(f"{path} is empty: a trajectory needs {_FORMATS}")
    columns = len(lines[0][1].split())
    if columns not in (8, 12):
        raise DataError(f"{path} line {lines[0][0]}: a trajectory needs {_FORMATS}; got {columns}")
    poses, stamps = [], []
    for number, line in lines:
        where = f"{path} line {number}"
        tokens = line.split()
        if len(tokens) != columns:
            raise DataError(f"{where}: {columns} numbers are required, as on the first line; got {len(tokens)}")
        values = np.array([parse_number(token, where) for token in tokens])
        if columns == 12:
            poses.append(pose_from_row(values, where))
        else:
            stamps.append(parse_stamp(tokens[0], where))
            poses.append(pose_from_quaternion(values[1:4], values[4:], where))
    if stamps:
        check_increasing(tuple(stamps), str(path))
    return Trajectory(np.array(poses), tuple(stamps) or None)


def write_kitti(path: Path, poses: Array) -> None:
    """Rows of 12 numbers, [R | t] of each pose, with 10 significant digits."""
    rows = (" ".join(f"{value:.9e}" for value in pose[:3].ravel()) for pose in poses)
    write_text(path, "".join(f"{row}\n" for row in rows))


def write_tum(path: Path, stamps_ns: Sequence[int], poses: Array) -> None:
    """Stamps in seconds with 9 decimals, exact from the integers; translations in metres; unit quaternions."""
    lines = []
    for stamp_ns, pose in zip(stamps_ns, poses, strict=True):
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        numbers = [*pose[:3, 3], *quaternion_from_rotation(pose[:3, :3])]
        lines.append(f"{seconds}.{nanoseconds:09d} " + " ".join(f"{value:.12g}" for value in numbers) + "\n")
    write_text(path, "".join(lines))
