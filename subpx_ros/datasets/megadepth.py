"""Scenes of MegaDepth (Li and Snavely, CVPR 2018) as scene_info files, which D2-Net, DISK and LoFTR share.

One npz per scene: image_paths, depth_paths (relative to the root), intrinsics (3, 3) and poses (4, 4) T_camera_world per image, and
either pair_infos ((i, j), overlap, ...) or overlap_matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.scene_info import read_scene_arrays
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError

_COLMAP_CENTRE = 0.5
"""COLMAP, which the intrinsics come from, puts the centre of the first pixel at (0.5, 0.5)."""


@dataclass(frozen=True)
class Scene:
    """One scene_info file, checked."""

    name: str
    images: list[str]
    depths: list[str]
    """One per image; empty where it has no depth."""
    intrinsics: Array
    """(N, 3, 3)"""
    poses: Array
    """(N, 4, 4) T_camera_world."""
    pairs: NDArray[np.int64]
    """(P, 2)"""
    overlaps: Array
    """(P,)"""

    def camera(self, view: int, width: int, height: int) -> Camera:
        """The camera of an image of that size, with our pixel centres."""
        K = self.intrinsics[view]
        return Camera(K[0, 0], K[1, 1], K[0, 2] - _COLMAP_CENTRE, K[1, 2] - _COLMAP_CENTRE, width, height)


def read_scene(path: Path) -> Scene:
    """One scene file. Raises DataError naming the array that is missing or inconsistent."""
    arrays = read_scene_arrays(path)
    for name in ("image_paths", "intrinsics", "poses"):
        if name not in arrays:
            raise DataError(f"{path}: a scene needs the array '{name}'; it has {', '.join(sorted(arrays)) or 'none'}")
    # Images that the reconstruction dropped keep their place with None; they are in no pair.
    present = np.array([entry is not None for entry in arrays["image_paths"]])
    images = [_relative(entry, path) for entry in arrays["image_paths"]]
    depths = [_relative(entry, path) for entry in arrays.get("depth_paths", [None] * len(images))]
    intrinsics = _matrices(arrays["intrinsics"], present, 3, f"{path}: intrinsics")
    poses = _matrices(arrays["poses"], present, 4, f"{path}: poses")
    if not len(images) == len(depths) == len(intrinsics) == len(poses):
        raise DataError(f"{path}: image_paths, depth_paths, intrinsics and poses must have one entry per image")
    pairs, overlaps = _pairs(arrays, path)
    if len(pairs) and not (0 <= pairs.min() and pairs.max() < len(images) and present[pairs].all()):
        raise DataError(f"{path}: pairs must name images of the scene, 0 to {len(images) - 1}")
    return Scene(path.stem, images, depths, intrinsics, poses, pairs, overlaps)


def _relative(entry: Any, scene: Path) -> str:
    """A path that stays below the root; '' for none."""
    if entry is None or str(entry) == "":
        return ""
    path = Path(str(entry))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{scene}: paths must be relative to the root and stay below it; got '{str(entry)[:60]}'")
    return str(path)


def _matrices(entries: Any, present: NDArray[np.bool_], size: int, where: str) -> Array:
    identity = np.eye(size)
    if len(entries) != len(present):
        raise DataError(f"{where}: one entry per image, {len(present)}, is required; got {len(entries)}")
    try:
        chosen = [entry if there else identity for entry, there in zip(entries, present, strict=True)]
        matrices = np.array([np.asarray(entry, dtype=np.float64) for entry in chosen])
    except (TypeError, ValueError):
        matrices = np.zeros(0)
    if matrices.shape[1:] != (size, size) or not np.all(np.isfinite(matrices)):
        raise DataError(f"{where}: finite {size}x{size} matrices are required")
    return matrices


def _pairs(arrays: Mapping[str, Any], path: Path) -> tuple[NDArray[np.int64], Array]:
    try:
        if "pair_infos" in arrays:
            infos = list(arrays["pair_infos"])
            pairs = np.array([[int(number) for number in info[0]] for info in infos], dtype=np.int64).reshape(-1, 2)
            return pairs, np.array([float(info[1]) for info in infos])
        if "overlap_matrix" in arrays:
            matrix = np.asarray(arrays["overlap_matrix"], dtype=np.float64)
            pairs = np.argwhere(np.triu(matrix, 1) > 0.0)
            return pairs, matrix[pairs[:, 0], pairs[:, 1]]
    except (TypeError, ValueError, IndexError):
        raise DataError(f"{path}: pair_infos as ((i, j), overlap, ...) or overlap_matrix (N, N) is required") from None
    raise DataError(f"{path}: a scene needs pair_infos or overlap_matrix; it has {', '.join(sorted(arrays))}")
