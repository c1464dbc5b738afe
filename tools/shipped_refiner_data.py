"""Matches that the shipped weights of the refiner subpx were trained on: python tools/shipped_refiner_data.py --help

Writes one .npz: per match a crop of 31x31 pixels around the rounded keypoints of either image, what the rounding left,
the exact position of the first image's point in the second, and how it moves with that point.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from shipped_refiner_pictures import Array, Grey, Image, exposed, photographs, render, resampled, source

from subpx_ros.config import load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence, correspondences
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.pipeline import FrontEnd
from subpx_ros.training.config import StreetSourceConfig, WarpsSourceConfig
from subpx_ros.training.pairs import transfer
from subpx_ros.training.sources import PairSource
from subpx_ros.training.sources.street import StreetSource
from subpx_ros.training.sources.warps import WarpsSource

Transfer = Callable[[Array], tuple[Array, NDArray[np.bool_]]]
Pair = tuple[Grey, Grey, Transfer]

WIDTH, HEIGHT = 512, 448
RADIUS = 15
LARGEST_ERROR_PX = 4.5
MOST_MATCHES = 450
DETECTORS = ("xfeat", "sift", "aliked")
SHARES = {
    "warps": (1.0, 0.4, 0.2),
    "street": (1.0, 0.4, 0.15),
    "validation_warps": (1.0, 1.0, 0.5),
    "validation_street": (1.0, 1.0, 0.5),
}
"""Share of the pairs that each detector sees, by kind of pairs; those of validation are of the package's own sources."""
RECTIFIED = 0.4
FIELDS = ("crop0", "crop1", "fraction0", "fraction1", "target", "jacobian", "detector")


def homography(rng: np.random.Generator, strong: bool) -> Array:
    """Pixel of view 0 to pixel of view 1 (3, 3)."""
    scale, degrees, tilt, shear, shift = (
        ((0.65, 1.55), 25.0, 4e-4, 0.15, 40.0) if strong else ((0.92, 1.09), 4.0, 8e-5, 0.05, 25.0)
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


def warps(rng: np.random.Generator, pictures: list[Image]) -> Iterator[Pair]:
    """Two views of a picture."""
    while True:
        picture = source(rng, pictures)
        height, width = picture.shape
        reduction = np.exp(rng.uniform(np.log(0.9), np.log(1.9))) * min(1.0, max(0.6, min(height, width) / 512))
        angle = np.deg2rad(rng.uniform(-15, 15))
        cosine, sine = reduction * np.cos(angle), reduction * np.sin(angle)
        x, y = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
        centred = np.array([[1, 0, -WIDTH / 2], [0, 1, -HEIGHT / 2], [0, 0, 1.0]])
        view0 = np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]]) @ centred
        between = homography(rng, rng.random() < 0.5)
        views = [render(picture, view, WIDTH, HEIGHT) for view in (view0, view0 @ np.linalg.inv(between))]
        images = exposed(views[0], rng), exposed(views[1], rng)

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


def of_package(kind: str, seed: int, count: int) -> Iterator[Pair]:
    """Pairs of the package's sources with their default settings, of photographs and streets that training may use."""
    source: PairSource
    if kind == "validation_warps":
        source = WarpsSource(WarpsSourceConfig(pairs=count, seed=seed, photographs="training"))
    else:
        source = StreetSource(StreetSourceConfig(pairs=count, seed=seed))
    for index in range(len(source)):
        pair = source.pair(index)
        yield pair.image0, pair.image1, partial(transfer, pair)


def rectified(pair: Pair, rng: np.random.Generator) -> Pair:
    """Both images resampled on slightly other grids, as rectifying a stereo pair does it, noise and all."""
    image0, image1, follow = pair
    to_raw0, to_raw1 = similarity(image0.shape, rng), similarity(image1.shape, rng)
    from_raw1 = np.linalg.inv(to_raw1)

    def moved(pixels: Array) -> tuple[Array, NDArray[np.bool_]]:
        places, visible = follow(pixels @ to_raw0[:2, :2].T + to_raw0[:2, 2])
        return places @ from_raw1[:2, :2].T + from_raw1[:2, 2], visible

    return resampled(image0, to_raw0), resampled(image1, to_raw1), moved


def similarity(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """(3, 3), near the identity."""
    zoom, angle = 1 + rng.uniform(-0.02, 0.02), rng.uniform(-0.01, 0.01)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    middle = (np.array(shape[::-1]) - 1) / 2
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    shift = middle - rotation @ middle + rng.uniform(-1, 1, 2)
    return np.block([[rotation, shift[:, None]], [np.zeros((1, 2)), np.ones((1, 1))]])


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
    parser.add_argument(
        "--photographs", type=Path, help="folder of further photographs, those that docs/models.md lists"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng([options.seed, 0])
    settings = {"device": "cpu", "refiner": "none", "threads": 1}
    front_ends = [FrontEnd(load_config({"preset": detector} | settings)) for detector in DETECTORS]
    if options.kind == "warps":
        pairs = warps(rng, photographs(options.photographs))
    elif options.kind == "street":
        pairs = streets(rng, options.seed)
    else:
        pairs = of_package(options.kind, options.seed, options.pairs)
    found: dict[str, list[NDArray[np.generic]]] = {field: [] for field in FIELDS}
    for number, ideal in zip(range(options.pairs), pairs, strict=False):
        resample = options.kind in ("warps", "street") and rng.random() < RECTIFIED
        pair = rectified(ideal, rng) if resample else ideal
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
