"""Sensor messages to the package's records, and back for replays. Stamps are exact integer nanoseconds."""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from subpx_ros.datasets.camera_info import rig_from_camera_infos
from subpx_ros.datasets.image_decoding import decode_image
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
    """The messages of one instant, as they came. The right camera's are None for one camera."""

    image: Image | CompressedImage
    camera_info: CameraInfo
    right_image: Image | CompressedImage | None = None
    right_camera_info: CameraInfo | None = None

    @property
    def header(self) -> Header:
        """Stamp and optical frame of the left or only image."""
        return self.image.header


def frame_from_messages(images: ImageSet) -> Frame:
    """Grey images with their calibration and the left image's stamp.

    Raises:
        DataError: an image or a camera_info that cannot be used; the message names it.
    """
    rig = rig_from_camera_infos(images.camera_info, images.right_camera_info)
    right = None if images.right_image is None else grey_image(images.right_image, "right image")
    return Frame(stamp_to_ns(images.header.stamp), grey_image(images.image, "image"), rig, right)


def grey_image(message: Image | CompressedImage, what: str = "image") -> NDArray[np.uint8]:
    """(H, W) uint8 grey. Raises DataError."""
    try:
        if isinstance(message, CompressedImage):
            return _as_grey(_bridge.compressed_imgmsg_to_cv2(message, desired_encoding="mono8"))
        _check_length(message)
        if message.encoding in _CV_BRIDGE_ENCODINGS:
            return _as_grey(_bridge.imgmsg_to_cv2(message, desired_encoding="mono8"))
        return decode_image(
            message.height, message.width, message.encoding, message.is_bigendian, message.step, message.data
        )
    except Exception as error:
        raise DataError(f"the {what} cannot be used: {error}") from error


def _check_length(message: Image) -> None:
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
    filled.frombytes(np.ascontiguousarray(values, dtype=np.uint8).data.cast("B"))
    return filled


def float_array(values: NDArray[np.floating]) -> array.array[float]:
    """For a float32[] field, flattened row by row; fast as `byte_array`."""
    filled = array.array("f")
    filled.frombytes(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    return filled
