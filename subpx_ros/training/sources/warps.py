"""Photographs as flat scenes before two cameras: an exact homography, an exact pose, and the faults of real images.

Both views are rendered from the photograph by averaging over the area of every pixel, so that neither is sharper than
a camera would make it, and integer coordinates are pixel centres on all three pixel grids.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Camera
from subpx_ros.geometry import invert, rotation_from_vector, se3
from subpx_ros.training.config import WarpsSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.photographs import photographs_of
from subpx_ros.training.sources.photometry import degrade
from subpx_ros.training.sources.source import PairSource

Image = NDArray[np.float32]

_SAMPLES = 3
"""Samples per pixel and direction: enough for reductions by 3, and the views reduce by less."""


class WarpsSource(PairSource):
    """Pair i shows photograph i modulo their number; everything else is drawn by seed and i."""

    def __init__(self, config: WarpsSourceConfig) -> None:
        super().__init__(config.pairs)
        self._config = config
        self._photographs = photographs_of(Path(config.folder) if config.folder else None, config.photographs)

    def pair(self, index: int) -> TrainingPair:
        config = self._config
        rng = np.random.default_rng([config.seed, index])
        photograph = self._photographs[index % len(self._photographs)]
        pixels = photograph.read()
        camera = _camera(config.width, config.height)
        T_0_plane, T_1_plane = _draw_poses(rng, config, camera, pixels.shape)
        homographies = [homography_of_plane(camera, T) for T in (T_0_plane, T_1_plane)]
        views = [
            render_plane(pixels, invert_homography(matrix), config.width, config.height) for matrix in homographies
        ]
        images = [degrade(view, config, rng) for view in views]
        T_0_1 = T_0_plane @ invert(T_1_plane)
        T_0_1[:3, 3] /= T_0_plane[2, 3]  # the unit of length is the distance of the plane
        return TrainingPair(
            name=f"warp {index} of {photograph.name}",
            image0=images[0],
            image1=images[1],
            camera0=camera,
            camera1=camera,
            T_0_1=T_0_1,
            homography=homographies[1] @ invert_homography(homographies[0]),
        )

    def describe(self) -> Mapping[str, Any]:
        sources = {photograph.name: photograph.licence for photograph in self._photographs}
        return {"kind": "warps", "pairs": len(self), "seed": self._config.seed, "photographs": sources}


def homography_of_plane(camera: Camera, T_camera_plane: Array) -> Array:
    """(3, 3): pixels of the photograph, which lies in z = 0 with one unit a pixel, to pixels of the camera."""
    return camera.matrix @ T_camera_plane[:3, [0, 1, 3]]


def invert_homography(homography: Array) -> Array:
    """(3, 3), the opposite way."""
    return np.asarray(np.linalg.inv(homography), dtype=np.float64)


def render_plane(photograph: Image, homography: Array, width: int, height: int) -> Image:
    """The view (height, width) whose pixels lie at `homography` (3, 3) of theirs in the photograph (H, W).

    Every pixel is the mean of 3x3 bicubic samples spread over its area; beyond its edges the photograph is mirrored.
    """
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5
    x = (np.arange(width)[:, None] + steps).ravel()
    y = (np.arange(height)[:, None] + steps).ravel()
    places = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1) @ homography.T
    places = places[..., :2] / places[..., 2:]
    # grid_sample's frame with aligned corners: -1 and 1 are the centres of the outermost pixels.
    size = np.array([photograph.shape[1], photograph.shape[0]])
    grid = torch.from_numpy((2.0 * places / (size - 1) - 1.0).astype(np.float32))
    samples = torch.nn.functional.grid_sample(
        torch.from_numpy(photograph)[None, None], grid[None], "bicubic", "reflection", align_corners=True
    )
    return np.asarray(torch.nn.functional.avg_pool2d(samples, _SAMPLES)[0, 0].clamp(0.0, 1.0))


def _camera(width: int, height: int) -> Camera:
    focal_length = 1.1 * max(width, height)
    return Camera(focal_length, focal_length, (width - 1) / 2.0, (height - 1) / 2.0, width, height)


def _draw_poses(
    rng: np.random.Generator, config: WarpsSourceConfig, camera: Camera, shape: tuple[int, ...]
) -> tuple[Array, Array]:
    """T_camera_plane (4, 4) of both cameras, lengths in photograph pixels."""
    middle = np.array([(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0])
    room = np.maximum(0.0, np.array([shape[1] - camera.width, shape[0] - camera.height]) / 2.0)
    target = middle + rng.uniform(-1.0, 1.0, 2) * room
    reduction = rng.uniform(1.0, config.max_reduction)
    ratio = config.max_scale ** rng.uniform(-1.0, 1.0)
    shift = rng.uniform(-config.max_shift, config.max_shift, 2) * [camera.width, camera.height]
    first = _looking_at(target, reduction * camera.fx, _rotation(rng, config, share=0.5))
    second = _looking_at(target + shift, reduction * ratio * camera.fx, _rotation(rng, config, share=1.0))
    return first, second


def _looking_at(target: Array, distance: float, rotation: Array) -> Array:
    """The camera's axis meets the plane at `target` (2,), `distance` away."""
    return se3(rotation, np.array([0.0, 0.0, distance]) - rotation @ np.append(target, 0.0))


def _rotation(rng: np.random.Generator, config: WarpsSourceConfig, share: float) -> Array:
    roll = rng.uniform(-1.0, 1.0) * np.radians(config.max_roll_deg)
    tilt = rng.uniform(0.0, 1.0) * np.radians(config.max_tilt_deg)
    direction = rng.uniform(0.0, 2.0 * np.pi)
    tilted = rotation_from_vector(share * tilt * np.array([np.cos(direction), np.sin(direction), 0.0]))
    return tilted @ rotation_from_vector(share * roll * np.array([0.0, 0.0, 1.0]))
