"""Depth images, as ROS carries them or in files, to metres, NaN where unknown. Free of ROS: takes the messages' fields.

REP-118: 16UC1 in millimetres with 0 for unknown, 32FC1 in metres with NaN or infinity for unknown. Compressed: a 16-bit
PNG, plain or behind the header of compressed_depth_image_transport.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_decoding import pixel_rows
from subpx_ros.datasets.image_files import decode_grey16
from subpx_ros.errors import DataError

_ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_PNG = b"\x89PNG"
_HEADER = struct.Struct("<i2f")
"""Of compressed_depth_image_transport: compression format, and the two quantisation parameters of 32FC1."""

Depth = NDArray[np.float32]


def decode_depth(
    height: int,
    width: int,
    encoding: str,
    is_bigendian: bool | int,
    step: int,
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
) -> Depth:
    """(H, W) float32 metres, NaN where unknown. The arguments are the fields of sensor_msgs/Image.

    Raises:
        DataError: an encoding that is no depth, a size of zero or above 64 Mpx, or fewer data than that.
    """
    kind = _ENCODINGS.get(encoding)
    if kind is None:
        raise DataError(f"depth encoding must be one of {', '.join(_ENCODINGS)}; got '{encoding[:40]}'")
    rows = pixel_rows(height, width, int(kind[1]), step, data, f"depth ({encoding})")
    values = np.ascontiguousarray(rows).view(f"{'>' if is_bigendian else '<'}{kind}")
    return _in_metres(values) if kind == "u2" else _known(values.astype(np.float32))


def decode_compressed_depth(encoding: str, data: bytes | memoryview | NDArray[np.uint8]) -> Depth:
    """(H, W) float32 metres, NaN where unknown. The arguments are the fields of sensor_msgs/CompressedImage.

    Args:
        encoding: `format`, for example "16UC1; compressedDepth png".
        data: the encoded image.

    Raises:
        DataError: no PNG, damaged, or larger than 64 Mpx.
    """
    data = bytes(data)
    if data.startswith(_PNG):
        return _in_metres(decode_grey16(data, "compressed depth"))
    if data[_HEADER.size : _HEADER.size + len(_PNG)] != _PNG:
        raise DataError(f"compressed depth must be a 16-bit PNG; got {len(data)} bytes of '{encoding[:40]}'")
    _, scale, shift = _HEADER.unpack_from(data)
    values = decode_grey16(data[_HEADER.size :], "compressed depth")
    if not encoding.startswith("32FC1"):
        return _in_metres(values)
    # The transport keeps the inverse of depth, which fits the noise of depth cameras: scale / depth + shift.
    with np.errstate(divide="ignore", invalid="ignore"):
        return _known(np.where(values > 0, np.float32(scale) / (values - np.float32(shift)), np.nan).astype(np.float32))


def read_depth(path: Path, per_metre: float) -> Depth:
    """A 16-bit PNG of `per_metre` units to the metre, 0 for unknown, as (H, W) float32 metres, NaN where unknown.

    Raises:
        DataError: the file is missing, damaged, or no such PNG.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the depth image {path}: {error.strerror}") from None
    return _in_metres(decode_grey16(data, str(path)), per_metre)


def _in_metres(values: NDArray[np.uint16], per_metre: float = 1000.0) -> Depth:
    return np.where(values == 0, np.nan, values * np.float32(1.0 / per_metre)).astype(np.float32)


def _known(metres: Depth) -> Depth:
    """What is no distance becomes NaN."""
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan).astype(np.float32)
