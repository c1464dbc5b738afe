"""A road on which almost everything to hold on to is far away.

Across it, from the centreline outwards: lanes to 11 m, verge to 33 m, then trees and houses. With KITTI's camera what
stands more than 27 m beside the lane comes into view 30 m ahead or farther; nearer there are smooth ground and paint.
"""

from __future__ import annotations

import numpy as np

from subpx_ros.datasets.street.centreline import Bends, Centreline
from subpx_ros.datasets.street.furniture import place_tree
from subpx_ros.datasets.street.site import Site, Strip, close_ends, house, lay_fields, lay_ground, paint_line
from subpx_ros.datasets.street.textures import GROUND_PERIOD_M, Image, ground_and_furniture
from subpx_ros.datatypes import Array

BENDS = Bends(
    first_straight_m=(30.0, 60.0), straight_m=(60.0, 120.0), radius_m=(350.0, 600.0), heading=(0.08, 0.25), ramp_m=40.0
)
LANE_M = 5.4
ROAD_M = 11.0
VERGE_M = 33.0
GROUND_CONTRAST = 0.08
"""Of the textures near the camera, relative to those of a street: what moves 3 m a frame is smooth in an image."""
STRIP_M = 5.5
"""Width of a band of ground, so that a face of it finds its texture in one piece."""


def build_highway(line: Centreline, start: float, end: float, rng: np.random.Generator) -> Site:
    """A highway with all that stands along it, from arc length `start` to `end`."""
    textures = ground_and_furniture(rng)
    textures.add("road", _smooth(textures.images[textures.names["asphalt"][0]], GROUND_CONTRAST))
    textures.add("verge", _smooth(textures.images[textures.names["lawn"][0]], GROUND_CONTRAST))
    site = Site(line, start, end, rng, textures)
    road = [Strip("road", inner, inner + STRIP_M, 0.0, GROUND_PERIOD_M) for inner in _steps(0.0, ROAD_M)]
    verge = [Strip("verge", inner, inner + STRIP_M, 0.0, GROUND_PERIOD_M / 2) for inner in _steps(ROAD_M, VERGE_M)]
    lay_ground(site, (*road, *verge), curb=None)
    lay_fields(site)
    for side in (1.0, -1.0):
        paint_line(site, 0.1 * side, length=3.0, period=3.02)
        paint_line(site, 10.6 * side, length=3.0, period=3.02)
        paint_line(site, 3.6 * side, length=3.0, period=18.0)
        paint_line(site, 7.2 * side, length=3.0, period=18.0)
        _plant(site, side)
        _build(site, side)
    close_ends(site)
    return site


def _steps(inner: float, outer: float) -> Array:
    return np.arange(inner, outer - 0.5 * STRIP_M, STRIP_M)


def _smooth(image: Image, contrast: float) -> Image:
    return np.asarray(image.mean() + contrast * (image - image.mean()), dtype=np.float32)


def _plant(site: Site, side: float) -> None:
    """Rows of trees, more of them farther away."""
    for s in np.arange(site.start, site.end, 7.0):
        place = site.line.offset(s + site.rng.uniform(-3.0, 3.0), side * site.rng.uniform(34.0, 60.0), -0.03)
        place_tree(site.builder, site.textures, place, site.rng)


def _build(site: Site, side: float) -> None:
    """Houses with their fronts towards the road, between gaps that are wider than they are."""
    s = site.start + site.rng.uniform(0.0, 30.0)
    while s < site.end - 15.0:
        width, height = site.rng.uniform(9.0, 15.0), site.rng.uniform(5.0, 9.0)
        setback = side * site.rng.uniform(35.0, 65.0)
        ends = [s, s + width] if side > 0 else [s + width, s]
        left, right = site.line.offset(ends, setback, -0.03)
        house(site, left, right, height)
        s += width + site.rng.uniform(8.0, 35.0)
