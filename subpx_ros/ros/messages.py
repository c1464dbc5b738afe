"""Sensor messages to the package's records, and back for replays. Stamps are exact integer nanoseconds."""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from subpx_ros.datasets.camera_info import cameras_from_infos
from subpx_ros.datasets.depth_decoding import decode_compressed_depth, decode_depth
from subpx_ros.datasets.image_decoding import decode_grey, decode_image
from subpx_ros.datasets.image_files import check_size
from subpx_ros.datatypes import Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.ros.distro import CvBridge

_NS_PER_S = 1_000_000_000
_MAX_SECONDS = 2**31 - 1

# What cv_bridge itself turns into mono8; the other encodings always go through our own decoder.
_CV_BRIDGE_ENCODINGS = frozenset(
    ["mono8", "mono16", "rgb8", "bgr8", "rgba8", "bgra8"]
    + [f"bayer_{pattern}8" for pattern in ("rggb", "bggr", "gbrg", "grbg")]
)
_bridge = CvBridge()


@dataclass(frozen=True)
class ImageSet:
    """The messages of one instant, as they came. The right camera's are None for one camera, depth where there is none."""

    image: Image | CompressedImage
    camera_info: CameraInfo
    right_image: Image | CompressedImage | None = None
    right_camera_info: CameraInfo | None = None
    depth: Image | CompressedImage | None = None
    rectify: bool = False
    """Whether the images are as the sensors took them, with the distortion that camera_info describes."""

    @property
    def header(self) -> Header:
        """Stamp and optical frame of the left or only image."""
        return self.image.header

    @property
    def sync_difference_s(self) -> float:
        """Latest minus earliest stamp of the set."""
        messages = (self.image, self.camera_info, self.right_image, self.right_camera_info, self.depth)
        stamps = [stamp_to_ns(each.header.stamp) for each in messages if each is not None]
        return (max(stamps) - min(stamps)) * 1e-9


def frame_from_messages(images: ImageSet) -> Frame:
    """Grey rectified images, and depth where there is one, with their calibration and the left image's stamp.

    Raises:
        DataError: an image or a camera_info that cannot be used; the message names it.
    """
    greys = [grey_image(images.image, "image")]
    infos = [images.camera_info]
    if images.right_image is not None and images.right_camera_info is not None:
        greys.append(grey_image(images.right_image, "right image"))
        infos.append(images.right_camera_info)
    depth = None if images.depth is None else depth_image(images.depth)
    sizes = [(grey.shape[1], grey.shape[0]) for grey in greys]
    cameras = cameras_from_infos(infos, sizes, images.rectify, images.depth is not None)
    return cameras.frame(stamp_to_ns(images.header.stamp), greys, depth)


def depth_image(message: Image | CompressedImage) -> NDArray[np.float32]:
    """(H, W) float32 metres, NaN where unknown. Raises DataError."""
    try:
        if isinstance(message, CompressedImage):
            return decode_compressed_depth(message.format, message.data)
        return decode_depth(
            message.height, message.width, message.encoding, message.is_bigendian, message.step, message.data
        )
    except DataError as error:
        raise DataError(f"the depth image cannot be used: {error}") from error


def grey_image(message: Image | CompressedImage, what: str = "image") -> NDArray[np.uint8]:
    """(H, W) uint8 grey. Raises DataError."""
    try:
        if isinstance(message, CompressedImage):
            # cv_bridge decodes whatever size the header claims; ours looks at it first.
            return decode_grey(message.data)
        _check_length(message)
        if message.encoding in _CV_BRIDGE_ENCODINGS:
            return _as_grey(_bridge.imgmsg_to_cv2(message, desired_encoding="mono8"))
        return decode_image(
            message.height, message.width, message.encoding, message.is_bigendian, message.step, message.data
        )
    except Exception as error:
        raise DataError(f"the {what} cannot be used: {error}") from error


def _check_length(message: Image) -> None:
    check_size(message.width, message.height, "image")
    required = message.height * message.step
    if required == 0 or len(message.data) < required:
        raise DataError(
            f"{message.width}x{message.height} {message.encoding[:40]} with step {message.step} needs {required} "
            f"bytes (more than 0); got {len(message.data)}"
        )


def _as_grey(pixels: Any) -> NDArray[np.uint8]:
    grey = np.asarray(pixels)
    if grey.dtype != np.uint8 or grey.ndim != 2:
        raise DataError(f"grey uint8 pixels are required; the decoder gave {grey.dtype} of shape {grey.shape}")
    return np.ascontiguousarray(grey)


def image_message(pixels: NDArray[np.uint8], header: Header) -> Image:
    """(H, W) uint8 grey as a mono8 message."""
    height, width = pixels.shape
    message = Image(header=header, height=height, width=width, encoding="mono8", step=width)
    message.data = byte_array(pixels)
    return message


def compressed_image_message(pixels: NDArray[np.uint8], header: Header) -> CompressedImage:
    """(H, W) uint8 grey as a PNG."""
    return CompressedImage(header=header, format="mono8; png compressed ", data=_png(pixels))


def depth_message(metres: NDArray[np.float32], header: Header, compressed: bool = False) -> Image | CompressedImage:
    """(H, W) float32 depth: exact as 32FC1; compressed in whole millimetres, as compressed_depth_image_transport does."""
    height, width = metres.shape
    if not compressed:
        message = Image(header=header, height=height, width=width, encoding="32FC1", step=4 * width)
        message.is_bigendian = int(sys.byteorder == "big")
        message.data = byte_array(np.ascontiguousarray(metres, dtype=np.float32).view(np.uint8))
        return message
    millimetres = np.clip(np.rint(np.nan_to_num(1e3 * metres)), 0, 2**16 - 1).astype(np.uint16)
    data = array.array("B", bytes(12)) + _png(millimetres)
    return CompressedImage(header=header, format="16UC1; compressedDepth png", data=data)


def _png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> array.array[int]:
    import cv2

    return byte_array(cv2.imencode(".png", pixels)[1])


def camera_info_messages(rig: Rig, left_header: Header, right_header: Header) -> tuple[CameraInfo, CameraInfo | None]:
    """camera_info of the left (or only) and of the right camera, rectified: no distortion, R = identity."""
    left = _camera_info(rig.left, 0.0, left_header)
    if rig.right is None or rig.baseline_m is None:
        return left, None
    return left, _camera_info(rig.right, rig.baseline_m, right_header)


def _camera_info(camera: Camera, baseline_m: float, header: Header) -> CameraInfo:
    matrix = camera.matrix
    projection = np.hstack([matrix, [[-camera.fx * baseline_m], [0.0], [0.0]]])
    return CameraInfo(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def check_stamp(stamp: Time) -> None:
    """Raises DataError for what a ROS time cannot hold, though the message can."""
    if stamp.sec < 0 or stamp.nanosec >= _NS_PER_S:
        raise DataError(f"the stamp {stamp.sec} s {stamp.nanosec} ns is no time")


def stamp_to_ns(stamp: Time) -> int:
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """Raises DataError outside of what builtin_interfaces/Time holds."""
    seconds, nanoseconds = divmod(int(stamp_ns), _NS_PER_S)
    if not -_MAX_SECONDS <= seconds <= _MAX_SECONDS:
        raise DataError(f"a ROS stamp holds seconds up to 2^31 - 1; got {seconds} s")
    return Time(sec=seconds, nanosec=nanoseconds)


def byte_array(values: NDArray[np.uint8] | NDArray[np.bool_]) -> array.array[int]:
    """For a uint8[] field: setting one from bytes or numpy is checked element by element, from this it is not."""
    filled = array.array("B")
    filled.frombytes(np.ascontiguousarray(values, dtype=np.uint8).reshape(-1).data)
    return filled


def float_array(values: NDArray[np.floating]) -> array.array[float]:
    """For a float32[] field, flattened row by row; fast as `byte_array`."""
    filled = array.array("f")
    filled.frombytes(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    return filled
