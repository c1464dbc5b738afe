"""Matches that the shipped weights of the refiner subpx were trained on: python tools/shipped_refiner_data.py --help

Writes one .npz: per match a crop of 31x31 pixels around the rounded keypoints of either image, what the rounding left,
the exact position of the first image's point in the second, and how it moves with that point.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

from subpx_ros.config import load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence, correspondences
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.pipeline import FrontEnd

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Grey = NDArray[np.uint8]
Transfer = Callable[[Array], tuple[Array, NDArray[np.bool_]]]
Pair = tuple[Grey, Grey, Transfer]

PHOTOGRAPHS = (
    "astronaut", "camera", "chelsea", "coffee", "rocket", "brick", "grass", "gravel", "retina", "hubble_deep_field",
    "immunohistochemistry",
)  # fmt: skip
"""In skimage.data; none of those that are held back for measuring."""
WIDTH, HEIGHT = 512, 448
RADIUS = 15
LARGEST_ERROR_PX = 4.5
MOST_MATCHES = 450
DETECTORS = ("xfeat", "sift", "aliked")
SHARES = {"warps": (1.0, 0.5, 0.25), "street": (1.0, 0.5, 0.15)}
"""Share of the pairs that each detector sees."""
FIELDS = ("crop0", "crop1", "fraction0", "fraction1", "target", "jacobian", "detector")


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


def source(rng: np.random.Generator) -> Image:
    """One of the photographs, its colours weighed at random, or a synthetic picture."""
    if rng.random() < 0.25:
        return synthetic(rng)
    pixels = np.asarray(getattr(data, PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))])())
    if pixels.ndim == 3:
        pixels = pixels[..., :3] @ rng.dirichlet([1, 2, 1])
    grey: Image = pixels.astype(np.float32) / np.float32(255.0 if pixels.max() > 1 else 1.0)
    if max(grey.shape) > 1500:
        grey = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return np.clip(grey, 0, 1).astype(np.float32)


def homography(rng: np.random.Generator, strong: bool) -> Array:
    """Pixel of view 0 to pixel of view 1 (3, 3)."""
    scale, degrees, tilt, shear, shift = (
        ((0.7, 1.4), 20.0, 4e-4, 0.15, 40.0) if strong else ((0.93, 1.08), 3.0, 6e-5, 0.05, 25.0)
    )
    zoom = np.exp(rng.uniform(*np.log(scale)))
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    tilts, shears = rng.uniform(-tilt, tilt, 2), rng.uniform(-shear, shear, 2)
    offset = rng.uniform(-shift, shift, 2)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    about_centre = np.array(
        [[cosine, -sine + shears[0], offset[0]], [sine + shears[1], cosine, offset[1]], [tilts[0], tilts[1], 1.0]]
    )
    centre = np.array([[1, 0, -(WIDTH - 1) / 2], [0, 1, -(HEIGHT - 1) / 2], [0, 0, 1.0]])
    return np.asarray(np.linalg.inv(centre) @ about_centre @ centre)


def render(picture: Image, view_to_picture: Array) -> Image:
    """Twice as fine, then averaged over 2x2 pixels; the picture continues as its mirror image."""
    finer = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = (2 * WIDTH, 2 * HEIGHT)
    large = cv2.warpPerspective(picture, view_to_picture @ finer, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.float32)


def exposed(image: Image, rng: np.random.Generator) -> Grey:
    """Defocus, motion blur, gamma, exposure, noise and JPEG, each at random and none of them moving anything."""
    picture: NDArray[Any] = np.clip(image, 0, 1)
    if rng.random() < 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.15:
        kernel = motion_kernel(rng.uniform(1.5, 6), rng.uniform(0, np.pi))
        picture = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    picture = np.clip(picture, 0, 1) ** rng.uniform(0.75, 1.35) * rng.uniform(0.6, 1.15) + rng.uniform(-0.03, 0.08)
    grain = rng.standard_normal(picture.shape)
    read, shot = rng.uniform(0.001, 0.012), rng.uniform(0, 0.025)
    picture = picture + grain * np.sqrt(read**2 + np.clip(picture, 0, 1) * shot**2)
    grey = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.integers(50, 97))
        grey = cv2.imdecode(cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    return np.asarray(grey, dtype=np.uint8)


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


def warps(rng: np.random.Generator) -> Iterator[Pair]:
    """Two views of a picture."""
    while True:
        picture = source(rng)
        height, width = picture.shape
        reduction = np.exp(rng.uniform(np.log(0.9), np.log(1.9))) * min(1.0, max(0.6, min(height, width) / 512))
        angle = np.deg2rad(rng.uniform(-15, 15))
        cosine, sine = reduction * np.cos(angle), reduction * np.sin(angle)
        x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
        centred = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])
        view0 = np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]]) @ centred
        between = homography(rng, rng.random() < 0.5)
        images = exposed(render(picture, view0), rng), exposed(render(picture, view0 @ np.linalg.inv(between)), rng)

        def follow(pixels: Array, between: Array = between) -> tuple[Array, NDArray[np.bool_]]:
            moved = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ between.T
            return moved[:, :2] / moved[:, 2:], np.ones(len(pixels), dtype=bool)

        yield *images, follow


def streets(rng: np.random.Generator, seed: int) -> Iterator[Pair]:
    """Left and right images, and frames one to four apart in either order; eight pairs of every street."""
    number = 0
    while True:
        config = StreetConfig(seed=1000 + seed * 100 + number)
        sequence = StreetSequence(config)
        number += 1
        for _ in range(8):
            index = int(rng.integers(0, len(sequence) - 6))
            view0 = sequence.view(index, 0)
            stereo = rng.integers(3) == 0
            later, camera = (index, 1) if stereo else (index + int(rng.choice([1, 1, 2, 3, 4])), 0)
            view1 = sequence.view(later, camera)
            if rng.random() < 0.5 and not stereo:
                view0, view1 = view1, view0
            if rng.random() < 0.5:
                images = exposed(view0.image, rng), exposed(view1.image, rng)
            else:
                images = expose(view0.image, config, index, 0), expose(view1.image, config, later, camera)

            def follow(pixels: Array, view0=view0, view1=view1) -> tuple[Array, NDArray[np.bool_]]:  # type: ignore[no-untyped-def]
                followed = correspondences(view0, view1, pixels)
                return followed.pixels, followed.visible

            yield *images, follow


def matches_of(pair: Pair, front_end: FrontEnd, rng: np.random.Generator) -> dict[str, NDArray[np.generic]] | None:
    """All fields but the detector of at most 450 matches that are not wrong ones."""
    image0, image1, follow = pair
    features0, features1 = front_end.detect([image0])[0], front_end.detect([image1])[0]
    if min(len(features0), len(features1)) < 10:
        return None
    matches = front_end.match(features0, features1)
    if len(matches) < 5:
        return None
    keypoints0 = features0.keypoints[matches.indices0].double().numpy()
    keypoints1 = features1.keypoints[matches.indices1].double().numpy()
    target, visible = follow(keypoints0)
    error = np.where(visible, np.linalg.norm(target - keypoints1, axis=1), np.inf)
    kept = np.flatnonzero(error < LARGEST_ERROR_PX)
    if len(kept) > MOST_MATCHES:
        kept = rng.choice(kept, MOST_MATCHES, replace=False)
    if not len(kept):
        return None
    keypoints0, keypoints1, target = keypoints0[kept], keypoints1[kept], target[kept]
    steps = [follow(keypoints0 + step)[0] - follow(keypoints0 - step)[0] for step in 0.5 * np.eye(2)]
    jacobian = np.stack(steps, axis=-1)
    # 0 tells that it is not known: at an edge of the surface.
    jacobian[~np.isfinite(jacobian).all(axis=(1, 2)) | (np.abs(jacobian).max(axis=(1, 2)) > 2)] = 0
    (crop0, middle0), (crop1, middle1) = crops(image0, keypoints0), crops(image1, keypoints1)
    single = (keypoints0 - middle0, keypoints1 - middle1, target - middle1, jacobian)
    return dict(zip(FIELDS, (crop0, crop1, *(values.astype(np.float32) for values in single)), strict=False))


def crops(image: Grey, keypoints: Array) -> tuple[Grey, NDArray[np.intp]]:
    """(N, 31, 31) around the nearest pixel, the border continued; and that pixel (N, 2)."""
    padded = np.pad(image, RADIUS, mode="edge")
    middle = np.clip(np.rint(keypoints).astype(np.intp), 0, np.array(image.shape[::-1]) - 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * RADIUS + 1, 2 * RADIUS + 1))
    return windows[middle[:, 1], middle[:, 0]].copy(), middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(SHARES))
    parser.add_argument("seed", type=int)
    parser.add_argument("pairs", type=int)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng([options.seed, 0])
    settings = {"device": "cpu", "refiner": "none", "threads": 1}
    front_ends = [FrontEnd(load_config({"preset": detector} | settings)) for detector in DETECTORS]
    pairs = warps(rng) if options.kind == "warps" else streets(rng, options.seed)
    found: dict[str, list[NDArray[np.generic]]] = {field: [] for field in FIELDS}
    for number, pair in zip(range(options.pairs), pairs, strict=False):
        for detector, (front_end, share) in enumerate(zip(front_ends, SHARES[options.kind], strict=True)):
            if rng.random() > share or min(pair[0].std(), pair[1].std()) < 2:
                continue
            matches = matches_of(pair, front_end, rng)
            if matches is None:
                continue
            matches["detector"] = np.full(len(matches["crop0"]), detector, dtype=np.uint8)
            for field, values in matches.items():
                found[field].append(values)
        if number % 20 == 0:
            print(number, sum(map(len, found["detector"])), flush=True)
    np.savez(options.out, **{field: np.concatenate(values) for field, values in found.items()})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
