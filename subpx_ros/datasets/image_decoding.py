"""Pixels as sensor_msgs/Image carries them to grey uint8. Free of ROS: takes the message's fields.

Encodings: sensor_msgs/image_encodings.hpp. 16-bit values are scaled by 255/65535, as cv_bridge does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import check_size, decode_grey
from subpx_ros.errors import DataError

__all__ = ["ENCODINGS", "decode_grey", "decode_image", "pixel_rows"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class _Layout:
    channels: int
    """Values per pixel of one row; planes that follow the luminance plane are counted in `rows_numerator`."""
    to_grey: Callable[[Image], Image]
    """From (H, W, channels) to (H, W)."""
    bytes_per_value: int = 1
    rows_numerator: int = 2
    """Twice the rows of data per image row: 3 for a half-height chroma plane below the image."""
    even_width: bool = False

    @property
    def bytes_per_pixel(self) -> int:
        return self.channels * self.bytes_per_value


def _single(pixels: Image) -> Image:
    return pixels[:, :, 0]


def _second(pixels: Image) -> Image:
    return pixels[:, :, 1]


def _converted(code: str) -> Callable[[Image], Image]:
    def convert(pixels: Image) -> Image:
        import cv2

        source = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        try:
            return np.asarray(cv2.cvtColor(source, getattr(cv2, code)), dtype=np.uint8)
        except cv2.error:
            height, width = source.shape[:2]
            raise DataError(f"an image of {width}x{height} is too small for its colour pattern") from None

    return convert


def _of_both_widths(name: str, channels: int, code: str) -> dict[str, _Layout]:
    """A pattern in 8 and in 16 bits."""
    return {f"{name}{8 * size}": _Layout(channels, _converted(code), bytes_per_value=size) for size in (1, 2)}


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two rows from the corner.
ENCODINGS: dict[str, _Layout] = {
    "mono8": _Layout(1, _single),
    "8UC1": _Layout(1, _single),
    "8UC3": _Layout(3, _converted("COLOR_BGR2GRAY")),
    "8UC4": _Layout(4, _converted("COLOR_BGRA2GRAY")),
    "mono16": _Layout(1, _single, bytes_per_value=2),
    "16UC1": _Layout(1, _single, bytes_per_value=2),
    **_of_both_widths("rgb", 3, "COLOR_RGB2GRAY"),
    **_of_both_widths("bgr", 3, "COLOR_BGR2GRAY"),
    **_of_both_widths("rgba", 4, "COLOR_RGBA2GRAY"),
    **_of_both_widths("bgra", 4, "COLOR_BGRA2GRAY"),
    **_of_both_widths("bayer_rggb", 1, "COLOR_BayerBG2GRAY"),
    **_of_both_widths("bayer_bggr", 1, "COLOR_BayerRG2GRAY"),
    **_of_both_widths("bayer_gbrg", 1, "COLOR_BayerGR2GRAY"),
    **_of_both_widths("bayer_grbg", 1, "COLOR_BayerGB2GRAY"),
    "yuv422": _Layout(2, _second, even_width=True),
    "uyvy": _Layout(2, _second, even_width=True),
    "yuv422_yuy2": _Layout(2, _single, even_width=True),
    "yuyv": _Layout(2, _single, even_width=True),
    "nv12": _Layout(1, _single, rows_numerator=3, even_width=True),
    "nv21": _Layout(1, _single, rows_numerator=3, even_width=True),
    "nv24": _Layout(1, _single, rows_numerator=6),
}


def decode_image(
    height: int,
    width: int,
    encoding: str,
    is_bigendian: bool | int,
    step: int,
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
) -> Image:
    """The image as (H, W) uint8 grey, an array of its own. The arguments are the fields of sensor_msgs/Image.

    Raises:
        DataError: an encoding that is not in ENCODINGS, a size of zero or above 64 Mpx, or fewer data than that.
    """
    layout = ENCODINGS.get(encoding)
    if layout is None:
        raise DataError(f"image encoding must be one of {', '.join(ENCODINGS)}; got '{encoding[:40]}'")
    what = f"image ({encoding})"
    check_size(width, height, what)
    if layout.even_width and (width % 2 or (layout.rows_numerator == 3 and height % 2)):
        raise DataError(f"{what}: chroma is shared by pixel pairs, so sizes must be even; got {width}x{height}")
    pixels = pixel_rows(height, width, layout.bytes_per_pixel, step, data, what, height * layout.rows_numerator // 2)
    if layout.bytes_per_value == 2:
        pixels = _scaled_to_8_bit(pixels, bool(is_bigendian))
    grey = layout.to_grey(pixels.reshape(height, width, layout.channels))
    return np.array(grey, dtype=np.uint8, order="C")


def pixel_rows(
    height: int,
    width: int,
    bytes_per_pixel: int,
    step: int,
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    what: str,
    rows: int | None = None,
) -> Image:
    """The bytes of an image without the padding of its rows, (H, W * bytes_per_pixel), a view of `data`.

    Args:
        height: of the image.
        width: of the image.
        bytes_per_pixel: in each row.
        step: bytes from row to row.
        data: of the message.
        what: the image's name in error messages.
        rows: of the data where planes follow that of the image; by default `height`.

    Raises:
        DataError: a size of zero or above 64 Mpx, a step shorter than a row, or fewer data than that.
    """
    check_size(width, height, what)
    row_bytes = width * bytes_per_pixel
    if step < row_bytes:
        raise DataError(f"{what}: a row of {width} pixels needs a step of at least {row_bytes} bytes; got {step}")
    required = step * (height if rows is None else rows)
    values = np.frombuffer(data, dtype=np.uint8)
    if values.size < required:
        raise DataError(f"{what}: {width}x{height} with step {step} needs {required} bytes; got {values.size}")
    return values[: step * height].reshape(height, step)[:, :row_bytes]


def _scaled_to_8_bit(pixels: Image, big_endian: bool) -> Image:
    wide = np.ascontiguousarray(pixels).view(">u2" if big_endian else "<u2").astype(np.uint32)
    return ((wide + 128) // 257).astype(np.uint8)
