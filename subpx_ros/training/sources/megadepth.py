"""Pairs of MegaDepth (Li and Snavely, CVPR 2018).

<root>/scene_info/*.npz  per scene, as `subpx_ros.datasets.megadepth` reads them
<root>/<depth_path>      HDF5 or npz, array `depth` (H, W) of the image's size, 0 where it is not known
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import MAX_PIXELS, read_grey
from subpx_ros.datasets.megadepth import Scene, read_scene
from subpx_ros.datatypes import Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert
from subpx_ros.training.config import MegaDepthSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.source import PairSource


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
        height, width = image.shape
        camera = scene.camera(view, width, height)
        factor = self._max_side / max(width, height)
        if factor >= 1.0:
            return image, depth, camera
        camera = camera.resized(max(1, round(factor * width)), max(1, round(factor * height)))
        size = (camera.width, camera.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if depth is not None:
            # Nearest: a mean over an edge would be a depth that nothing has.
            depth = np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        return image, depth, camera


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
