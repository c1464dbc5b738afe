"""Pairs of MegaDepth (Li and Snavely, CVPR 2018) in the scene_info layout that D2-Net, DISK and LoFTR share.

<root>/scene_info/*.npz  per scene: image_paths, depth_paths (relative to root), intrinsics (3, 3) and poses (4, 4)
                         T_camera_world per image, and either pair_infos ((i, j), overlap, ...) or overlap_matrix
<root>/<depth_path>      HDF5 or npz, array `depth` (H, W) of the image's size, 0 where it is not known
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import MAX_PIXELS, read_grey
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert
from subpx_ros.training.config import MegaDepthSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.scene_info import read_scene_arrays
from subpx_ros.training.sources.source import PairSource, resized_camera

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


class MegaDepthSource(PairSource):
    """Depth from multi-view stereo: `transfer` finds neighbourhoods, not exact positions."""

    def __init__(self, config: MegaDepthSourceConfig) -> None:
        """Raises DataError for a missing or damaged scene file, or where no pair has the overlap asked for."""
        self._root = Path(config.root)
        self._max_side = config.max_side
        self._scenes = [read_scene(path) for path in _scene_files(self._root, config.scene_info)]
        chosen = [
            (number, int(pair[0]), int(pair[1]))
            for number, scene in enumerate(self._scenes)
            for pair, overlap in zip(scene.pairs, scene.overlaps, strict=True)
            if config.min_overlap <= overlap <= config.max_overlap
        ]
        if not chosen:
            raise DataError(
                f"{config.root}: no pair has an overlap between {config.min_overlap} and {config.max_overlap}; "
                "widen the range"
            )
        order = np.random.default_rng([config.seed, 9]).permutation(len(chosen))[: config.pairs]
        self._pairs = [chosen[position] for position in order]
        super().__init__(len(self._pairs))

    def pair(self, index: int) -> TrainingPair:
        number, first, second = self._pairs[index]
        scene = self._scenes[number]
        (image0, depth0, camera0), (image1, depth1, camera1) = (self._read(scene, view) for view in (first, second))
        return TrainingPair(
            name=f"megadepth {scene.name}, image {first} to {second}",
            image0=image0,
            image1=image1,
            camera0=camera0,
            camera1=camera1,
            T_0_1=scene.poses[first] @ invert(scene.poses[second]),
            depth0=depth0,
            depth1=depth1,
            exact=False,
        )

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "megadepth", "pairs": len(self), "scenes": [scene.name for scene in self._scenes]}

    def _read(self, scene: Scene, view: int) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, Camera]:
        import cv2

        image = read_grey(self._root / scene.images[view])
        depth = read_depth(self._root / scene.depths[view]) if scene.depths[view] else None
        if depth is not None and depth.shape != image.shape:
            raise DataError(
                f"{scene.depths[view]}: depth of its image's size {image.shape} is required; got {depth.shape}"
            )
        K = scene.intrinsics[view]
        height, width = image.shape
        camera = Camera(K[0, 0], K[1, 1], K[0, 2] - _COLMAP_CENTRE, K[1, 2] - _COLMAP_CENTRE, width, height)
        factor = self._max_side / max(width, height)
        if factor >= 1.0:
            return image, depth, camera
        camera = resized_camera(camera, max(1, round(factor * width)), max(1, round(factor * height)))
        size = (camera.width, camera.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if depth is not None:
            # Nearest: a mean over an edge would be a depth that nothing has.
            depth = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        return image, depth, camera


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


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth (H, W), 0 where it is not known, from HDF5, or npz. Raises DataError for anything else."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                depth = archive["depth"]
        else:
            depth = _read_hdf5(path)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: an array 'depth' is required; {' '.join(str(error).split())}") from None
    if depth.ndim != 2 or depth.size > MAX_PIXELS or not np.issubdtype(depth.dtype, np.floating):
        raise DataError(f"{path}: depth (H, W) as floating point is required; got {depth.dtype} {depth.shape}")
    return np.asarray(depth, dtype=np.float32)


def _read_hdf5(path: Path) -> NDArray[Any]:
    try:
        import h5py
    except ImportError:
        raise DataError(f"reading {path} needs h5py: pip install h5py, or convert the depth to npz") from None
    with h5py.File(path, "r") as file:
        return np.asarray(file["depth"])


def _scene_files(root: Path, scene_info: str) -> list[Path]:
    place = root / scene_info
    paths = [place] if place.is_file() else sorted(place.glob("*.npz"))
    if not paths:
        raise DataError(f"{place}: a scene_info npz file or a folder of them is required; there is none")
    return paths


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
