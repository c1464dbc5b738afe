"""Poses of KITTI's inertial navigation: files of 30 numbers, of which the first six are the pose.

Latitude and longitude in degrees, altitude in metres, roll, pitch and yaw in radians; yaw is 0 in the east and counts
towards the north. The projection is the Mercator one that the data set's own development kit uses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from subpx_ros.datasets.text import parse_numbers, read_lines
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import rotation_from_vector, se3

_COLUMNS = 30
_EARTH_RADIUS_M = 6378137.0
_MOST_LATITUDE_DEG = 85.0
"""Beyond it the projection stretches to infinity, and nobody drives."""


def read_oxts(folder: Path, count: int) -> Array:
    """T_world_imu (count, 4, 4), metres, world axes east, north, up.

    Raises:
        DataError: another number of files than `count`, or one that does not hold a pose.
    """
    paths = sorted((folder / "data").glob("*.txt"))
    if len(paths) != count:
        raise DataError(f"{folder / 'data'} needs one file per frame, {count}; got {len(paths)}: copy it again")
    rows = np.array([_read_row(path) for path in paths])
    scale = np.cos(np.radians(rows[0, 0]))
    return np.array([_pose(row, scale) for row in rows])


def _read_row(path: Path) -> Array:
    lines = read_lines(path)
    if len(lines) != 1:
        raise DataError(f"{path} needs one line of {_COLUMNS} numbers; got {len(lines)} lines")
    row = parse_numbers(lines[0][1], _COLUMNS, str(path))
    if abs(row[0]) > _MOST_LATITUDE_DEG or abs(row[1]) > 360.0 or np.max(np.abs(row[3:6])) > 2.0 * np.pi:
        raise DataError(
            f"{path}: latitude, longitude (deg), altitude (m), roll, pitch, yaw (rad) are required; got {row[:6].tolist()}"
        )
    return row


def _pose(row: Array, scale: float) -> Array:
    latitude, longitude, altitude, roll, pitch, yaw = row[:6]
    east = scale * _EARTH_RADIUS_M * np.radians(longitude)
    north = scale * _EARTH_RADIUS_M * np.log(np.tan(0.25 * np.pi + 0.5 * np.radians(latitude)))
    about_x, about_y, about_z = (
        rotation_from_vector(angle * axis) for angle, axis in zip((roll, pitch, yaw), np.eye(3), strict=True)
    )
    return se3(about_z @ about_y @ about_x, np.array([east, north, altitude]))
