"""All textures with their mip levels in one image, so that a whole view is sampled in a few calls.

Texel coordinates: integers are texel centres, as with pixels. Level l halves the size l times by averaging 2x2
texels, so the level-0 position u lies at (u + 0.5) / 2^l - 0.5 in it: no level is shifted against another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

ATLAS_WIDTH = 4096


@dataclass(frozen=True)
class TextureAtlas:
    """Textures packed with their mip levels."""

    pixels: Image
    """(H, W) float32, intensities in [0, 1]."""
    origins: NDArray[np.float32]
    """(2, textures, levels): x, y of the first texel of a level in `pixels`."""
    limits: NDArray[np.float32]
    """(2, textures, levels): largest x, y texel coordinate inside a level."""
    levels: NDArray[np.int32]
    """(textures,) how many levels a texture has."""


def build_atlas(textures: list[Image]) -> TextureAtlas:
    """Pack textures (h, w), each no wider than the atlas, with all their levels."""
    sizes = [_level_sizes(texture) for texture in textures]
    depth = max(len(levels) for levels in sizes)
    origins = np.zeros((2, len(textures), depth), dtype=np.float32)
    limits = np.zeros((2, len(textures), depth), dtype=np.float32)
    entries = [(size, texture, level) for texture, levels in enumerate(sizes) for level, size in enumerate(levels)]
    x = y = shelf = 0
    for (height, width), texture, level in sorted(entries, reverse=True):
        if x + width > ATLAS_WIDTH:
            x, y, shelf = 0, y + shelf, 0
        origins[:, texture, level] = x, y
        limits[:, texture, level] = width - 1, height - 1
        x, shelf = x + width, max(shelf, height)
    pixels = np.zeros((y + shelf, ATLAS_WIDTH), dtype=np.float32)
    for texture, image in enumerate(textures):
        for level, pixels_of_level in enumerate(_pyramid(image)):
            left, top = origins[:, texture, level].astype(int)
            height, width = pixels_of_level.shape
            pixels[top : top + height, left : left + width] = pixels_of_level
    return TextureAtlas(pixels, origins, limits, np.array([len(levels) for levels in sizes], dtype=np.int32))


def _level_sizes(texture: Image) -> list[tuple[int, int]]:
    if texture.shape[1] > ATLAS_WIDTH:
        raise ValueError(f"a texture may be {ATLAS_WIDTH} texels wide; got {texture.shape[1]}")
    sizes = [(texture.shape[0], texture.shape[1])]
    while max(sizes[-1]) > 1:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def _pyramid(texture: Image) -> Iterator[Image]:
    """Levels by 2x2 averaging. An odd row or column repeats its last texel, which keeps the positions of the others."""
    level = np.asarray(texture, dtype=np.float32)
    yield level
    while max(level.shape) > 1:
        level = np.pad(level, ((0, level.shape[0] % 2), (0, level.shape[1] % 2)), mode="edge")
        level = 0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2])
        yield level
