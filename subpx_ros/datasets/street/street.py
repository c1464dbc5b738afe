"""The street as something to look at: any pose, any pinhole camera, image and exact depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.atlas import build_atlas
from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datasets.street.drive import drive_poses
from subpx_ros.datasets.street.layout import build_street
from subpx_ros.datasets.street.projection import project_mesh
from subpx_ros.datasets.street.shading import shade, sky
from subpx_ros.datasets.street.visibility import find_visible
from subpx_ros.datatypes import Array, Camera

BEHIND_M = 16.0
AHEAD_M = 70.0
"""The road is built this much longer than it is driven, at its beginning and at its end."""


@dataclass(frozen=True)
class View:
    """What one ideal camera sees: no noise, no vignetting."""

    camera: Camera
    T_world_camera: Array
    """(4, 4)"""
    image: NDArray[np.float32]
    """(H, W) intensity, black 0 and white 1; anti-aliased, positions exact at pixel centres."""
    depth: NDArray[np.float32]
    """(H, W) z in metres at the pixel centre; inf where there is sky."""
    planes: NDArray[np.int32]
    """(H, W) number of the street's plane that is seen at the pixel centre; -1 for the sky."""


class Street:
    """A street built from photographs by seed. World frame: x, y on the ground, z up; rendering is thread-safe."""

    def __init__(self, config: StreetConfig | None = None) -> None:
        self.config = config or StreetConfig()
        rng = np.random.default_rng(self.config.seed)
        start, end = -BEHIND_M, self.config.length_m + AHEAD_M
        self.centreline = Centreline(rng, start, end)
        self.mesh, textures = build_street(self.centreline, start, end, rng)
        self._atlas = build_atlas(textures)

    def render(self, camera: Camera, T_world_camera: Array) -> View:
        """The view of `camera` (optical frame, z forward) at the pose (4, 4)."""
        faces = project_mesh(self.mesh, camera, T_world_camera)
        fragments = find_visible(faces, camera.width, camera.height)
        is_sky = fragments.faces == len(faces.textures)
        intensity = np.empty(len(fragments.faces), dtype=np.float32)
        solid, open_sky = np.flatnonzero(~is_sky), np.flatnonzero(is_sky)
        intensity[solid] = shade(faces, self._atlas, fragments, solid)
        pixels = np.stack([fragments.x[open_sky], fragments.y[open_sky]], axis=1)
        rays = np.concatenate([camera.normalise(pixels), np.ones((len(pixels), 1))], axis=1)
        intensity[open_sky] = sky(rays @ T_world_camera[:3, :3].T)

        size = camera.width * camera.height
        summed = np.bincount(fragments.pixels, weights=intensity * fragments.weights, minlength=size)
        image = np.clip(summed, 0.0, 1.0).astype(np.float32).reshape(camera.height, camera.width)
        depth = _depth(faces.inverse_depths, fragments.centre_faces, camera)
        planes = np.append(faces.planes, np.int32(-1))[fragments.centre_faces].reshape(depth.shape)
        return View(camera, T_world_camera, image, depth, planes)

    def drive(self, frames: int) -> Array:
        """Poses T_world_camera (frames, 4, 4) of the left camera along the right lane.

        Raises:
            ConfigError: the road is too short for that many frames.
        """
        return drive_poses(self.centreline, self.config, frames)


def _depth(inverse_depths: Array, owners: NDArray[np.int32], camera: Camera) -> NDArray[np.float32]:
    functions = np.concatenate([inverse_depths, np.zeros((1, 3))])
    y, x = np.divmod(np.arange(len(owners)), camera.width)
    inverse = functions[owners, 0] * x + functions[owners, 1] * y + functions[owners, 2]
    with np.errstate(divide="ignore"):
        depth = (1.0 / inverse).astype(np.float32)
    depth[owners == len(inverse_depths)] = np.inf
    return depth.reshape(camera.height, camera.width)
