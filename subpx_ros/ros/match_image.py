"""`~/match_image`, raw and compressed: drawn only while somebody looks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from subpx_ros.ros.messages import byte_array


def colour_image_message(pixels: NDArray[np.uint8], header: Header) -> Image:
    """(H, W, 3) uint8 BGR as a bgr8 message."""
    height, width, channels = pixels.shape
    message = Image(header=header, height=height, width=width, encoding="bgr8", step=width * channels)
    message.data = byte_array(pixels)
    return message


def jpeg_message(pixels: NDArray[np.uint8], header: Header) -> CompressedImage:
    """(H, W, 3) uint8 BGR as a JPEG, in image_transport's words for it."""
    _, encoded = cv2.imencode(".jpg", pixels)
    return CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=byte_array(encoded))
