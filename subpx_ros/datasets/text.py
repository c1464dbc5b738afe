"""Strict reading of small text files of numbers: every error names the file, the line and what was expected."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.frames import rotation_from_quaternion
from subpx_ros.geometry import nearest_rotation, se3

MAX_STAMP_NS = 2**63 - 1
_MAX_BYTES = 256 * 2**20
_ROTATION_TOLERANCE = 1e-3
_MAX_DISTANCE_M = 1e8


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The non-empty lines that are no '#' comments, stripped, each with its number in the file from 1.

    Raises:
        DataError: the file cannot be read, is no text or is too large for what it should hold.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} has more than {_MAX_BYTES >> 20} MiB: a text file of numbers was expected")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file: lines of numbers were expected") from None
    numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def parse_number(token: str, where: str) -> float:
    """A finite number in plain decimal or exponent notation."""
    try:
        value = float(token)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in token:
        raise DataError(f"{where}: finite numbers are required; got '{token[:40]}'")
    return value


def parse_numbers(text: str, count: int, where: str) -> Array:
    """`count` finite numbers (count,) float64, separated by blanks."""
    tokens = text.split()
    if len(tokens) != count:
        raise DataError(f"{where}: {count} numbers are required; got {len(tokens)}")
    return np.array([parse_number(token, where) for token in tokens])


def parse_stamp(token: str, where: str) -> int:
    """Seconds in decimal notation to integer nanoseconds, rounded half to even from all the digits given."""
    parse_number(token, where)
    try:
        seconds = Decimal(token)
    except InvalidOperation:
        raise DataError(f"{where}: a time in seconds is required; got '{token[:40]}'") from None
    if not 0 <= seconds <= MAX_STAMP_NS // 10**9:
        raise DataError(f"{where}: a time must lie between 0 and {MAX_STAMP_NS // 10**9} s; got '{token[:40]}'")
    return round(seconds * 10**9)


def pose_from_row(row: Array, where: str) -> Array:
    """T (4, 4) from the 12 numbers of [R | t], row by row; R is replaced by the rotation nearest to it.

    Raises:
        DataError: R is not a rotation to within the digits that such files carry.
    """
    matrix = row.reshape(3, 4)
    check_rotation(matrix[:, :3], where)
    check_translation(matrix[:, 3], where)
    return se3(nearest_rotation(matrix[:, :3]), matrix[:, 3])


def pose_from_quaternion(translation: Array, quaternion: Array, where: str) -> Array:
    """T (4, 4) from a translation (3,) in metres and a quaternion (x, y, z, w), which is normalised.

    Raises:
        DataError: the quaternion is not of length 1 to within 1 %, or a number is out of range.
    """
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(quaternion))
    if not 0.99 < length < 1.01:
        raise DataError(f"{where}: a quaternion of length 1 (qx qy qz qw) is required; its length is {length:.4g}")
    check_translation(translation, where)
    return se3(rotation_from_quaternion(quaternion), translation)


def check_translation(translation: Array, where: str) -> None:
    """Raises DataError unless the numbers (3,) are finite and of a size that positions in metres can have."""
    if not np.all(np.abs(translation) <= _MAX_DISTANCE_M):
        raise DataError(f"{where}: a position within {_MAX_DISTANCE_M:g} m is required; got {translation.tolist()}")


def check_rotation(rotation: Array, where: str) -> None:
    """Raises DataError unless the matrix (3, 3) is orthonormal and right-handed to 1e-3."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(np.max(np.abs(rotation @ rotation.T - np.eye(3))))
    if not deviation < _ROTATION_TOLERANCE:
        raise DataError(f"{where}: the first 3 columns must be a rotation; R R' differs from 1 by {deviation:.3g}")
    if np.linalg.det(rotation) < 0:
        raise DataError(f"{where}: the first 3 columns must be a rotation; got a mirrored one (determinant -1)")
