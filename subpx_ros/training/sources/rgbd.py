"""Pairs of a posed RGB-D recording.

K.txt              3x3 intrinsics, pixels
poses.txt          a row per frame: file name, then 16 numbers of T_world_camera, row by row, metres
images/, depth/    files of these names; depth as 16-bit PNG in millimetres, 0 where it is not known
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import png_size, read_grey
from subpx_ros.datasets.text import parse_numbers, pose_from_row, read_lines
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert
from subpx_ros.training.config import RgbdSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.source import PairSource, pairs_with_gap


class RgbdSource(PairSource):
    """Depth was measured and poses were tracked: `transfer` finds neighbourhoods, not exact positions."""

    def __init__(self, config: RgbdSourceConfig) -> None:
        """Raises DataError for a folder that lacks a file or holds damaged numbers."""
        self._folder = Path(config.folder)
        self._matrix = read_intrinsics(self._folder / "K.txt")
        self._frames = read_poses(self._folder / "poses.txt")
        self._pairs = pairs_with_gap(len(self._frames), config.gap, config.pairs, config.seed, config.folder)
        super().__init__(len(self._pairs))

    def pair(self, index: int) -> TrainingPair:
        (name0, T_world_0), (name1, T_world_1) = (self._frames[frame] for frame in self._pairs[index])
        (image0, depth0), (image1, depth1) = self._read(name0), self._read(name1)
        return TrainingPair(
            name=f"rgbd {self._folder.resolve().name}, {name0} to {name1}",
            image0=image0,
            image1=image1,
            camera0=self._camera(image0),
            camera1=self._camera(image1),
            T_0_1=invert(T_world_0) @ T_world_1,
            depth0=depth0,
            depth1=depth1,
            exact=False,
        )

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "rgbd", "pairs": len(self), "recording": self._folder.resolve().name}

    def _read(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return read_grey(self._folder / "images" / name), read_depth_png(self._folder / "depth" / name)

    def _camera(self, image: NDArray[np.uint8]) -> Camera:
        height, width = image.shape
        fx, fy, cx, cy = (float(self._matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return Camera(fx, fy, cx, cy, width, height)


def read_intrinsics(path: Path) -> Array:
    """K (3, 3) from three rows of three numbers. Raises DataError for anything else."""
    lines = read_lines(path)
    if len(lines) != 3:
        raise DataError(f"{path}: 3 rows of 3 numbers are required; got {len(lines)} rows")
    matrix = np.array([parse_numbers(line, 3, f"{path} line {number}") for number, line in lines])
    if not np.allclose(matrix[2], [0.0, 0.0, 1.0]) or matrix[0, 1] or matrix[1, 0]:
        raise DataError(f"{path}: a camera matrix without skew is required (rows fx 0 cx, 0 fy cy, 0 0 1)")
    return matrix


def read_poses(path: Path) -> list[tuple[str, Array]]:
    """(file name, T_world_camera (4, 4)) of every row. Raises DataError, naming the line."""
    frames = []
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        name, _, values = line.partition(" ")
        if "/" in name or name.startswith("."):
            raise DataError(f"{where}: a file name of images/ and depth/ is required; got '{name[:40]}'")
        row = parse_numbers(values, 16, where)
        frames.append((name, pose_from_row(row[:12], where)))
    return frames


def read_depth_png(path: Path) -> NDArray[np.float32]:
    """Depth (H, W) in metres from a 16-bit PNG in millimetres; 0 where it is not known.

    Raises:
        DataError: missing, damaged, or not of 16 bits and one channel.
    """
    import cv2

    png_size(path)
    raw = cv2.imdecode(np.frombuffer(path.read_bytes(), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        came = "nothing that decodes" if raw is None else f"{raw.dtype} with shape {raw.shape}"
        raise DataError(f"{path}: depth as 16-bit grey PNG in millimetres is required; got {came}")
    return np.asarray(raw, dtype=np.float32) / np.float32(1000.0)
