"""The street as something to look at: any pose, any pinhole camera, image and exact depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subpx_ros.datasets.street import highway, layout
from subpx_ros.datasets.street.atlas import build_atlas
from subpx_ros.datasets.street.centreline import Bends, Centreline
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datasets.street.drive import Drive, check_frames
from subpx_ros.datasets.street.mesh import joined
from subpx_ros.datasets.street.projection import project_mesh
from subpx_ros.datasets.street.shading import shade, sky
from subpx_ros.datasets.street.site import Site
from subpx_ros.datasets.street.traffic import Traffic
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
    """(H, W) number of the street's plane that is seen at the pixel centre; -1 for the sky, below it what moves."""

    @property
    def moving(self) -> NDArray[np.bool_]:
        """(H, W) where a moving vehicle is seen."""
        return np.asarray(self.planes < -1)


@dataclass(frozen=True)
class _Road:
    """A kind of road."""

    bends: Bends
    lane_m: float
    build: Callable[[Centreline, float, float, np.random.Generator], Site]


_ROADS = {
    "street": _Road(Bends(), layout.LANE_M, layout.build_street),
    "highway": _Road(highway.BENDS, highway.LANE_M, highway.build_highway),
}


class Street:
    """A street built from photographs by seed. World frame: x, y on the ground, z up; rendering is thread-safe."""

    def __init__(self, config: StreetConfig | None = None) -> None:
        self.config = config or StreetConfig()
        road = _ROADS[self.config.layout]
        rng = np.random.default_rng(self.config.seed)
        start, end = -BEHIND_M, self.config.length_m + AHEAD_M
        self.centreline = Centreline(rng, start, end, road.bends)
        site = road.build(self.centreline, start, end, rng)
        self.mesh = site.builder.build()
        self._atlas = build_atlas(site.textures.images)
        self._drive = Drive(self.centreline, self.config, road.lane_m)
        gap = self.config.disturbances.traffic_gap_m
        self._traffic = (
            Traffic(
                self.centreline, self._drive, road.lane_m, site.textures, gap, self.config.speed_m, self.config.seed
            )
            if gap
            else None
        )

    def render(self, camera: Camera, T_world_camera: Array, time: float | None = None) -> View:
        """The view of `camera` (optical frame, z forward) at the pose (4, 4).

        Where there is traffic, it is where it is at the `time` of the drive, counted in frames; None: it is away.
        """
        vehicles = None if self._traffic is None or time is None else self._traffic.at(time)
        mesh = self.mesh if vehicles is None else joined([self.mesh, vehicles])
        faces = project_mesh(mesh, camera, T_world_camera)
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
        check_frames(self.config, frames)
        return self.poses_at(np.arange(frames))

    def poses_at(self, times: ArrayLike) -> Array:
        """Poses T_world_camera (n, 4, 4) of the left camera at n times of the drive, in frames, whole or not."""
        return self._drive.poses(times)


def _depth(inverse_depths: Array, owners: NDArray[np.int32], camera: Camera) -> NDArray[np.float32]:
    functions = np.concatenate([inverse_depths, np.zeros((1, 3))])
    y, x = np.divmod(np.arange(len(owners)), camera.width)
    inverse = functions[owners, 0] * x + functions[owners, 1] * y + functions[owners, 2]
    with np.errstate(divide="ignore"):
        depth = (1.0 / inverse).astype(np.float32)
    depth[owners == len(inverse_depths)] = np.inf
    return depth.reshape(camera.height, camera.width)
