"""Vehicles, trees, lamps and posters as convex faces."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from subpx_ros.datasets.street.mesh import MeshBuilder, rectangle_map
from subpx_ros.datasets.street.surfaces import TEXELS_PER_M
from subpx_ros.datasets.street.textures import VEHICLES, TextureSet
from subpx_ros.datatypes import Array


def _frame(heading: float) -> tuple[Array, Array, Array]:
    """Unit vectors ahead, to the left and up."""
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.array([cosine, sine, 0.0]), np.array([-sine, cosine, 0.0]), np.array([0.0, 0.0, 1.0])


def _extrude(
    builder: MeshBuilder,
    textures: TextureSet,
    axes: tuple[Array, Array, Array],
    origin: Array,
    profile: Array,
    width: float,
    names: tuple[str, str, str, str],
    rng: np.random.Generator,
    gain: float = 1.0,
) -> None:
    """A body with a convex side view `profile` (n, 2): ahead, up in metres, counter-clockwise seen from the right.

    `names` are the textures of its sides, of upright and of slanted faces towards front and back, and of its top.
    Its underside is open.
    """
    ahead, leftward, up = axes
    low, high = profile.min(axis=0), profile.max(axis=0)
    outline = origin + profile[:, :1] * ahead + profile[:, 1:] * up
    half = 0.5 * width * leftward
    texture = textures.pick(names[0], rng)
    height, length = textures.size(texture)
    for outer, turn in ((-half, 1.0), (half, -1.0)):
        corner = origin + (low[0] if turn > 0 else high[0]) * ahead + high[1] * up
        sides = turn * (high[0] - low[0]) * ahead, (low[1] - high[1]) * up
        mapping = rectangle_map(corner, *sides, (0.0, 0.0, float(length), float(height)))
        builder.polygon((outline if turn > 0 else outline[::-1]) + outer, mapping, texture, gain)
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        rise = (end - start) @ up
        if rise == 0.0 and (end - start) @ ahead > 0.0:
            continue
        slope = abs(rise) / np.linalg.norm(end - start)
        texture = textures.pick(names[1] if slope > 0.95 else names[2] if slope > 0.25 else names[3], rng)
        # With the edge running up or backwards, outside lies on the right of its direction seen from the right side.
        if rise >= 0.0:
            corners = end - half, end + half, start - half
        else:
            corners = start + half, start - half, end + half
        builder.panel(*corners, texture, textures.size(texture), gain)


def _shadow(
    builder: MeshBuilder, textures: TextureSet, axes: tuple[Array, Array, Array], place: Array, size: Array
) -> None:
    ahead, leftward, up = axes
    corner = place - 0.5 * size[0] * ahead + 0.5 * size[1] * leftward + 0.002 * up
    texture = textures.names["shadow"][0]
    builder.panel(corner, corner + size[0] * ahead, corner - size[1] * leftward, texture, textures.size(texture))


def place_car(
    builder: MeshBuilder, textures: TextureSet, place: Array, heading: float, rng: np.random.Generator
) -> None:
    """A car, its middle above `place`."""
    axes = _frame(heading)
    stretch = rng.uniform(0.92, 1.08)
    car = rng.integers(VEHICLES)
    gain = rng.uniform(0.8, 1.15)
    body = np.array([[-2.1, 0.18], [2.15, 0.18], [2.05, 0.84], [-2.05, 0.92]]) * [stretch, 1.0]
    cabin = np.array([[-1.9, 0.88], [1.1, 0.88], [0.35, 1.42], [-1.35, 1.46]]) * [stretch, rng.uniform(0.98, 1.05)]
    metal = (f"car {car} side", f"car {car} end", f"car {car} top", f"car {car} top")
    glass = (f"glass {car} side", f"glass {car} end", f"glass {car} end", f"car {car} top")
    _extrude(builder, textures, axes, place, body, 1.75, metal, rng, gain)
    _extrude(builder, textures, axes, place, cabin, 1.5, glass, rng)
    _shadow(builder, textures, axes, place, np.array([4.2 * stretch, 1.8]))


def place_van(
    builder: MeshBuilder,
    textures: TextureSet,
    place: Array,
    heading: float,
    rng: np.random.Generator,
    livery: bool = False,
) -> None:
    """A van, its middle above `place`; one with a livery has pictures on its front and back."""
    axes = _frame(heading)
    height = rng.uniform(2.0, 2.5)
    box = np.array([[-2.6, 0.2], [2.6, 0.2], [2.6, 1.1], [2.1, height], [-2.6, height]])
    van = rng.integers(VEHICLES // 2)
    names = (f"van {van} side", "board" if livery else f"van {van} end", f"glass {van} end", f"van {van} top")
    _extrude(builder, textures, axes, place, box, 1.9, names, rng, rng.uniform(0.85, 1.15))
    _shadow(builder, textures, axes, place, np.array([5.2, 1.95]))


def place_tree(builder: MeshBuilder, textures: TextureSet, foot: Array, rng: np.random.Generator) -> None:
    """A tree: a square trunk and a crown of two bands of five faces, closed below and above."""
    height, radius = rng.uniform(1.9, 2.6), rng.uniform(1.0, 1.4)
    _pillar(builder, textures, foot, 0.2, height + 0.3, rng.uniform(0, 1))
    angles = rng.uniform(0.0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(5)], axis=1)
    levels = [(0.55, 0.0), (1.0, rng.uniform(0.6, 1.0)), (0.45, rng.uniform(1.8, 2.4))]
    rings = [foot + radius * width * ring + [0.0, 0.0, height + rise] for width, rise in levels]
    gain = rng.uniform(0.7, 1.15)
    for lower, upper in pairwise(rings):
        for face in range(5):
            other = (face + 1) % 5
            corners = np.array([upper[face], lower[face], lower[other], upper[other]])
            _leaves(builder, textures, corners, rng, gain)
    _leaves(builder, textures, rings[0][::-1], rng, 0.7 * gain)
    _leaves(builder, textures, rings[-1], rng, gain)


def _leaves(builder: MeshBuilder, textures: TextureSet, corners: Array, rng: np.random.Generator, gain: float) -> None:
    """A planar piece of a crown, its texture laid along its first edge."""
    texture = textures.pick("foliage", rng)
    height, width = textures.size(texture)
    down = (corners[1] - corners[0]) / np.linalg.norm(corners[1] - corners[0])
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    along = np.cross(down, normal)
    along *= -1.0 / np.linalg.norm(along)
    u, v = (corners - corners[0]) @ along, (corners - corners[0]) @ down
    scale = min(TEXELS_PER_M, (width - 1) / np.ptp(u), (height - 1) / np.ptp(v))
    origin = corners[0] + u.min() * along + v.min() * down
    texels = (rng.uniform(0, width - scale * np.ptp(u)), rng.uniform(0, height - scale * np.ptp(v)), scale, scale)
    builder.polygon(corners, rectangle_map(origin, along, down, texels), texture, gain)


def _pillar(
    builder: MeshBuilder, textures: TextureSet, foot: Array, side: float, height: float, heading: float
) -> None:
    ahead, leftward, up = _frame(heading)
    texture = textures.names["metal"][0]
    corners = [foot + 0.5 * side * (a * ahead + b * leftward) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    for left, right in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        builder.panel(left + height * up, right + height * up, left, texture, textures.size(texture))


def place_lamp(builder: MeshBuilder, textures: TextureSet, foot: Array, heading: float) -> None:
    """A street lamp's post."""
    _pillar(builder, textures, foot, 0.15, 6.0, heading)


def place_board(
    builder: MeshBuilder, textures: TextureSet, foot: Array, heading: float, rng: np.random.Generator
) -> None:
    """A poster stand, 1.2 m wide, with a picture on its front and back."""
    ahead, leftward, up = _frame(heading)
    for face, thickness in ((-1.0, -0.06), (1.0, 0.06)):
        texture = textures.pick("board", rng)
        left = foot + 0.3 * up - 0.6 * face * leftward + thickness * ahead
        across = 1.2 * face * leftward
        builder.panel(left + 1.8 * up, left + across + 1.8 * up, left, texture, textures.size(texture))
    metal = textures.names["metal"][0]
    for side in (-1.0, 1.0):
        left = foot + 0.3 * up + side * (0.6 * leftward - 0.06 * ahead)
        across = side * 0.12 * ahead
        builder.panel(left + 1.8 * up, left + across + 1.8 * up, left, metal, textures.size(metal))
    _pillar(builder, textures, foot, 0.1, 0.4, heading)
