"""Images of unrectified cameras to rectified ones, by the models of sensor_msgs/CameraInfo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Camera
from subpx_ros.errors import DataError

DISTORTION_MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (5, 8, 12, 14), "equidistant": (4,)}
"""How many coefficients each takes. Brown's, the rational extension of it, and Kannala and Brandt's of fisheye lenses."""

_LARGEST_SIDE = 2**15 - 2
"""Of an image that OpenCV can remap."""
_KEPT_MAPS = 4
"""Two cameras, and those before a change."""

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)


@dataclass(frozen=True)
class Lens:
    """What sensor_msgs/CameraInfo calls K, D and R: how an unrectified camera sees, and how it is to be turned."""

    intrinsics: tuple[float, ...]
    """K row by row, 9 numbers, pixels."""
    model: str
    """Of DISTORTION_MODELS."""
    distortion: tuple[float, ...]
    """Coefficients of the model; empty: none."""
    rotation: tuple[float, ...]
    """R row by row, 9 numbers: rays of the unrectified camera to rays of the rectified one."""

    def __post_init__(self) -> None:
        numbers = np.array([*self.intrinsics, *self.distortion, *self.rotation])
        counts = DISTORTION_MODELS.get(self.model, ())
        if self.distortion and len(self.distortion) not in counts:
            known = ", ".join(f"{name} with {' or '.join(map(str, each))}" for name, each in DISTORTION_MODELS.items())
            raise DataError(
                f"distortion must be {known} coefficients; got '{self.model[:40]}' with {len(self.distortion)}"
            )
        if len(self.intrinsics) != 9 or len(self.rotation) != 9 or not np.all(np.isfinite(numbers)):
            raise DataError(
                "a lens needs K and R of 9 numbers each and distortion, all finite: calibrate the camera again"
            )


def rectified(image: NDArray[_Pixel], lens: Lens, camera: Camera) -> NDArray[_Pixel]:
    """The image (H, W) that `camera` takes of what `lens` saw; black, or NaN, where that saw nothing.

    Grey pixels are interpolated. Depths (float32) are taken from the nearest pixel, as a mean of foreground and
    background is neither; their z stays as it is, which holds for lenses that are hardly turned.

    Raises:
        DataError: an image too wide or too high for OpenCV's maps.
    """
    import cv2

    if max(image.shape) > _LARGEST_SIDE or max(camera.width, camera.height) > _LARGEST_SIDE:
        raise DataError(f"an image to be rectified may have {_LARGEST_SIDE} pixels a side; got {image.shape}")
    coarse, fine = _maps(lens, camera)
    if image.dtype == np.float32:
        options = {"interpolation": cv2.INTER_NEAREST, "borderValue": np.nan}
    else:
        options = {"interpolation": cv2.INTER_CUBIC, "borderValue": 0}
    return np.asarray(cv2.remap(image, coarse, fine, borderMode=cv2.BORDER_CONSTANT, **options), dtype=image.dtype)  # type: ignore[call-overload]


@lru_cache(maxsize=_KEPT_MAPS)
def _maps(lens: Lens, camera: Camera) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """OpenCV's fixed-point maps from the pixels of `camera` to those of the unrectified image."""
    import cv2

    matrices = [np.array(numbers).reshape(3, 3) for numbers in (lens.intrinsics, lens.rotation)]
    size = (camera.width, camera.height)
    distortion = np.array(lens.distortion or (0.0, 0.0, 0.0, 0.0))
    make = cv2.fisheye.initUndistortRectifyMap if lens.model == "equidistant" else cv2.initUndistortRectifyMap
    coarse, fine = make(matrices[0], distortion, matrices[1], camera.matrix, size, cv2.CV_16SC2)
    return np.asarray(coarse, dtype=np.int16), np.asarray(fine, dtype=np.uint16)
