"""A street as convex planar faces, each with an affine map from the world to a texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.geometry import invert

MAX_VERTICES = 8


@dataclass(frozen=True)
class Mesh:
    """F faces. World frame: x, y in the ground plane, z up, metres."""

    vertices: Array
    """(F, MAX_VERTICES, 3), counter-clockwise seen from outside; the last vertex is repeated to fill the row."""
    counts: NDArray[np.int32]
    """(F,) number of vertices."""
    normals: Array
    """(F, 3) unit, outward. A face is seen from outside only."""
    texel_maps: Array
    """(F, 2, 4): level-0 texel coordinates (u, v) = texel_map (x, y, z, 1)."""
    textures: NDArray[np.int32]
    """(F,) index in the atlas."""
    planes: NDArray[np.int32]
    """(F,) number of the plane that the face lies in; faces in one plane share it. Below -1 for what moves."""
    gains: NDArray[np.float32]
    """(F,) factor of the texture's intensity: paint and light."""

    def __len__(self) -> int:
        return len(self.counts)

    def in_motion(self, T_world_body: Array) -> Mesh:
        """This body's faces at a pose (4, 4), as faces that move."""
        rotation = T_world_body[:3, :3]
        return replace(
            self,
            vertices=self.vertices @ rotation.T + T_world_body[:3, 3],
            normals=self.normals @ rotation.T,
            texel_maps=self.texel_maps @ invert(T_world_body),
            planes=-2 - self.planes,
        )


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of the faces of all; their planes keep their numbers."""
    columns = [[getattr(mesh, entry.name) for mesh in meshes] for entry in fields(Mesh)]
    return Mesh(*(np.concatenate(column) for column in columns))


@dataclass
class MeshBuilder:
    """Collects faces."""

    sun: Array = field(default_factory=lambda: np.array([0.36, -0.48, 0.8]))
    """Unit vector towards the light."""
    _faces: list[tuple[Array, Array, int, float]] = field(default_factory=list)

    def polygon(self, vertices: Array, texel_map: Array, texture: int, gain: float = 1.0) -> None:
        """A convex planar polygon (n, 3), counter-clockwise seen from outside, with its texel map (2, 4)."""
        self._faces.append((np.asarray(vertices, dtype=np.float64), texel_map, texture, gain))

    def panel(
        self,
        top_left: Array,
        top_right: Array,
        bottom_left: Array,
        texture: int,
        size: tuple[int, int],
        gain: float = 1.0,
    ) -> None:
        """A parallelogram that shows a whole texture of `size` (h, w) texels; the corners as seen from outside."""
        corners = np.array([top_left, bottom_left, bottom_left + (top_right - top_left), top_right])
        mapping = rectangle_map(top_left, top_right - top_left, bottom_left - top_left, (0, 0, size[1], size[0]))
        self.polygon(corners, mapping, texture, gain)

    def build(self) -> Mesh:
        """The faces as arrays; sunlit faces are brighter."""
        count = len(self._faces)
        vertices = np.empty((count, MAX_VERTICES, 3))
        for row, (corners, *_) in zip(vertices, self._faces, strict=True):
            row[: len(corners)] = corners
            row[len(corners) :] = corners[-1]
        counts = np.array([len(face[0]) for face in self._faces], dtype=np.int32)
        normals = _normals(vertices)
        light = 0.85 + 0.35 * np.clip(normals @ self.sun, -0.4, 1.0)
        gains = np.array([face[3] for face in self._faces]) * light
        return Mesh(
            vertices,
            counts,
            normals,
            np.array([face[1] for face in self._faces]),
            np.array([face[2] for face in self._faces], dtype=np.int32),
            _planes(vertices, normals),
            gains.astype(np.float32),
        )


def rectangle_map(corner: Array, along: Array, down: Array, texels: tuple[float, float, float, float]) -> Array:
    """The texel map (2, 4) that lays the texels (x, y, width, height) over the rectangle at `corner`.

    `along` and `down` (3,) are its perpendicular sides in metres. The rectangle's border is the border of the texels,
    half a texel outside of the first centre.
    """
    x, y, width, height = texels
    rows = []
    for side, first, extent in ((along, x, width), (down, y, height)):
        gradient = side / (side @ side) * extent
        rows.append([*gradient, first - 0.5 - gradient @ corner])
    return np.array(rows)


def _normals(vertices: Array) -> Array:
    """Newell's method: unit normals (F, 3) of polygons (F, n, 3); repeated vertices do no harm."""
    total = np.cross(vertices, np.roll(vertices, -1, axis=1)).sum(axis=1)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def _planes(vertices: Array, normals: Array) -> NDArray[np.int32]:
    """Numbers (F,) of the planes: equal where normal and distance agree to a hundredth of a millimetre."""
    distances = np.einsum("fi,fi->f", normals, vertices[:, 0])
    keys = np.rint(np.column_stack([normals, distances]) * 1e5).astype(np.int64)
    _, numbers = np.unique(keys, axis=0, return_inverse=True)
    return numbers.reshape(-1).astype(np.int32)
