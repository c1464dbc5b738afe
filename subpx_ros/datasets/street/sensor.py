"""What a real camera adds to an ideal view: exposure, vignetting, noise, eight bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.config import StreetConfig


def exposure(config: StreetConfig, frame: int) -> float:
    """Light of a frame relative to the others: less during the exposure drop."""
    drop = config.disturbances
    return drop.dark_light if drop.dark_from <= frame < drop.dark_from + drop.dark_frames else 1.0


def is_blurred(config: StreetConfig, frame: int) -> bool:
    """Whether a frame has motion blur: one out of every 1 / share, at a place that differs from one to the next."""
    share = config.disturbances.blurred_share
    if share == 0.0:
        return False
    turn = int(frame * share)
    first, last = (int(np.ceil(number / share)) for number in (turn, turn + 1))
    return frame == int(np.random.default_rng([config.seed, 8, turn]).integers(first, max(last, first + 1)))


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
    light = (
        image
        * np.float32(exposure(config, frame) * (1.0 + config.exposure_drift * wave) * gain)
        * (1.0 - config.vignetting * radius_squared)
    )

    noise = np.random.default_rng([config.seed, 4, frame, camera]).standard_normal(image.shape, dtype=np.float32)
    noise *= np.sqrt(np.float32(config.read_noise**2) + np.float32(config.shot_noise**2) * light)
    return np.clip(np.rint(255.0 * (light + noise)), 0, 255).astype(np.uint8)
