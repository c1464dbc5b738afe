"""Where the metres of one camera come from. A new source is a file in this folder and a line in `SOURCES`.

The images of one camera show the direction in which it moved, and not how far. A source says how far: from the height of the
camera over the ground, from another odometry of the robot, from a known speed. What no source knows is never made up.
"""

from __future__ import annotations

from collections.abc import Callable

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Camera
from subpx_ros.errors import ConfigError
from subpx_ros.scale.ground import FromHeight
from subpx_ros.scale.length import LengthSource
from subpx_ros.scale.mono import MonoScale
from subpx_ros.scale.other_odometry import OtherOdometry
from subpx_ros.scale.speed import FromSpeed
from subpx_ros.scale.wheels import FromWheels

__all__ = ["MonoScale", "OtherOdometry", "metres_from", "mono_scale"]

_Make = Callable[[OdometryConfig, Camera, OtherOdometry | None], LengthSource]

SOURCES: dict[str, tuple[Callable[[OdometryConfig], bool], _Make]] = {
    "wheels": (lambda config: config.wheel_odometry, lambda config, camera, other: _from_wheels(config, other)),
    "height": (
        lambda config: config.camera_height_m > 0.0,
        lambda config, camera, other: FromHeight(camera, config.camera_height_m),
    ),
    "speed": (lambda config: config.speed_mps > 0.0, lambda config, camera, other: FromSpeed(config.speed_mps)),
}
"""Whether it is asked for, and how it is made. The first that is asked for counts."""


def metres_from(config: OdometryConfig) -> str:
    """Name in `SOURCES` of what gives one camera's motions their length; empty: nothing, they have unit length."""
    return next((name for name, (asked_for, _) in SOURCES.items() if asked_for(config)), "")


def mono_scale(config: OdometryConfig, camera: Camera, other: OtherOdometry | None) -> MonoScale | None:
    """What gives the motions of `camera` their length, or None where nothing is to.

    Raises:
        ConfigError: it is to be another odometry, and there is none.
    """
    name = metres_from(config)
    return MonoScale(SOURCES[name][1](config, camera, other)) if name else None


def _from_wheels(config: OdometryConfig, other: OtherOdometry | None) -> FromWheels:
    if other is None:
        raise ConfigError(
            "odometry.wheel_odometry needs another odometry: 'subpx run --scale-from FILE_OR_TOPIC', or the node in mode mono"
        )
    return FromWheels(other, config.wheel_deviation)
