"""The faults of real images: motion blur, defocus, exposure, gamma, noise, JPEG. None of them moves the content."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.training.config import WarpsSourceConfig

Image = NDArray[np.float32]


def degrade(image: Image, config: WarpsSourceConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture (H, W) uint8 that a camera takes of an ideal image (H, W) in [0, 1]; everything drawn from `rng`."""
    import cv2

    length, angle = config.max_motion_blur_px * rng.uniform() ** 2, rng.uniform(0.0, np.pi)
    light = cv2.filter2D(image, -1, motion_kernel(length, angle), borderType=cv2.BORDER_REFLECT_101)
    sigma = config.max_blur_px * rng.uniform()
    if sigma > 0.1:
        light = cv2.GaussianBlur(light, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    gain, offset = rng.uniform(1.0 - config.max_gain, 1.0 + config.max_gain), rng.uniform(-0.05, 0.05)
    gamma = config.max_gamma ** rng.uniform(-1.0, 1.0)
    light = np.clip(gain * np.clip(light, 0.0, 1.0) ** gamma + offset, 0.0, 1.0)
    noise = config.max_noise * rng.uniform() * rng.standard_normal(image.shape)
    picture = np.clip(np.rint(255.0 * (light + noise * np.sqrt(0.2 + 0.8 * light))), 0, 255).astype(np.uint8)
    quality = int(rng.integers(config.min_jpeg_quality, 101))
    return picture if quality == 100 else _through_jpeg(picture, quality)


def motion_kernel(length: float, angle: float) -> Image:
    """A line of `length` pixels in direction `angle` (radians), its centre of gravity exactly in the middle."""
    radius = int(np.ceil(length / 2.0)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    along = (np.arange(4 * radius + 1) / (2 * radius) - 1.0) * length / 2.0
    for x, y in zip(radius + along * np.cos(angle), radius + along * np.sin(angle), strict=True):
        column, row = int(np.floor(x)), int(np.floor(y))
        share_x, share_y = x - column, y - row
        weights = np.outer([1.0 - share_y, share_y], [1.0 - share_x, share_x])
        kernel[row : row + 2, column : column + 2] += weights
    return (kernel / kernel.sum()).astype(np.float32)


def _through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    import cv2

    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
