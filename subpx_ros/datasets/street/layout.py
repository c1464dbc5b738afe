"""Where things stand along a street: from a centreline to a mesh.

Across the road, from the centreline outwards: lanes to 2.9 m, parked vehicles to 4.9 m, curb, sidewalk to 7.4 m,
lawn, houses at 8 to 10 m.
"""

from __future__ import annotations

import numpy as np

from subpx_ros.datasets.street.centreline import Centreline
from subpx_ros.datasets.street.furniture import place_board, place_car, place_lamp, place_tree, place_van
from subpx_ros.datasets.street.site import Site, Strip, close_ends, house, lay_fields, lay_ground, paint_line
from subpx_ros.datasets.street.textures import GROUND_PERIOD_M, ground_and_furniture

LANE_M = 1.45
"""The middle of a lane is so far from the centreline."""
LANES_M = 2.9
ROAD_M = 4.9
SIDEWALK_M = 7.4
CURB_M = 0.12
STRIPS = (
    Strip("asphalt", 0.0, ROAD_M, 0.0, GROUND_PERIOD_M),
    Strip("pavement", ROAD_M, SIDEWALK_M, CURB_M, GROUND_PERIOD_M / 2),
    Strip("lawn", SIDEWALK_M, 13.0, CURB_M, GROUND_PERIOD_M / 2),
)


def build_street(line: Centreline, start: float, end: float, rng: np.random.Generator) -> Site:
    """A street with all that stands there, from arc length `start` to `end`."""
    site = Site(line, start, end, rng, ground_and_furniture(rng))
    lay_ground(site, STRIPS, curb=STRIPS[1])
    lay_fields(site)
    paint_line(site, 0.0, length=2.6, period=6.0)
    for left in (LANES_M, -LANES_M):
        paint_line(site, left, length=1.5, period=1.53)
    for side in (1.0, -1.0):
        _build_houses(site, side)
        _park_vehicles(site, side)
        _furnish_sidewalk(site, side)
    close_ends(site)
    return site


def _build_houses(site: Site, side: float) -> None:
    """Houses side by side with occasional gaps."""
    s = site.start
    while s < site.end - 6.0:
        width, height = site.rng.uniform(7.5, 12.5), site.rng.uniform(6.2, 11.5)
        setback = side * site.rng.uniform(8.2, 9.8)
        curvature = float(site.line.at(s + 0.5 * width)[3])
        reach = width / max(1.0 - setback * curvature, 0.3)
        left, right = site.line.offset([s, s + reach] if side > 0 else [s + reach, s], setback, CURB_M)
        house(site, left, right, height)
        s += reach + (site.rng.uniform(1.5, 5.0) if site.rng.random() < 0.3 else 0.05)


def _park_vehicles(site: Site, side: float) -> None:
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


def _furnish_sidewalk(site: Site, side: float) -> None:
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
