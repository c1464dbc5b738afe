"""A drive of the KITTI raw data (Geiger, Lenz, Stiller, Urtasun, IJRR 2013), synchronised and rectified.

2011_09_26/
  calib_cam_to_cam.txt                rows 'P_rect_00: 12 numbers' per camera, and 'R_rect_00: 9 numbers'
  calib_velo_to_cam.txt               'R: 9 numbers', 'T: 3 numbers'; needed where there is oxts/
  calib_imu_to_velo.txt               the same
  2011_09_26_drive_0001_sync/         what is opened
    image_00/data/0000000000.png ...  left grey; image_01: right grey; image_02, image_03: colour
    image_00/timestamps.txt           '2011-09-26 13:02:25.964389445', one per frame
    oxts/data/0000000000.txt ...      optional, what the inertial navigation measured, one per frame
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from subpx_ros.datasets.camera_info import camera_from_projection, offset_from_projection, rig_from_projections
from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.image_folders import check_pairs, common_size, image_paths
from subpx_ros.datasets.oxts import read_oxts
from subpx_ros.datasets.sequence import Sequence, check_increasing, relative_to_first
from subpx_ros.datasets.text import parse_numbers, pose_from_row, read_lines
from subpx_ros.datatypes import Array, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert, se3

CAMERA_CALIBRATION = "calib_cam_to_cam.txt"
_PAIRS = (("00", "01"), ("02", "03"))
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2})\.(\d{1,9})", re.ASCII)


class KittiRawSequence(Sequence):
    """Frames of a drive. Its truth is what the inertial navigation measured, which is good to some centimetres."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Opens the folder of a drive; mode "mono" leaves the right camera out, others take it where it is there.

        Raises:
            DataError: anything that is missing, damaged or inconsistent, one line that says what to do.
        """
        folder = _drive(folder.resolve())
        left, right = _camera_pair(folder)
        self._left = image_paths(folder / f"image_{left}" / "data")
        self._right: list[Path] | None = None
        if mode != "mono" and (folder / f"image_{right}").is_dir():
            self._right = image_paths(folder / f"image_{right}" / "data")
            check_pairs(self._left, self._right)
        size = common_size(self._left + (self._right or []))

        path = folder.parent / CAMERA_CALIBRATION
        rows = _read_rows(path)
        names = tuple(f"P_rect_{camera} of {path}" for camera in (left, right))
        left_projection = _row(rows, f"P_rect_{left}", 12, path)
        if self._right is None:
            rig = Rig(camera_from_projection(left_projection, *size, what=names[0]))
        else:
            right_projection = _row(rows, f"P_rect_{right}", 12, path)
            rig = rig_from_projections(left_projection, right_projection, size, (names[0], names[1]))

        stamps_ns = _read_stamps(folder / f"image_{left}" / "timestamps.txt", len(self._left))
        truth = None
        if (folder / "oxts").is_dir():
            T_grey_camera = se3(np.eye(3), -offset_from_projection(left_projection, names[0]))
            T_imu_camera = invert(_grey_from_imu(folder.parent, rows)) @ T_grey_camera
            truth = relative_to_first(read_oxts(folder / "oxts", len(self._left)) @ T_imu_camera)
        super().__init__(folder.name, rig, stamps_ns, truth)

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        right = None if self._right is None else read_grey(self._right[index])
        return Frame(self.stamps_ns[index], read_grey(self._left[index]), self.rig, right)


def is_kitti_raw(folder: Path) -> bool:
    """Whether it is a drive, or the folder of a day with its calibration."""
    return (folder / CAMERA_CALIBRATION).is_file() or any((folder / f"image_{left}").is_dir() for left, _ in _PAIRS)


def _drive(folder: Path) -> Path:
    """The drive itself, or the only one of a day."""
    if (folder / CAMERA_CALIBRATION).is_file():
        drives = sorted(path.name for path in folder.iterdir() if path.is_dir() and "_drive_" in path.name)
        if len(drives) != 1:
            raise DataError(f"{folder} holds {len(drives)} drives, name one of them: {', '.join(drives) or 'none'}")
        folder = folder / drives[0]
    if folder.name.endswith("_extract"):
        raise DataError(f"{folder} is not synchronised and not rectified: get the drive as '..._sync'")
    return folder


def _camera_pair(folder: Path) -> tuple[str, str]:
    for left, right in _PAIRS:
        if (folder / f"image_{left}").is_dir():
            return left, right
    raise DataError(f"{folder} needs image_00 (left grey) or image_02 (left colour); has neither")


def _read_rows(path: Path) -> dict[str, tuple[str, str]]:
    """Rows 'NAME: values' by name, each with where it stands. Raises DataError where the file or a colon is missing."""
    if not path.is_file():
        raise DataError(f"{path} is required but is not there: get the calibration of the day")
    rows = {}
    for number, line in read_lines(path):
        name, colon, values = line.partition(":")
        if not colon:
            raise DataError(f"{path} line {number}: rows 'NAME: values' are required; got '{line[:40]}'")
        rows[name.strip()] = (values, f"{path} line {number} ({name.strip()[:20]})")
    return rows


def _row(rows: dict[str, tuple[str, str]], name: str, count: int, path: Path) -> Array:
    if name not in rows:
        raise DataError(f"{path} needs the row '{name}: {count} numbers'")
    values, where = rows[name]
    return parse_numbers(values, count, where)


def _grey_from_imu(day: Path, camera_rows: dict[str, tuple[str, str]]) -> Array:
    """T_grey_imu (4, 4): the inertial unit in the rectified left grey camera."""
    R_rect = _row(camera_rows, "R_rect_00", 9, day / CAMERA_CALIBRATION).reshape(3, 3)
    T_rect_grey = pose_from_row(
        np.hstack([R_rect, np.zeros((3, 1))]).ravel(), f"{day / CAMERA_CALIBRATION} (R_rect_00)"
    )
    return T_rect_grey @ _read_rigid(day / "calib_velo_to_cam.txt") @ _read_rigid(day / "calib_imu_to_velo.txt")


def _read_rigid(path: Path) -> Array:
    rows = _read_rows(path)
    rotation, translation = _row(rows, "R", 9, path).reshape(3, 3), _row(rows, "T", 3, path)
    return pose_from_row(np.column_stack([rotation, translation]).ravel(), str(path))


def _read_stamps(path: Path, count: int) -> tuple[int, ...]:
    if not path.is_file():
        raise DataError(f"{path} is required (one time per frame) but is not there")
    lines = read_lines(path)
    if len(lines) != count:
        raise DataError(f"{path} needs one time per frame, {count}; got {len(lines)}")
    stamps = tuple(_stamp(line, f"{path} line {number}") for number, line in lines)
    check_increasing(stamps, str(path))
    return stamps


def _stamp(text: str, where: str) -> int:
    """Nanoseconds since 1970 of '2011-09-26 13:02:25.964389445', taken as UTC."""
    parsed = _TIME.fullmatch(text)
    try:
        if parsed is None:
            raise ValueError
        seconds = datetime.strptime(parsed[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise DataError(f"{where}: a time as '2011-09-26 13:02:25.964389445' is required; got '{text[:40]}'") from None
    return int(seconds) * 10**9 + int(parsed[2].ljust(9, "0"))
