"""A short rendered drive in small images, and settings that relate its frames quickly."""

from __future__ import annotations

from typing import Any

from subpx_ros.config import Config, load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Camera, Rig

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
RIG = Rig(CAMERA, CAMERA, 0.5)


def config(**odometry: Any) -> Config:
    settings = {"preset": "sift", "device": "cpu", "refiner": "none", "threads": 1}
    return load_config(settings | {"odometry": odometry})


def small_street(frames: int) -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=frames, rig=RIG)
