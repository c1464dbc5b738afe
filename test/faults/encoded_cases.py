"""Compressed images, depth images and lens distortion that an attacker or a broken driver sends."""

from __future__ import annotations

import array
import math
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from fault_case import HUGE, NO_POSE, Change, bad, every, filled, put
from sensor_msgs.msg import CompressedImage
from shots import DEPTH, LEFT, LEFT_INFO, RIGHT, RIGHT_INFO, Shot, compressed_message

from subpx_ros.ros.messages import byte_array

_IMAGES = (f"{LEFT}/compressed", f"{RIGHT}/compressed")
_Encode = Callable[[CompressedImage], bytes]


def _sent(encode: _Encode, kind: str) -> Change:
    def change(shot: Shot) -> None:
        for topic in _IMAGES:
            shot[topic] = compressed_message(encode(shot[topic]), shot[topic].header, kind)

    return change


def _jpeg(message: CompressedImage) -> bytes:
    pixels = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def _half(encode: _Encode) -> _Encode:
    return lambda message: encode(message)[: len(encode(message)) // 2]


def _damaged(message: CompressedImage) -> bytes:
    data = bytearray(message.data)
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def _claiming(ending: str, size: int) -> _Encode:
    """A file of some bytes whose header claims size x size pixels."""
    data = bytearray(cv2.imencode(ending, np.zeros((8, 8), np.uint8))[1].tobytes())
    if ending == ".png":
        data[16:24] = size.to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif ending == ".jpg":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = size.to_bytes(2, "big") * 2
    else:  # .bmp
        data[18:26] = size.to_bytes(4, "little") * 2
    return lambda message: bytes(data)


COMPRESSED_CASES = [
    bad("half-written JPEG", "cut off", _sent(_half(_jpeg), "jpeg")),
    bad("half-written PNG", "cut off", _sent(_half(lambda message: bytes(message.data)), "png")),
    bad("damaged PNG", "damaged", _sent(_damaged, "png")),
    bad("JPEG without pixels", "JPEG", _sent(lambda message: b"\xff\xd8\xff\xd9", "jpeg")),
    bad("PNG that claims 60000x60000", "60000x60000", _sent(_claiming(".png", 60_000), "png")),
    bad("JPEG that claims 65535x65535", "65535x65535", _sent(_claiming(".jpg", 65_535), "jpeg")),
    bad("BMP that claims 30000x30000", "Mpx", _sent(_claiming(".bmp", 30_000), "bmp")),
    bad("text instead of an image", "PNG or JPEG", _sent(lambda message: b"HTTP/1.1 404 Not Found", "jpeg")),
    bad("no compressed data", "no data", _sent(lambda message: b"", "jpeg")),
    bad("a format that is none", "", every(_IMAGES, format="\u202eexe; png\n" * 100)),
]


def _depth(metres: float) -> Change:
    """32FC1 with one value everywhere."""

    def change(shot: Shot) -> None:
        message = shot[DEPTH]
        values = np.full((message.height, message.width), metres, np.float32)
        message.encoding, message.step = "32FC1", 4 * message.width
        message.data = byte_array(values.view(np.uint8))

    return change


DEPTH_CASES = [
    bad("depth all zero", f"depth|{NO_POSE}", _depth(0.0)),
    bad("depth all NaN", f"depth|{NO_POSE}", _depth(math.nan)),
    bad("depth infinite", f"depth|{NO_POSE}", _depth(math.inf)),
    bad("depth negative", f"depth|{NO_POSE}", _depth(-3.0)),
    bad("depth tiny", f"depth|{NO_POSE}", _depth(1e-30)),
    bad("depth in colours", "depth", put(DEPTH, encoding="bgr8")),
    bad("depth of another size", "depth", put(DEPTH, height=120)),
    bad("depth shorter than its size", "depth", put(DEPTH, data=array.array("B", bytes(99)))),
    bad("depth of huge size", "depth", put(DEPTH, width=HUGE, height=HUGE, step=HUGE)),
]


def _distortion(model: str, *values: float) -> Change:
    return every((LEFT_INFO, RIGHT_INFO), distortion_model=model, d=array.array("d", values))


DISTORTION_CASES = [
    bad("NaN in the distortion", "finite", _distortion("plumb_bob", math.nan, 0.0, 0.0, 0.0, 0.0)),
    bad("distortion without end", "distortion", _distortion("plumb_bob", *([0.1] * 10_000))),
    bad("distortion model nobody knows", "distortion", _distortion("lens of glass", 0.1, 0.0, 0.0, 0.0)),
    bad("distortion that folds the image", "", _distortion("plumb_bob", -1e6, 1e9, 0.0, 0.0, 0.0)),
    bad("R of zeros, which stands for no rotation", "", filled(r=0.0)),
    bad("R of NaN", "finite", filled(r=math.nan)),
    bad("K of zeros with distortion", "uncalibrated|K|focal", filled(k=0.0)),
]
