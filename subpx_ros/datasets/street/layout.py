"""Where things stand along the road: from a centreline to a mesh.

Across the road, from the centreline outwards: lanes to 2.9 m, parked vehicles to 4.9 m, curb, sidewalk to 7.4 m,
lawn, houses at 8 to 10 m.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.furniture import place_board, place_car, place_lamp, place_tree, place_van
from subpx_ros.datasets.street.mesh import Mesh, MeshBuilder, rectangle_map
from subpx_ros.datasets.street.objects import facade
from subpx_ros.datasets.street.surfaces import TEXELS_PER_M
from subpx_ros.datasets.street.textures import (
    CURB_LENGTH_M,
    FIELD_SIDE_M,
    GROUND_PERIOD_M,
    TextureSet,
    ground_and_furniture,
)
from subpx_ros.datatypes import Array

LANES_M = 2.9
ROAD_M = 4.9
SIDEWALK_M = 7.4
LAWN_M = 13.0
CURB_M = 0.12
STRIPS = (
    ("asphalt", 0.0, ROAD_M, 0.0, GROUND_PERIOD_M),
    ("pavement", ROAD_M, SIDEWALK_M, CURB_M, GROUND_PERIOD_M / 2),
    ("lawn", SIDEWALK_M, LAWN_M, CURB_M, GROUND_PERIOD_M / 2),
)
"""Texture, inner and outer distance from the centreline, height, period of the texture; metres."""
MAX_FACADES = 56
"""A longer street shows its facades again, the oldest first, which are then several bends away."""
HOUSE_DEPTH_M = 7.0
FIELD_MARGIN_M = 320.0


@dataclass
class _Site:
    """A street while it is being built, from arc length `start` to `end`."""

    line: Centreline
    start: float
    end: float
    rng: np.random.Generator
    textures: TextureSet
    builder: MeshBuilder = field(default_factory=MeshBuilder)
    facades: list[int] = field(default_factory=list)
    """Oldest first."""


def build_street(
    line: Centreline, start: float, end: float, rng: np.random.Generator
) -> tuple[Mesh, list[NDArray[np.float32]]]:
    """The faces of a street from arc length `start` to `end`, and the textures that they show."""
    site = _Site(line, start, end, rng, ground_and_furniture(rng))
    _lay_ground(site)
    _lay_fields(site)
    _paint_road(site)
    for side in (1.0, -1.0):
        _build_houses(site, side)
        _park_vehicles(site, side)
        _furnish_sidewalk(site, side)
    _close_ends(site)
    return site.builder.build(), site.textures.images


def _lay_ground(site: _Site) -> None:
    for near, far in pairwise(site.line.steps(site.start, site.end, longest=4.5, turn=0.16)):
        for side in (1.0, -1.0):
            for name, inner, outer, height, period in STRIPS:
                lateral = side * np.array([inner, outer, outer, inner])
                corners = site.line.offset([near, near, far, far], lateral, height)[:: -int(side)]
                mapping = _ground_map(corners, period)
                site.builder.polygon(corners, mapping, site.textures.names[name][0])
            _lay_curb(site, side, near, far)


def _ground_map(corners: Array, period_m: float) -> Array:
    """Texel map of a tileable texture that is fixed to the world, moved so that the face shows one piece of it."""
    x, y = np.floor(corners[:, :2].min(axis=0) / period_m) * period_m
    density = float(TEXELS_PER_M)
    return np.array([[density, 0.0, 0.0, -density * x - 0.5], [0.0, density, 0.0, -density * y - 0.5]])


def _lay_curb(site: _Site, side: float, near: float, far: float) -> None:
    # Seen from the road, the left end of a curb is the nearer one on the left side and the farther one on the right.
    left, right = site.line.offset([near, far] if side > 0 else [far, near], side * ROAD_M, CURB_M)
    down = np.array([0.0, 0.0, -CURB_M])
    texture = site.textures.names["curb"][0]
    height, width = site.textures.size(texture)
    span = width * float(np.linalg.norm(right - left)) / CURB_LENGTH_M
    texels = (site.rng.uniform(0.0, width - span), 0.0, span, float(height))
    mapping = rectangle_map(left, right - left, down, texels)
    site.builder.polygon(np.array([left, left + down, right + down, right]), mapping, texture)


def _lay_fields(site: _Site) -> None:
    """Open ground to the horizon, a little below the street."""
    texture = site.textures.names["field"][0]
    route = site.line.offset(np.arange(site.start, site.end, 5.0), 0.0)
    low, high = route.min(axis=0) - FIELD_MARGIN_M, route.max(axis=0) + FIELD_MARGIN_M
    along, across = np.array([FIELD_SIDE_M, 0.0, 0.0]), np.array([0.0, -FIELD_SIDE_M, 0.0])
    for x in np.arange(low[0], high[0], FIELD_SIDE_M):
        for y in np.arange(low[1], high[1], FIELD_SIDE_M):
            corner = np.array([x, y + FIELD_SIDE_M, -0.03])
            site.builder.panel(corner, corner + along, corner + across, texture, site.textures.size(texture))


def _paint_road(site: _Site) -> None:
    """A dashed line between the lanes and lines along the parking places."""
    for left, length, period in ((0.0, 2.6, 6.0), (LANES_M, 1.5, 1.53), (-LANES_M, 1.5, 1.53)):
        for s in np.arange(site.start, site.end - length, period):
            start, end = site.line.offset([s, s + length], left, 0.003)
            along = end - start
            across = 0.08 * np.array([-along[1], along[0], 0.0]) / np.linalg.norm(along)
            texture = site.textures.pick("paint", site.rng)
            size, gain = site.textures.size(texture), site.rng.uniform(0.75, 1.05)
            site.builder.panel(start + across, end + across, start - across, texture, size, gain)


def _build_houses(site: _Site, side: float) -> None:
    """Houses side by side with occasional gaps."""
    s = site.start
    while s < site.end - 6.0:
        width, height = site.rng.uniform(7.5, 12.5), site.rng.uniform(6.2, 11.5)
        setback = side * site.rng.uniform(8.2, 9.8)
        curvature = float(site.line.at(s + 0.5 * width)[3])
        reach = width / max(1.0 - setback * curvature, 0.3)
        left, right = site.line.offset([s, s + reach] if side > 0 else [s + reach, s], setback, CURB_M)
        _house(site, left, right, height)
        s += reach + (site.rng.uniform(1.5, 5.0) if site.rng.random() < 0.3 else 0.05)


def _house(site: _Site, left: Array, right: Array, height: float) -> None:
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


def _park_vehicles(site: _Site, side: float) -> None:
    s = site.start + site.rng.uniform(1.0, 6.0)
    while s < site.end - 8.0:
        place = site.line.offset(s, side * (3.95 + site.rng.uniform(-0.08, 0.08)))
        heading = float(site.line.at(s)[2]) + (0.0 if side < 0 else np.pi) + site.rng.normal(0.0, 0.015)
        if site.rng.random() < 0.9:
            place_car(site.builder, site.textures, place, heading, site.rng)
            s += site.rng.uniform(5.2, 7.0)
        else:
            place_van(site.builder, site.textures, place, heading, site.rng)
            s += site.rng.uniform(6.2, 9.0)
        s += site.rng.uniform(4.0, 16.0) if site.rng.random() < 0.45 else 0.0


def _furnish_sidewalk(site: _Site, side: float) -> None:
    """Trees, lamps and posters."""
    rng, line = site.rng, site.line
    for s in np.arange(site.start + rng.uniform(0.0, 8.0), site.end, 11.0):
        place_tree(site.builder, site.textures, line.offset(s + rng.uniform(-2.0, 2.0), side * 6.4, CURB_M), rng)
    for s in np.arange(site.start + rng.uniform(0.0, 20.0), site.end, 24.0):
        place_lamp(site.builder, site.textures, line.offset(s, side * 5.25, CURB_M), float(line.at(s)[2]))
    for s in np.arange(site.start + rng.uniform(2.0, 12.0), site.end, 13.0):
        heading = float(line.at(s)[2]) + rng.uniform(-0.5, 0.5)
        foot = line.offset(s, side * rng.uniform(5.7, 7.2), CURB_M)
        place_board(site.builder, site.textures, foot, heading, rng)


def _close_ends(site: _Site) -> None:
    """A row of houses across the road at both ends, so that every view along the road ends at something."""
    for s, turn in ((site.end, 0.0), (site.start, np.pi)):
        x, y, heading, _ = site.line.at(s)
        ahead = np.array([np.cos(heading + turn), np.sin(heading + turn), 0.0])
        rightward = np.array([ahead[1], -ahead[0], 0.0])
        foot = np.array([x, y, 0.0]) + ahead
        for left in (-27.25, -16.35, -5.45, 5.45, 16.35):
            _house(site, foot + left * rightward, foot + (left + 10.9) * rightward, site.rng.uniform(7.0, 12.0))
