"""What a good camera sends for one frame, as messages by relative topic; cases change them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scene import CAMERA, RIG, frame, plane_depth
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from subpx_ros.datatypes import Rig
from subpx_ros.ros.messages import byte_array, camera_info_messages, image_message, stamp_from_ns

LEFT, LEFT_INFO, RIGHT, RIGHT_INFO = "left/image_rect", "left/camera_info", "right/image_rect", "right/camera_info"
IMAGE, INFO, DEPTH = "image_rect", "camera_info", "depth/image_rect"

Shot = dict[str, Any]
MakeShot = Callable[[int, int], Shot]

_TURN = 7
"""The camera drives forward for this many frames, then back again, and so on: views repeat and are made once."""


def place(index: int) -> int:
    """Of the drive's frames, the one that is seen in frame `index` of an endless drive forth and back."""
    return abs((index + _TURN) % (2 * _TURN) - _TURN)


def stereo(index: int, stamp_ns: int) -> Shot:
    """Raw grey images."""
    headers = _headers(stamp_ns, "left_camera_optical", "right_camera_optical")
    infos = camera_info_messages(RIG, *headers)
    pixels = _stereo_pixels(place(index))
    images = [image_message(each, header) for each, header in zip(pixels, headers, strict=True)]
    return {LEFT: images[0], LEFT_INFO: infos[0], RIGHT: images[1], RIGHT_INFO: infos[1]}


def compressed(index: int, stamp_ns: int) -> Shot:
    """PNG on the topics that image_transport gives them."""
    raw = stereo(index, stamp_ns)
    encoded = _stereo_png(place(index))
    return {
        LEFT_INFO: raw[LEFT_INFO],
        RIGHT_INFO: raw[RIGHT_INFO],
        f"{LEFT}/compressed": compressed_message(encoded[0], raw[LEFT].header),
        f"{RIGHT}/compressed": compressed_message(encoded[1], raw[RIGHT].header),
    }


def rgbd(index: int, stamp_ns: int) -> Shot:
    """Grey image and depth in millimetres."""
    (header,) = _headers(stamp_ns, "camera_optical")
    info, _ = camera_info_messages(Rig(CAMERA), header, header)
    image = image_message(_stereo_pixels(place(index))[0], header)
    return {IMAGE: image, INFO: info, DEPTH: depth_message(_depth_mm(place(index)), header)}


def unrectified(index: int, stamp_ns: int) -> Shot:
    """The rectified pair under the raw names, with a distortion model that happens to be zero."""
    shot = stereo(index, stamp_ns)
    return {topic.replace("image_rect", "image_raw"): message for topic, message in shot.items()}


def compressed_message(data: bytes, header: Header, kind: str = "png") -> CompressedImage:
    return CompressedImage(header=header, format=kind, data=byte_array(np.frombuffer(data, np.uint8)))


def depth_message(depth_mm: NDArray[np.uint16], header: Header) -> Image:
    height, width = depth_mm.shape
    message = Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width)
    message.data = byte_array(depth_mm.view(np.uint8))
    return message


def pixels_of(message: Image) -> NDArray[np.uint8]:
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)


def repaint(message: Image, pixels: NDArray[np.uint8]) -> None:
    """Other pixels of the same size."""
    message.data = byte_array(np.ascontiguousarray(pixels))


def infos_of(shot: Shot) -> list[CameraInfo]:
    return [message for message in shot.values() if isinstance(message, CameraInfo)]


def _headers(stamp_ns: int, *frame_ids: str) -> list[Header]:
    return [Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id) for frame_id in frame_ids]


def _stereo_pixels(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    seen = frame(index)
    assert seen.right_image is not None
    return seen.image, seen.right_image


@cache
def _stereo_png(index: int) -> list[bytes]:
    return [cv2.imencode(".png", each)[1].tobytes() for each in _stereo_pixels(index)]


@cache
def _depth_mm(index: int) -> NDArray[np.uint16]:
    return np.round(1000.0 * plane_depth(index)).astype(np.uint16)
