"""Intensity of fragments: anisotropic, trilinear texture lookup, and the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.atlas import TextureAtlas
from subpx_ros.datasets.street.projection import ScreenFaces
from subpx_ros.datasets.street.visibility import Fragments
from subpx_ros.datatypes import Array

Floats = NDArray[np.float32]

TAPS = np.array([1, 2, 3, 4, 6, 8, 12])
"""Lookups along the longer axis of a pixel's footprint; a footprint that needs more is blurred instead."""
FOOTPRINT_PX = 1.3
"""Width of the area that a pixel averages over: a little more than a pixel, as a lens blurs, against aliasing."""
CHUNK = 32768
"""Fragments handled at once, so that the intermediate arrays stay in the cache."""


def shade(faces: ScreenFaces, atlas: TextureAtlas, fragments: Fragments, chosen: NDArray[np.intp]) -> Floats:
    """Intensity (n,) of the chosen fragments, none of them sky."""
    shaded = np.empty(len(chosen), dtype=np.float32)
    for start in range(0, len(chosen), CHUNK):
        part = chosen[start : start + CHUNK]
        shaded[start : start + CHUNK] = _shade_chunk(faces, atlas, fragments, part)
    return shaded


def _shade_chunk(faces: ScreenFaces, atlas: TextureAtlas, fragments: Fragments, part: NDArray[np.intp]) -> Floats:
    face, x, y = fragments.faces[part], fragments.x[part], fragments.y[part]
    position, along_x, along_y = _footprint(faces, face, x, y)
    longer, shorter, stride = _axes(along_x, along_y)
    taps = TAPS[np.searchsorted(TAPS[:-1], longer / np.maximum(shorter, 1.0) - 0.25)]
    blur = np.maximum(shorter, longer / taps.astype(np.float32))
    texture = faces.textures[face]
    level = np.clip(np.log2(np.maximum(blur, 1.0)), 0.0, atlas.levels[texture] - np.float32(1.0))

    result = np.empty(len(part), dtype=np.float32)
    for count in TAPS:
        rows = np.flatnonzero(taps == count)
        if not len(rows):
            continue
        exact = np.take(level, rows)
        fine = exact.astype(np.int32)
        places = [np.take(position[axis], rows) for axis in range(2)]
        strides = [np.take(stride[axis], rows) for axis in range(2)]
        shown = np.take(texture, rows)
        finer = _lookup(atlas, shown, fine, places, strides, int(count))
        coarser = _lookup(atlas, shown, np.minimum(fine + 1, atlas.origins.shape[2] - 1), places, strides, int(count))
        result[rows] = finer + (exact - fine) * (coarser - finer)
    return result * faces.gains[face]


def _footprint(faces: ScreenFaces, face: NDArray[np.int32], x: Array, y: Array) -> tuple[Array, Floats, Floats]:
    """Texel positions (2, n) and how far (2, n) a pixel's footprint reaches along the image's x and y."""
    a, b, c = (np.take(column, face) for column in np.ascontiguousarray(faces.inverse_depths.T))
    depth = 1.0 / (a * x + b * y + c)
    position = np.empty((2, len(face)))
    along_x, along_y = np.empty_like(position, dtype=np.float32), np.empty_like(position, dtype=np.float32)
    for axis in range(2):
        columns = np.ascontiguousarray(faces.texels[:, axis].T)
        gradient_x, gradient_y, constant = (np.take(column, face) for column in columns)
        position[axis] = (gradient_x * x + gradient_y * y + constant) * depth
        along_x[axis] = (gradient_x - position[axis] * a) * (FOOTPRINT_PX * depth)
        along_y[axis] = (gradient_y - position[axis] * b) * (FOOTPRINT_PX * depth)
    return position, along_x, along_y


def _axes(along_x: Floats, along_y: Floats) -> tuple[Floats, Floats, Floats]:
    """Longer and shorter axis of the ellipse that a pixel covers, and the longer one as vectors (2, n); texels."""
    uu, vv = along_x**2 + along_y**2
    uv = along_x[0] * along_x[1] + along_y[0] * along_y[1]
    half_difference, middle = 0.5 * (uu - vv), 0.5 * (uu + vv)
    radius = np.sqrt(half_difference**2 + uv**2)
    longer = np.sqrt(middle + radius)
    shorter = np.sqrt(np.maximum(middle - radius, 0.0))
    angle = 0.5 * np.arctan2(uv, half_difference)
    return longer, shorter, np.stack([longer * np.cos(angle), longer * np.sin(angle)])


def _lookup(
    atlas: TextureAtlas,
    texture: NDArray[np.int32],
    level: NDArray[np.int32],
    position: list[Array],
    stride: list[Floats],
    taps: int,
) -> Floats:
    """Mean (n,) of `taps` bilinear lookups along `stride` about `position`; level-0 texels, (n,) per axis."""
    import torch

    scale = np.take(np.exp2(-np.arange(atlas.origins.shape[2], dtype=np.float32)), level)
    entry = texture * atlas.origins.shape[2] + level
    offsets = ((np.arange(taps) + 0.5) / taps - 0.5).astype(np.float32)
    grid = np.empty((taps, len(level), 2), dtype=np.float32)
    for axis, size in enumerate(atlas.pixels.shape[::-1]):
        # grid_sample counts from -1 to 1 over the borders of the atlas, and texel centres are half a texel inside.
        unit = 2.0 / size
        first = (atlas.origins[axis].ravel() + 0.5) * unit - 1.0
        last = first + atlas.limits[axis].ravel() * unit
        low, high = np.take(first.astype(np.float32), entry), np.take(last.astype(np.float32), entry)
        centre = np.take(first - 0.5 * unit, entry)
        centre += (position[axis] + 0.5) * (unit * scale)
        centre = centre.astype(np.float32)
        step = stride[axis] * scale * np.float32(unit)
        for tap, offset in zip(grid, offsets, strict=True):
            place = step * offset
            place += centre
            np.maximum(place, low, out=place)
            np.minimum(place, high, out=tap[:, axis])
    values = torch.nn.functional.grid_sample(
        torch.from_numpy(atlas.pixels)[None, None], torch.from_numpy(grid)[None], mode="bilinear", align_corners=False
    )
    mean: Floats = values[0, 0].mean(dim=0).numpy()
    return mean


def sky(directions: Array) -> Floats:
    """Intensity (n,) of the sky in world directions (n, 3): brighter towards the horizon, with faint broad clouds."""
    x, y, z = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    clouds = np.sin(9.0 * x + 4.0 * z + 1.0) * np.sin(7.0 * y - 11.0 * z) + np.sin(17.0 * x - 13.0 * y + 21.0 * z)
    return (0.86 - 0.30 * np.clip(z, 0.0, 1.0) + 0.012 * clouds).astype(np.float32)
