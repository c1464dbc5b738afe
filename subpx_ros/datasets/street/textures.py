"""The set of textures of one street, by kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street import objects, surfaces

Image = NDArray[np.float32]

GROUND_PERIOD_M = 32
"""Ground textures repeat after this length; a face shorter than the margin finds its part in one piece."""
GROUND_MARGIN_M = 8
FIELD_SIDE_M = 64
CURB_LENGTH_M = 8
VEHICLES = 10


@dataclass
class TextureSet:
    """Textures in the order of their indices; names of one texture or of several."""

    images: list[Image] = field(default_factory=list)
    names: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, image: Image) -> int:
        """Appends a texture under `name` and returns its index."""
        self.images.append(np.ascontiguousarray(image, dtype=np.float32))
        self.names.setdefault(name, []).append(len(self.images) - 1)
        return len(self.images) - 1

    def size(self, texture: int) -> tuple[int, int]:
        """Height and width in texels."""
        height, width = self.images[texture].shape
        return height, width

    def pick(self, name: str, rng: np.random.Generator) -> int:
        """One of the textures of that name."""
        choices = self.names[name]
        return choices[rng.integers(len(choices))]


def ground_and_furniture(rng: np.random.Generator) -> TextureSet:
    """Everything but the facades, which are made as the houses need them."""
    density = surfaces.TEXELS_PER_M
    textures = TextureSet()
    margin = GROUND_MARGIN_M * density
    for name, image in (
        ("asphalt", surfaces.asphalt(GROUND_PERIOD_M * density, rng)),
        ("pavement", surfaces.pavement(GROUND_PERIOD_M * density // 2, density // 2, rng)),
        ("lawn", surfaces.lawn(GROUND_PERIOD_M * density // 2, 0.8, rng)),
    ):
        textures.add(name, np.pad(image, ((0, margin), (0, margin)), mode="wrap"))
    textures.add("field", surfaces.lawn(768, 0.3, rng))
    textures.add("curb", 1.15 * surfaces.pavement(CURB_LENGTH_M * density, density, rng)[:10])
    for _ in range(6):
        textures.add("wall", surfaces.wall((12 * density, 7 * density), rng))
        textures.add("foliage", surfaces.foliage((160, 192), rng))
        textures.add("paint", objects.road_paint(rng))
    for car in range(VEHICLES):
        paint = rng.uniform(0.15, 0.9)
        textures.add(f"car {car} side", objects.vehicle_side(4.3, 0.75, paint, False, rng))
        textures.add(f"car {car} end", objects.vehicle_end(1.75, 0.75, paint, False, rng))
        textures.add(f"car {car} top", objects.vehicle_top(paint, rng))
        textures.add(f"glass {car} side", objects.vehicle_glass((40, 170), 3, rng))
        textures.add(f"glass {car} end", objects.vehicle_glass((40, 96), 2, rng))
    for van in range(VEHICLES // 2):
        paint = rng.uniform(0.15, 0.9)
        textures.add(f"van {van} side", objects.vehicle_side(5.2, 2.1, paint, True, rng))
        textures.add(f"van {van} end", objects.vehicle_end(1.9, 2.1, paint, True, rng))
        textures.add(f"van {van} top", objects.vehicle_top(paint, rng))
    for _ in range(16):
        textures.add("board", objects.board(rng))
    textures.add("metal", 0.16 + 0.5 * surfaces.foliage((128, 32), rng))
    textures.add("shadow", 0.13 * surfaces.asphalt(128, rng) / 0.34)
    return textures
