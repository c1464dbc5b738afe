"""Trajectories of the odometry benchmark as files that other tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.evaluation.trajectories import write_kitti, write_tum
from subpx_ros.output import output_folder

FOLDER = "trajectories"
PER_FRAME = "frames_data"
"""What a result holds of every frame; kept in its item, left out of results.json."""


def poses_of(result: Mapping[str, Any]) -> Array:
    """T_first_camera (N, 4, 4) of a stored result."""
    rows = np.array(result[PER_FRAME]["poses"], dtype=np.float64).reshape(-1, 3, 4)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows
    return poses


def write_trajectories(
    out: Path, results: Mapping[str, Mapping[str, Any]], stamps_ns: Mapping[str, Sequence[int]]
) -> None:
    """`trajectories/PRESET/RECORDING/REFINER.txt` (KITTI rows) and `.tum` of every result."""
    for result in results.values():
        folder = output_folder(out / FOLDER / result["preset"] / result["sequence"])
        poses = poses_of(result)
        write_kitti(folder / f"{result['refiner']}.txt", poses)
        write_tum(folder / f"{result['refiner']}.tum", stamps_ns[result["sequence"]], poses)
