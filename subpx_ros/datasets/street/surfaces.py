"""Textures of the ground and of plain walls, woven from the photographs of gravel, grass and brick."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.photographs import load_photographs

Image = NDArray[np.float32]

TEXELS_PER_M = 64


def crop(photograph: Image, shape: tuple[int, int], zoom: float, rng: np.random.Generator) -> Image:
    """A random, randomly mirrored part of a photograph, magnified by `zoom` (or more, to fill) to (h, w)."""
    import cv2

    height, width = shape
    zoom = max(zoom, height / photograph.shape[0], width / photograph.shape[1])
    rows, columns = max(int(height / zoom), 2), max(int(width / zoom), 2)
    top = rng.integers(photograph.shape[0] - rows + 1)
    left = rng.integers(photograph.shape[1] - columns + 1)
    part = photograph[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = cv2.INTER_AREA if zoom < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=method))


def weave(photograph: Image, shape: tuple[int, int], patch: int, zoom: float, rng: np.random.Generator) -> Image:
    """A surface (h, w) of mean 0 and deviation 1 without seams or exact repetition, that also tiles without a seam.

    Random patches overlap by half; weights whose squares add up keep the contrast that plain averaging would lose.
    """
    height, width = shape
    ramp = np.sin(np.pi * (np.arange(patch) + 0.5) / patch).astype(np.float32) ** 2
    window = np.outer(ramp, ramp)
    total, power = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for top in range(0, height, patch // 2):
        for left in range(0, width, patch // 2):
            part = crop(photograph, (patch, patch), zoom, rng)
            part = np.rot90(part, 2) if rng.random() < 0.5 else part
            rows, columns = (np.arange(top, top + patch) % height), (np.arange(left, left + patch) % width)
            total[np.ix_(rows, columns)] += window * (part - part.mean())
            power[np.ix_(rows, columns)] += window**2
    total /= np.sqrt(np.maximum(power, 1e-6))
    return total / total.std()


@lru_cache(maxsize=2)
def _sheet(name: str) -> Image:
    """A large woven surface that walls and painted things take their grain from."""
    zoom = {"gravel": 0.35, "grass": 0.6}[name]
    return weave(load_photographs()[name], (1280, 1280), 200, zoom, np.random.default_rng(0))


def grain(name: str, shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Fine structure (h, w) of mean 0 and deviation 1 from the photograph of gravel or grass."""
    return crop(_sheet(name), shape, 1.0, rng)


def clouding(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Image:
    """Smooth variation (h, w) in about [-1, 1], `cells` bumps along the longer side; tiles without a seam."""
    import cv2

    rows = max(round(cells * shape[0] / max(shape)), 2)
    columns = max(round(cells * shape[1] / max(shape)), 2)
    coarse = np.pad(rng.uniform(-1.0, 1.0, (rows, columns)).astype(np.float32), 2, mode="wrap")
    scale = (shape[1] / columns, shape[0] / rows)
    size = (round(coarse.shape[1] * scale[0]), round(coarse.shape[0] * scale[1]))
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    top, left = round(2 * scale[1]), round(2 * scale[0])
    return np.asarray(fine[top : top + shape[0], left : left + shape[1]])


def asphalt(size: int, rng: np.random.Generator) -> Image:
    """A tileable road surface (size, size): fine and coarse grain, stains, cracks and mended places."""
    import cv2

    gravel = load_photographs()["gravel"]
    shape = (size, size)
    surface = 0.34 + 0.045 * weave(gravel, shape, 160, 0.35, rng) + 0.02 * weave(gravel, shape, 400, 1.0, rng)
    surface += 0.035 * clouding(shape, 14, rng) + 0.02 * clouding(shape, 70, rng)
    mended = np.zeros(shape, dtype=np.float32)
    for _ in range(size // 60):
        x, y = rng.integers(0, size, 2)
        width, height = rng.integers(30, 160, 2)
        cv2.rectangle(mended, (int(x), int(y)), (int(x + width), int(y + height)), float(rng.uniform(-0.09, 0.07)), -1)
    surface += mended
    cracks = np.zeros(shape, dtype=np.float32)
    for _ in range(size // 24):
        steps = np.cumsum(rng.normal(0.0, 14.0, (8, 2)) + rng.normal(0.0, 9.0, 2), axis=0)
        line = (rng.integers(0, size, 2) + steps).astype(np.int32)
        cv2.polylines(cracks, [line.reshape(-1, 1, 2)], False, 1.0, int(rng.integers(1, 3)), cv2.LINE_AA)
    for _ in range(size // 50):
        centre = tuple(int(value) for value in rng.integers(0, size, 2))
        axes = tuple(int(value) for value in rng.integers(3, 22, 2))
        cv2.ellipse(cracks, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.3, 0.9)), -1)
    return np.clip(surface - 0.15 * cv2.GaussianBlur(cracks, (3, 3), 0.6), 0.03, 0.9)


def pavement(size: int, slab: int, rng: np.random.Generator) -> Image:
    """Tileable stone slabs (size, size) of `slab` texels; each has its own tone and grain."""
    shape, count = (size, size), size // slab
    tones = np.kron(rng.normal(0.0, 0.045, (count, count)), np.ones((slab, slab))).astype(np.float32)
    grain = weave(load_photographs()["gravel"], shape, 160, 0.45, rng)
    surface = 0.52 + tones + 0.05 * grain + 0.04 * clouding(shape, 12, rng)
    joint = np.arange(size) % slab < 2
    surface[joint, :] -= 0.16
    surface[:, joint] -= 0.16
    return np.clip(surface, 0.03, 0.95)


def lawn(size: int, zoom: float, rng: np.random.Generator) -> Image:
    """Tileable grass (size, size)."""
    shape = (size, size)
    surface = 0.36 + 0.09 * weave(load_photographs()["grass"], shape, round(360 * zoom), zoom, rng)
    return np.clip(surface + 0.05 * clouding(shape, 10, rng), 0.03, 0.9)


def foliage(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Leaves: strong, coarse contrast."""
    surface = 0.27 + 0.1 * grain("grass", shape, rng)
    return np.clip(surface + 0.09 * clouding(shape, 7, rng), 0.02, 0.8)


def wall(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """A plain wall (h, w): bricks, rendering or concrete, weathered."""
    kind = rng.integers(3)
    tone = rng.uniform(0.34, 0.62)
    if kind == 0:
        surface = tone + 1.1 * (_bricks(shape, rng) - 0.45)
    elif kind == 1:
        surface = tone + 0.028 * grain("gravel", shape, rng)
    else:
        surface = tone + 0.03 * grain("grass", shape, rng)
    surface += 0.05 * clouding(shape, 5, rng) + 0.04 * clouding(shape, 22, rng)
    return np.clip(surface + _stains(shape, rng), 0.04, 0.95)


def _bricks(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Courses of brick over the whole wall: mirrored copies of the photograph, which meet without a seam."""
    import cv2

    brick = load_photographs()["brick"]
    side = int(rng.integers(170, 260))
    tile = cv2.resize(brick, (side, side), interpolation=cv2.INTER_AREA)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    rows = (np.arange(shape[0]) + rng.integers(2 * side)) % (2 * side)
    columns = (np.arange(shape[1]) + rng.integers(2 * side)) % (2 * side)
    cells = rng.normal(0.0, 0.035, (shape[0] // 12 + 1, shape[1] // 34 + 1)).astype(np.float32)
    tones = cv2.resize(cells, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(tile[np.ix_(rows, columns)] + tones)


def _stains(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Streaks that run down from random places, and a darker foot of the wall."""
    import cv2

    stains = np.zeros(shape, dtype=np.float32)
    for _ in range(shape[1] // 40):
        x, y = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        end = (x + int(rng.integers(-4, 5)), y + int(rng.integers(20, 160)))
        cv2.line(stains, (x, y), end, float(rng.uniform(-0.12, 0.05)), int(rng.integers(2, 9)), cv2.LINE_AA)
    soft = cv2.GaussianBlur(stains, (7, 7), 2.0)
    foot = np.clip((np.arange(shape[0]) - shape[0] + 45) / 45.0, 0.0, 1.0).astype(np.float32)
    return np.asarray(soft - 0.1 * foot[:, None])
