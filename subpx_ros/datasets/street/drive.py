"""The path of the cameras: along the right lane, with smooth speed and the small motions of a car body."""

from __future__ import annotations

import numpy as np

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError
from subpx_ros.geometry import rotation_from_vector, se3

LANE_M = 1.45
"""The car keeps this far to the right of the centreline."""
_BODY_TO_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""R_body_camera: the body's x forward, y left, z up from the camera's x right, y down, z forward."""


def longest_drive(config: StreetConfig) -> int:
    """How many frames the road has room for."""
    return int(config.length_m / config.speed_m)


def drive_poses(line: Centreline, config: StreetConfig, frames: int) -> Array:
    """T_world_camera (frames, 4, 4) of the left camera.

    Raises:
        ConfigError: fewer than one frame, or more than the road has room for.
    """
    if not 1 <= frames <= longest_drive(config):
        raise ConfigError(
            f"a drive along {config.length_m:g} m at {config.speed_m:g} m a frame takes 1 to {longest_drive(config)} "
            f"frames; got {frames}: raise length_m or lower the number of frames"
        )
    rng = np.random.default_rng([config.seed, 1])
    time = np.arange(frames, dtype=np.float64)
    pace = config.speed_m * (1.0 + 0.15 * _wave(rng, time, 45.0))
    arc = np.concatenate([[0.0], np.cumsum(pace[:-1])])
    states = line.at(arc)
    # Rolling to the outside of bends and slow vibration, as of a car; the amplitudes are those of KITTI's first scenes.
    roll = 0.12 * states[:, 3] + 0.004 * _wave(rng, time, 13.0)
    pitch = 0.005 * _wave(rng, time, 17.0)
    yaw = states[:, 2] + 0.008 * _wave(rng, time, 37.0)
    height = config.camera_height_m + 0.012 * _wave(rng, time, 11.0)
    sideways = -LANE_M + 0.15 * _wave(rng, time, 60.0)
    positions = line.offset(arc, sideways)
    positions[:, 2] = height
    return np.array(
        [
            se3(_attitude(*angles) @ _BODY_TO_OPTICAL, position)
            for angles, position in zip(np.stack([yaw, pitch, roll], axis=1), positions, strict=True)
        ]
    )


def _attitude(yaw: float, pitch: float, roll: float) -> Array:
    """R_world_body, angles in radians about z, then y, then x."""
    turn = [rotation_from_vector(angle * axis) for angle, axis in zip((roll, pitch, yaw), np.eye(3), strict=True)]
    return turn[2] @ turn[1] @ turn[0]


def _wave(rng: np.random.Generator, time: Array, period: float) -> Array:
    """A smooth random signal (n,) within [-1, 1] whose slowest part takes `period` frames."""
    wave = np.zeros(len(time))
    for share, rate in ((0.55, 1.0), (0.3, 1.7), (0.15, 2.9)):
        wave += share * np.sin(2 * np.pi * rate * time / period + rng.uniform(0.0, 2 * np.pi))
    return wave
