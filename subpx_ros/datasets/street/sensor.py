"""What a real camera adds to an ideal view: exposure, vignetting, noise, eight bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.config import StreetConfig


def expose(image: NDArray[np.float32], config: StreetConfig, frame: int, camera: int) -> NDArray[np.uint8]:
    """The picture (H, W) uint8 that camera 0 (left) or 1 (right) takes of an ideal image (H, W) in [0, 1].

    Seeded by configuration, frame and camera. Exposure drifts slowly, the same for both cameras; their gains differ
    a little.
    """
    height, width = image.shape
    drift = np.random.default_rng([config.seed, 2]).uniform(0.0, 2 * np.pi, 2)
    wave = 0.6 * np.sin(frame / 19.0 + drift[0]) + 0.4 * np.sin(frame / 7.3 + drift[1])
    gain = 1.0 + config.gain_difference * np.random.default_rng([config.seed, 3, camera]).uniform(-1.0, 1.0)

    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32) * (height / width)
    radius_squared = (x[None] ** 2 + y[:, None] ** 2) / (1.0 + (height / width) ** 2)
    light = image * np.float32((1.0 + config.exposure_drift * wave) * gain) * (1.0 - config.vignetting * radius_squared)

    noise = np.random.default_rng([config.seed, 4, frame, camera]).standard_normal(image.shape, dtype=np.float32)
    noise *= np.sqrt(np.float32(config.read_noise**2) + np.float32(config.shot_noise**2) * light)
    return np.clip(np.rint(255.0 * (light + noise)), 0, 255).astype(np.uint8)
