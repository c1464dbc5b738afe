"""Encoded images (PNG, JPEG, ...) to grey pixels, with size and completeness checked before anything is allocated."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.errors import DataError

MAX_PIXELS = 64 * 2**20
"""Largest image that is accepted, 64 Mpx: far above the cameras of this field, far below what exhausts memory."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_OTHER_FORMATS = ("BMP", "PPM", "TIFF", "WEBP")
_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE_MARKERS = frozenset(range(0xD0, 0xD8)) | {0x01}


def check_size(width: int, height: int, what: str) -> None:
    """Raises DataError unless 1 <= width, height and width * height <= MAX_PIXELS."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DataError(f"{what}: an image of 1x1 to {MAX_PIXELS >> 20} Mpx is required; got {width}x{height}")


def png_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header of a PNG file; reads 24 bytes."""
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from None
    width, height = _png_header_size(header, str(path))
    check_size(width, height, str(path))
    return width, height


def read_grey(path: Path) -> NDArray[np.uint8]:
    """An image file as (H, W) uint8 grey.

    Raises:
        DataError: the file is missing, cut off, damaged or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror}") from None
    return decode_grey(data, str(path))


def decode_grey(data: bytes | memoryview | NDArray[np.uint8], what: str = "compressed image") -> NDArray[np.uint8]:
    """An encoded image (PNG, JPEG, or what else OpenCV reads) as (H, W) uint8 grey.

    Args:
        data: the whole encoded image.
        what: the image's name in error messages.

    Raises:
        DataError: empty, cut off, damaged, larger than MAX_PIXELS or of an unknown format.
    """
    import cv2

    data = bytes(data)
    check_size(*_encoded_size(data, what), what)
    return np.asarray(_decoded(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION, what), dtype=np.uint8)


def decode_grey16(data: bytes, what: str) -> NDArray[np.uint16]:
    """A 16-bit grey PNG as (H, W) uint16. Raises DataError: no such PNG, damaged, or larger than MAX_PIXELS."""
    import cv2

    check_size(*_check_png(data, what), what)
    image = _decoded(data, cv2.IMREAD_UNCHANGED, what)
    if image.ndim != 2 or image.dtype != np.uint16:
        raise DataError(f"{what}: a grey PNG of 16 bits is required; got {image.dtype} of shape {image.shape}")
    return np.asarray(image, dtype=np.uint16)


def _decoded(data: bytes, flags: int, what: str) -> NDArray[np.generic]:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or image.size == 0:
        raise DataError(f"{what}: a readable PNG or JPEG image is required; got {len(data)} bytes that do not decode")
    return np.asarray(image)


def _encoded_size(data: bytes, what: str) -> tuple[int, int]:
    """(width, height) as the header says; PNG and JPEG must be complete."""
    if data.startswith(_PNG_MAGIC):
        return _check_png(data, what)
    if data.startswith(_JPEG_MAGIC):
        return _check_jpeg(data, what)
    if not data:
        raise DataError(f"{what}: an encoded image is required; got no data")
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_OTHER_FORMATS) as image:
            width, height = image.size  # of the header; no pixel is decoded
    except Image.DecompressionBombError:
        raise DataError(
            f"{what}: an image of 1x1 to {MAX_PIXELS >> 20} Mpx is required; got a far larger one"
        ) from None
    except Exception:  # noqa: BLE001 - the parsers meet arbitrary bytes and leak struct, index and value errors
        raise DataError(
            f"{what}: a PNG or JPEG image is required (or {', '.join(_OTHER_FORMATS)}); got {len(data)} bytes of "
            "something else"
        ) from None
    return int(width), int(height)


def _png_header_size(header: bytes, what: str) -> tuple[int, int]:
    if len(header) < 24 or not header.startswith(_PNG_MAGIC) or header[12:16] != b"IHDR":
        raise DataError(f"{what}: a PNG image is required; its header is missing or cut off: copy the file again")
    width, height = struct.unpack(">II", header[16:24])
    return int(width), int(height)


def _check_png(data: bytes, what: str) -> tuple[int, int]:
    """The size, after walking all chunks to the end: decoders fill a cut-off image silently."""
    size = _png_header_size(data[:24], what)
    position = len(_PNG_MAGIC)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(memoryview(data)[position + 4 : end]) != checksum:
            raise DataError(f"{what}: the PNG image is damaged (checksum of its {kind!r} part): copy the file again")
        if kind == b"IEND":
            return size
        position = end + 4
    raise DataError(f"{what}: the PNG image is cut off after {len(data)} bytes: copy the file again")


def _check_jpeg(data: bytes, what: str) -> tuple[int, int]:
    """The size, after a look for the end marker: decoders fill a cut-off image with grey."""
    if b"\xff\xd9" not in data[-1024:]:
        raise DataError(f"{what}: the JPEG image is cut off after {len(data)} bytes: its end marker is missing")
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _JPEG_BARE_MARKERS:
            position += 2
        elif marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return int(width), int(height)
        else:
            position += 2 + int(struct.unpack_from(">H", data, position + 2)[0])
    raise DataError(f"{what}: the JPEG image is damaged: it has no size before its pixels")
