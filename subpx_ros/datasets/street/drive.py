"""The path of the cameras: along their lane, with smooth speed and the small motions of a car body."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError
from subpx_ros.geometry import rotation_from_vector, se3

_BODY_TO_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""R_body_camera: the body's x forward, y left, z up from the camera's x right, y down, z forward."""


def longest_drive(config: StreetConfig) -> int:
    """How many frames the road has room for."""
    return int(config.length_m / config.speed_m)


def check_frames(config: StreetConfig, frames: int) -> None:
    """Raises ConfigError for fewer than one frame, or more than the road has room for."""
    if not 1 <= frames <= longest_drive(config):
        raise ConfigError(
            f"a drive along {config.length_m:g} m at {config.speed_m:g} m a frame takes 1 to {longest_drive(config)} "
            f"frames; got {frames}: raise length_m or lower the number of frames"
        )


class Drive:
    """Where the left camera is at any time. Times are counted in frames and need not be whole."""

    def __init__(self, line: Centreline, config: StreetConfig, lane_m: float) -> None:
        """A drive `lane_m` to the right of the centreline, from arc length 0 to the end of the road."""
        rng = np.random.default_rng([config.seed, 1])
        self._line = line
        self._lane_m = lane_m
        self._camera_height_m = config.camera_height_m
        pace = Wave(rng, 45.0)
        self._roll, self._pitch, self._yaw = Wave(rng, 13.0), Wave(rng, 17.0), Wave(rng, 37.0)
        self._height, self._sideways = Wave(rng, 11.0), Wave(rng, 60.0)
        # A frame more at both ends, where an exposure begins before the first frame and ends after the last one.
        self._frames = np.arange(-1.0, longest_drive(config) + 1)
        steps = config.speed_m * (1.0 + 0.15 * pace(self._frames))
        self._arcs = np.concatenate([[-steps[0], 0.0], np.cumsum(steps[1:-1])])

    def arc(self, time: ArrayLike) -> Array:
        """Arc length (...) along the centreline, metres."""
        return np.asarray(np.interp(np.asarray(time, dtype=np.float64), self._frames, self._arcs))

    def poses(self, time: ArrayLike) -> Array:
        """T_world_camera (n, 4, 4) at n times."""
        time = np.asarray(time, dtype=np.float64)
        arc = self.arc(time)
        states = self._line.at(arc)
        # Rolling to the outside of bends and slow vibration, as of a car; the amplitudes are those of KITTI's first
        # scenes.
        roll = 0.12 * states[:, 3] + 0.004 * self._roll(time)
        pitch = 0.005 * self._pitch(time)
        yaw = states[:, 2] + 0.008 * self._yaw(time)
        height = self._camera_height_m + 0.012 * self._height(time)
        positions = self._line.offset(arc, -self._lane_m + 0.15 * self._sideways(time))
        positions[:, 2] = height
        return np.array(
            [
                se3(_attitude(*angles) @ _BODY_TO_OPTICAL, position)
                for angles, position in zip(np.stack([yaw, pitch, roll], axis=1), positions, strict=True)
            ]
        )


class Wave:
    """A smooth random signal within [-1, 1] whose slowest part takes `period` frames."""

    def __init__(self, rng: np.random.Generator, period: float) -> None:
        self._period = period
        self._parts = [
            (share, rate, rng.uniform(0.0, 2 * np.pi)) for share, rate in ((0.55, 1.0), (0.3, 1.7), (0.15, 2.9))
        ]

    def __call__(self, time: ArrayLike) -> Array:
        """Its values (...) at times (...)."""
        time = np.asarray(time, dtype=np.float64)
        wave = np.zeros_like(time)
        for share, rate, phase in self._parts:
            wave += share * np.sin(2 * np.pi * rate * time / self._period + phase)
        return wave


def _attitude(yaw: float, pitch: float, roll: float) -> Array:
    """R_world_body, angles in radians about z, then y, then x."""
    turn = [rotation_from_vector(angle * axis) for angle, axis in zip((roll, pitch, yaw), np.eye(3), strict=True)]
    return turn[2] @ turn[1] @ turn[0]
