"""Pairs of images whose poses are known: all pairs of a COLMAP model, and frames of a recording at a fixed distance."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datasets.colmap import PosedImage, read_model
from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.pairs.pair import Image, PairSet, PairSource, ViewSource
from subpx_ros.datatypes import Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert

_LEAST_MOTION_M = 0.01
"""Below this true motion the direction of translation means nothing."""


def read_colmap_pairs(folder: Path) -> PairSet:
    """Every pair of images of a folder with `images/` and a COLMAP text model. Raises DataError as `read_model`."""
    images = read_model(folder)
    views = [_photograph(image) for image in images]
    pairs = [
        PairSource(
            views[first], views[second], T_1_0=invert(images[second].T_world_camera) @ images[first].T_world_camera
        )
        for first, second in combinations(range(len(images)), 2)
    ]
    return PairSet(folder.resolve().name, pairs)


def read_sequence_pairs(source: str, gap: int) -> PairSet:
    """The left images of frames (i, i + gap) of a recording with ground truth that moved in between.

    Raises:
        DataError: no such recording, no truth, or fewer frames than the gap needs.
    """
    sequence = open_sequence(source, "mono")
    if sequence.truth is None:
        raise DataError(f"{source} has no true poses: a benchmark of poses needs them (KITTI: poses.txt)")
    if len(sequence) <= gap:
        raise DataError(
            f"{source} has {len(sequence)} frames: pairs with a gap of {gap} need more; give a smaller --gap"
        )
    views = [_frame(sequence, index) for index in range(len(sequence))]
    pairs = []
    for first in range(len(sequence) - gap):
        T_1_0 = invert(sequence.truth[first + gap]) @ sequence.truth[first]
        if np.linalg.norm(T_1_0[:3, 3]) > _LEAST_MOTION_M:
            pairs.append(PairSource(views[first], views[first + gap], T_1_0=T_1_0))
    return PairSet(sequence.name, pairs)


def _photograph(image: PosedImage) -> ViewSource:
    return ViewSource(image.path.name, partial(read_grey, image.path), partial(_fixed, image), image.radial)


def _fixed(image: PosedImage, width: int, height: int) -> Camera:
    if (width, height) != (image.camera.width, image.camera.height):
        raise DataError(
            f"{image.path} has {width}x{height} px, its camera in the model {image.camera.width}x{image.camera.height}"
        )
    return image.camera


def _frame(sequence: Sequence, index: int) -> ViewSource:
    def read() -> Image:
        return sequence.frame(index).image

    return ViewSource(f"{index:06d}", read, lambda width, height: sequence.rig.left)
