"""A street while it is being built: the ground, houses, and what every kind of road has."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.mesh import MeshBuilder, rectangle_map
from subpx_ros.datasets.street.objects import facade
from subpx_ros.datasets.street.surfaces import TEXELS_PER_M
from subpx_ros.datasets.street.textures import CURB_LENGTH_M, FIELD_SIDE_M, TextureSet
from subpx_ros.datatypes import Array

MAX_FACADES = 56
"""A longer street shows its facades again, the oldest first, which are then several bends away."""
HOUSE_DEPTH_M = 7.0
FIELD_MARGIN_M = 320.0


@dataclass(frozen=True)
class Strip:
    """A band of ground on both sides of the centreline, metres."""

    texture: str
    inner: float
    outer: float
    """Distances from the centreline."""
    height: float
    period: float
    """The texture repeats after this length."""


@dataclass
class Site:
    """A street while it is being built, from arc length `start` to `end`."""

    line: Centreline
    start: float
    end: float
    rng: np.random.Generator
    textures: TextureSet
    builder: MeshBuilder = field(default_factory=MeshBuilder)
    facades: list[int] = field(default_factory=list)
    """Oldest first."""


def lay_ground(site: Site, strips: tuple[Strip, ...], curb: Strip | None) -> None:
    """The strips, and a curb at the inner edge of one of them."""
    for near, far in pairwise(site.line.steps(site.start, site.end, longest=4.5, turn=0.16)):
        for side in (1.0, -1.0):
            for strip in strips:
                lateral = side * np.array([strip.inner, strip.outer, strip.outer, strip.inner])
                corners = site.line.offset([near, near, far, far], lateral, strip.height)[:: -int(side)]
                mapping = _ground_map(corners, strip.period)
                site.builder.polygon(corners, mapping, site.textures.names[strip.texture][0])
            if curb is not None:
                _lay_curb(site, curb, side, near, far)


def _ground_map(corners: Array, period_m: float) -> Array:
    """Texel map of a tileable texture that is fixed to the world, moved so that the face shows one piece of it."""
    x, y = np.floor(corners[:, :2].min(axis=0) / period_m) * period_m
    density = float(TEXELS_PER_M)
    return np.array([[density, 0.0, 0.0, -density * x - 0.5], [0.0, density, 0.0, -density * y - 0.5]])


def _lay_curb(site: Site, curb: Strip, side: float, near: float, far: float) -> None:
    # Seen from the road, the left end of a curb is the nearer one on the left side and the farther one on the right.
    left, right = site.line.offset([near, far] if side > 0 else [far, near], side * curb.inner, curb.height)
    down = np.array([0.0, 0.0, -curb.height])
    texture = site.textures.names["curb"][0]
    height, width = site.textures.size(texture)
    span = width * float(np.linalg.norm(right - left)) / CURB_LENGTH_M
    texels = (site.rng.uniform(0.0, width - span), 0.0, span, float(height))
    mapping = rectangle_map(left, right - left, down, texels)
    site.builder.polygon(np.array([left, left + down, right + down, right]), mapping, texture)


def lay_fields(site: Site) -> None:
    """Open ground to the horizon, a little below the street."""
    texture = site.textures.names["field"][0]
    route = site.line.offset(np.arange(site.start, site.end, 5.0), 0.0)
    low, high = route.min(axis=0) - FIELD_MARGIN_M, route.max(axis=0) + FIELD_MARGIN_M
    along, across = np.array([FIELD_SIDE_M, 0.0, 0.0]), np.array([0.0, -FIELD_SIDE_M, 0.0])
    for x in np.arange(low[0], high[0], FIELD_SIDE_M):
        for y in np.arange(low[1], high[1], FIELD_SIDE_M):
            corner = np.array([x, y + FIELD_SIDE_M, -0.03])
            site.builder.panel(corner, corner + along, corner + across, texture, site.textures.size(texture))


def paint_line(site: Site, left: float, length: float, period: float) -> None:
    """Stripes of road paint, `left` metres to the left of the centreline, one every `period` metres."""
    for s in np.arange(site.start, site.end - length, period):
        start, end = site.line.offset([s, s + length], left, 0.003)
        along = end - start
        across = 0.08 * np.array([-along[1], along[0], 0.0]) / np.linalg.norm(along)
        texture = site.textures.pick("paint", site.rng)
        size, gain = site.textures.size(texture), site.rng.uniform(0.75, 1.05)
        site.builder.panel(start + across, end + across, start - across, texture, size, gain)


def house(site: Site, left: Array, right: Array, height: float) -> None:
    """A block whose facade runs from `left` to `right`, as seen from the road, at its foot."""
    along = right - left
    width = float(np.linalg.norm(along))
    up = np.array([0.0, 0.0, height])
    behind = HOUSE_DEPTH_M * np.array([-along[1], along[0], 0.0]) / width
    if len(site.facades) < MAX_FACADES:
        texture = site.textures.add("facade", facade(width, height, site.rng))
    else:
        texture = site.facades.pop(0)
    site.facades.append(texture)
    gain = site.rng.uniform(0.85, 1.1)
    site.builder.panel(left + up, right + up, left, texture, site.textures.size(texture), gain)
    walls = ((right, right + behind), (right + behind, left + behind), (left + behind, left))
    sides = [(near + up, far + up, near) for near, far in walls]
    roof = (left + behind + up, right + behind + up, left + up)
    for top_left, top_right, bottom_left in (*sides, roof):
        texture = site.textures.pick("wall", site.rng)
        site.builder.panel(top_left, top_right, bottom_left, texture, site.textures.size(texture), gain)


def close_ends(site: Site) -> None:
    """A row of houses across the road at both ends, so that every view along the road ends at something."""
    for s, turn in ((site.end, 0.0), (site.start, np.pi)):
        x, y, heading, _ = site.line.at(s)
        ahead = np.array([np.cos(heading + turn), np.sin(heading + turn), 0.0])
        rightward = np.array([ahead[1], -ahead[0], 0.0])
        foot = np.array([x, y, 0.0]) + ahead
        for left in (-27.25, -16.35, -5.45, 5.45, 16.35):
            house(site, foot + left * rightward, foot + (left + 10.9) * rightward, site.rng.uniform(7.0, 12.0))
