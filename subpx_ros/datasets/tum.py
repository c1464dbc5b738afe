"""A recording in the layout of the TUM RGB-D benchmark (Sturm et al., IROS 2012), which others have taken over.

rgb.txt            rows 'seconds file name' of the colour images; depth.txt: of the depth images
rgb/, depth/       PNG; depth in 16 bits, 5000 to the metre, 0 where unknown, registered to the colour image
groundtruth.txt    optional, rows 'seconds tx ty tz qx qy qz qw': T_world_camera
calibration.txt    'fx fy cx cy', and up to 5 coefficients of distortion (k1 k2 p1 p2 k3), as ETH3D has it; without it a
                   folder whose name holds freiburg1, freiburg2 or freiburg3 has the intrinsics published for that camera
Images and depth less than 20 ms apart belong together, others are left out, as are frames before or after the ground
truth; in between it is interpolated to the stamps of the images.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from subpx_ros.datasets.image_folders import common_size
from subpx_ros.datasets.listed import ListedSequence
from subpx_ros.datasets.sequence import check_increasing
from subpx_ros.datasets.stamps import Track
from subpx_ros.datasets.text import parse_number, parse_numbers, parse_stamp, pose_from_quaternion, read_lines
from subpx_ros.datasets.unrectified import Optics, rectified_cameras
from subpx_ros.errors import DataError

CALIBRATION = "calibration.txt"
_DEPTH_PER_METRE = 5000.0
_FREIBURG = {
    "freiburg1": Optics((517.3, 516.5, 318.6, 255.3), "plumb_bob", (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": Optics((520.9, 521.0, 325.1, 249.7), "plumb_bob", (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": Optics((535.4, 539.2, 320.1, 247.6), "plumb_bob", ()),
}
"""Of the colour cameras, as the benchmark publishes them; those of freiburg3 come undistorted."""


class TumSequence(ListedSequence):
    """Frames with depth. Headers of all images are checked when it is opened, pixels when asked for."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Opens `folder`; mode "mono" leaves the depth out, others take it where it is there.

        Raises:
            DataError: anything that is missing, damaged or inconsistent, one line that says what to do.
        """
        streams = [_read_list(folder, "rgb.txt")]
        depth = mode != "mono" and (folder / "depth.txt").exists()
        if depth:
            streams.append(_read_list(folder, "depth.txt"))
        size = common_size([path for stream in streams for path in stream.values()])
        # A single camera is not turned by its rectification: the truth is its own.
        rectified, _ = rectified_cameras([_read_optics(folder)], size, None, str(folder), depth)
        path = folder / "groundtruth.txt"
        track = _read_track(path) if path.exists() else None
        name = folder.resolve().name
        super().__init__(name, rectified, streams, track, np.eye(4), _DEPTH_PER_METRE if depth else None)


def is_tum(folder: Path) -> bool:
    """Whether the folder lists its colour images."""
    return (folder / "rgb.txt").is_file()


def _read_list(folder: Path, name: str) -> dict[int, Path]:
    """Image files by their stamps, in the order of time."""
    path = folder / name
    images: dict[int, Path] = {}
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        stamp, _, file = (part.strip() for part in line.partition(" "))
        if not file or Path(file).is_absolute() or ".." in Path(file).parts:
            raise DataError(f"{where}: 'seconds file name' is required, the file below {folder}; got '{line[:60]}'")
        # os.path's one also says no to a name that the file system cannot hold.
        if not os.path.isfile(folder / file):
            raise DataError(f"{where}: the image {file[:60]} is missing in {folder}: copy it again")
        stamp_ns = parse_stamp(stamp, where)
        if stamp_ns in images:
            raise DataError(f"{where}: the time {stamp} comes a second time: keep one image per time")
        images[stamp_ns] = folder / file
    if not images:
        raise DataError(f"{path} names no image: rows 'seconds file name' are required")
    check_increasing(tuple(images), str(path))
    return images


def _read_optics(folder: Path) -> Optics:
    path = folder / CALIBRATION
    if path.exists():
        lines = read_lines(path)
        tokens = lines[0][1].split() if len(lines) == 1 else []
        if len(tokens) not in (4, 8, 9):
            raise DataError(
                f"{path}: one line 'fx fy cx cy' is required, then 4 or 5 coefficients of distortion or none"
            )
        fx, fy, cx, cy, *distortion = (parse_number(token, str(path)) for token in tokens)
        return Optics((fx, fy, cx, cy), "plumb_bob", tuple(distortion))
    for name, optics in _FREIBURG.items():
        if name in folder.resolve().name:
            return optics
    raise DataError(
        f"{folder} needs {CALIBRATION} with 'fx fy cx cy', as its name does not say which camera it is of "
        f"({', '.join(_FREIBURG)})"
    )


def _read_track(path: Path) -> Track:
    """Of the colour camera."""
    stamps, poses = [], []
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        stamp, *values = line.split()
        numbers = parse_numbers(" ".join(values), 7, where)
        stamps.append(parse_stamp(stamp, where))
        poses.append(pose_from_quaternion(numbers[:3], numbers[3:], where))
    if not stamps:
        raise DataError(f"{path} is empty: rows 'seconds tx ty tz qx qy qz qw' are required")
    check_increasing(tuple(stamps), str(path))
    return Track(tuple(stamps), np.array(poses))
