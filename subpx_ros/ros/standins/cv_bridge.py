"""CvBridge as in the package cv_bridge, for grey images: pixels come from subpx_ros.datasets.image_decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_decoding import decode_image
from subpx_ros.errors import DataError


class CvBridgeError(TypeError):
    """A message that cannot be converted."""


class CvBridge:
    """Message to array, for the desired encoding mono8."""

    def imgmsg_to_cv2(self, img_msg: Any, desired_encoding: str = "mono8") -> NDArray[np.uint8]:
        """sensor_msgs/Image as (H, W) uint8 grey. Raises CvBridgeError."""
        if desired_encoding != "mono8":
            raise CvBridgeError(f"desired_encoding must be mono8 here; got {desired_encoding!r}")
        try:
            return decode_image(
                img_msg.height, img_msg.width, img_msg.encoding, img_msg.is_bigendian, img_msg.step, img_msg.data
            )
        except DataError as error:
            raise CvBridgeError(str(error)) from error
