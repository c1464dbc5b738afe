"""Drives with names, for benchmarks: the same for everybody, and another one for every seed."""

from __future__ import annotations

from dataclasses import replace

from subpx_ros.datasets.street.config import DisturbanceConfig, StreetConfig
from subpx_ros.errors import DataError
from subpx_ros.settings import unknown_name

_CLEAN = StreetConfig(length_m=1000.0, speed_m=0.8)
DRIVES = {
    "clean": _CLEAN,
    "disturbed": replace(
        _CLEAN,
        disturbances=DisturbanceConfig(
            traffic_gap_m=11.0, dark_from=500, dark_frames=5, blurred_share=0.1, missing_frame=800
        ),
    ),
    "highway": StreetConfig(layout="highway", length_m=1000.0, speed_m=2.5),
}
"""A kilometre each, seen by KITTI's stereo rig: with turns; the same with traffic (about a fifth of what a detector
finds), five dark frames, motion blur in every tenth frame and one frame missing; along a highway, with little nearer than 30 m."""


def named_drive(text: str) -> tuple[str, StreetConfig]:
    """Short name and settings of the drive that `NAME` or `NAME:SEED` names.

    Raises:
        DataError: there is no such drive, or the seed is no whole number.
        ConfigError: the seed is out of range.
    """
    name, colon, seed = text.partition(":")
    if name not in DRIVES:
        raise DataError(unknown_name("drive", name, list(DRIVES)))
    if not colon:
        return name, DRIVES[name]
    if not (seed.isascii() and seed.isdigit() and len(seed) < 12):
        raise DataError(f"the seed of a drive is a whole number, as in {name}:7; got '{seed[:40]}'")
    return f"{name}-{int(seed)}", replace(DRIVES[name], seed=int(seed))
