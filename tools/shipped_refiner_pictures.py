"""Pictures that the refiner subpx learns from: photographs, synthetic ones, and what cameras make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Grey = NDArray[np.uint8]

PHOTOGRAPHS = (
    "astronaut", "camera", "chelsea", "coffee", "rocket", "brick", "grass", "gravel", "retina", "hubble_deep_field",
    "immunohistochemistry",
)  # fmt: skip
"""In skimage.data; none of those that are held back for measuring."""


def synthetic(rng: np.random.Generator) -> Image:
    """A picture of overlapping discs, ellipses, boxes and polygons of all sizes, with noise of several scales."""
    size = 1200
    canvas = np.full((size, size), 255 * rng.uniform(0.2, 0.8), dtype=np.float32).astype(np.uint8)
    for radius in np.sort(rng.uniform((1 / 260.0) ** 2, (1 / 4.0) ** 2, 2600) ** -0.5)[::-1]:
        centre = tuple(int(value) for value in rng.integers(0, size, 2))
        grey, kind = int(rng.integers(5, 250)), rng.integers(4)
        if kind == 0:
            cv2.circle(canvas, centre, int(radius), grey, -1, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(radius) + 1, int(radius * rng.uniform(0.2, 1)) + 1)
            cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, grey, -1, cv2.LINE_AA)
        elif kind == 2:
            sides = (2 * radius, 2 * radius * rng.uniform(0.1, 1))
            corners = cv2.boxPoints((tuple(map(float, centre)), sides, float(rng.uniform(0, 90))))
            cv2.fillConvexPoly(canvas, corners.astype(np.int32), grey, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = np.array(centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            cv2.fillPoly(canvas, [corners.astype(np.int32)], grey, cv2.LINE_AA)
    amplitude = 0.3 * rng.uniform(0, 0.25)
    noise = np.zeros((size, size), dtype=np.float32)
    for cell in (1, 2, 4, 8):
        coarse = rng.standard_normal((size // cell, size // cell)).astype(np.float32)
        noise += 0.5 * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(canvas.astype(np.float32) / 255 + amplitude * noise, 0, 1)


def photographs(folder: Path | None) -> list[Image]:
    """Those of scikit-image and of the folder, (H, W, 3) in [0, 1] with at most 1500 pixels a side."""
    found = [np.asarray(getattr(data, name)()) for name in PHOTOGRAPHS]
    for file in sorted(folder.iterdir()) if folder else []:
        picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if picture is None:
            raise SystemExit(f"{file} is no image that OpenCV reads: leave only photographs in the folder")
        found.append(picture)
    return [small(pixels) for pixels in found]


def small(pixels: NDArray[Any]) -> Image:
    """(H, W, 3) in [0, 1] of a grey or coloured picture, reduced until no side has more than 1500 pixels."""
    channels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    picture = channels.astype(np.float32) / np.float32(255.0 if pixels.max() > 1 else 1.0)
    scale = 1500 / max(picture.shape)
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return picture


def source(rng: np.random.Generator, pictures: list[Image]) -> Image:
    """One of the photographs, its colours weighed at random, or a synthetic picture."""
    if rng.random() < 0.2:
        return synthetic(rng)
    pixels = pictures[rng.integers(len(pictures))]
    return np.clip(pixels @ rng.dirichlet([1, 2, 1]), 0, 1).astype(np.float32)


def render(picture: Image, view_to_picture: Array, width: int, height: int) -> Image:
    """Twice as fine, then averaged over 2x2 pixels; the picture continues as its mirror image."""
    finer = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (2 * width, 2 * height)
    large = cv2.warpPerspective(picture, view_to_picture @ finer, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def exposed(image: Image, rng: np.random.Generator) -> Grey:
    """Defocus, motion blur, gamma, exposure, contrast, uneven light, noise and JPEG at random; none moves anything."""
    picture: NDArray[Any] = np.clip(image, 0, 1)
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.3))
    if rng.random() < 0.15:
        kernel = motion_kernel(rng.uniform(1.5, 6), rng.uniform(0, np.pi))
        picture = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    picture = np.clip(picture, 0, 1) ** rng.uniform(0.7, 1.4) * rng.uniform(0.6, 1.2) + rng.uniform(-0.03, 0.08)
    if rng.random() < 0.25:
        picture = 0.5 + rng.uniform(0.25, 0.8) * (picture - rng.uniform(0.3, 0.7))
    picture = picture * light(picture.shape, rng)
    grain = rng.standard_normal(picture.shape)
    read, shot = rng.uniform(0.001, 0.015 if rng.random() < 0.7 else 0.03), rng.uniform(0, 0.025)
    picture = picture + grain * np.sqrt(read**2 + np.clip(picture, 0, 1) * shot**2)
    grey = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(50, 97))
        grey = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    return np.asarray(grey, dtype=np.uint8)


def light(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """Factors (H, W): vignetting, and rows that a rolling shutter exposed differently."""
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None]
    rows = 1 + rng.uniform(0, 0.08) * np.sin(rng.uniform(0.5, 12) * y + rng.uniform(0, 2 * np.pi))
    return np.asarray(rows * (1 - rng.uniform(0, 0.2) * (x**2 + y**2)), dtype=np.float32)


def motion_kernel(length: float, angle: float) -> Image:
    """A centred line (9, 9) of unit sum."""
    kernel = np.zeros((9, 9), dtype=np.float32)
    for place in np.linspace(-length / 2, length / 2, 41):
        x, y = 4 + place * np.cos(angle), 4 + place * np.sin(angle)
        column, row = int(x), int(y)
        for down, weight_y in ((0, 1 - (y - row)), (1, y - row)):
            for right, weight_x in ((0, 1 - (x - column)), (1, x - column)):
                kernel[min(row + down, 8), min(column + right, 8)] += weight_x * weight_y
    return kernel / kernel.sum()


def resampled(image: Grey, to_image: Array) -> Grey:
    """The image (H, W) at the places that its pixels have by `to_image` (3, 3), bilinearly. (OpenCV rounds places.)"""
    size = np.array(image.shape[::-1])
    places = (
        np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1) @ to_image[:2, :2].T + to_image[:2, 2]
    )
    grid = torch.from_numpy((2 * places / (size - 1) - 1).astype(np.float32))
    pixels = torch.from_numpy(image.astype(np.float32))
    values = torch.nn.functional.grid_sample(pixels[None, None], grid[None], padding_mode="border", align_corners=True)
    return np.rint(values[0, 0].numpy()).astype(np.uint8)
