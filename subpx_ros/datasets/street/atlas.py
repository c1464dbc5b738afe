"""All textures with their mip levels in one image, so that a whole view is sampled in a few calls.

Texel coordinates: integers are texel centres, as with pixels. Level l halves the size l times by averaging 2x2
texels, so the level-0 position u lies at (u + 0.5) / 2^l - 0.5 in it: no level is shifted against another.
"""

from __future__ import annotations

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
    """Pack textures (h, w), each narrower than the atlas, with all their levels."""
    pyramids = [_pyramid(texture) for texture in textures]
    depth = max(len(pyramid) for pyramid in pyramids)
    origins = np.zeros((2, len(textures), depth), dtype=np.float32)
    limits = np.zeros((2, len(textures), depth), dtype=np.float32)
    entries = [(level.shape, texture, index) for texture, p in enumerate(pyramids) for index, level in enumerate(p)]
    entries.sort(key=lambda entry: entry[0], reverse=True)
    x = y = shelf = 0
    for (height, width), texture, index in entries:
        if x + width > ATLAS_WIDTH:
            x, y, shelf = 0, y + shelf, 0
        origins[:, texture, index] = x, y
        limits[:, texture, index] = width - 1, height - 1
        x, shelf = x + width, max(shelf, height)
    pixels = np.zeros((y + shelf, ATLAS_WIDTH), dtype=np.float32)
    for (height, width), texture, index in entries:
        left, top = origins[:, texture, index].astype(int)
        pixels[top : top + height, left : left + width] = pyramids[texture][index]
    for texture, pyramid in enumerate(pyramids):
        last = len(pyramid) - 1
        for table in (origins, limits):
            table[:, texture, last + 1 :] = table[:, texture, last, None]
    return TextureAtlas(pixels, origins, limits, np.array([len(p) for p in pyramids], dtype=np.int32))


def _pyramid(texture: Image) -> list[Image]:
    """Levels by 2x2 averaging. An odd row or column repeats its last texel, which keeps the positions of the others."""
    if texture.shape[1] > ATLAS_WIDTH:
        raise ValueError(f"a texture may be {ATLAS_WIDTH} texels wide; got {texture.shape[1]}")
    levels = [np.asarray(texture, dtype=np.float32)]
    while max(levels[-1].shape) > 1:
        level = levels[-1]
        level = np.pad(level, ((0, level.shape[0] % 2), (0, level.shape[1] % 2)), mode="edge")
        levels.append(0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2]))
    return levels
