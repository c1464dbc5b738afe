"""Writes what wheels would tell of the true way of a sequence, as a TUM file for `subpx run --scale-from`.

    .venv/bin/python -m tools.wheel_odometry SOURCE OUT.tum --slip 0.01 --noise 0.02 --turn 0.8

Planar dead reckoning at 50 Hz: every step is too long by `slip` and by noise, and the robot believes to have turned by
only `turn` of what it did, as one with skid steering does.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from subpx_ros.datasets import open_sequence
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.evaluation.trajectories import write_tum
from subpx_ros.frames import base_from_optical, odom_from_camera_path
from subpx_ros.geometry import interpolate, invert, rotation_from_vector, se3, vector_from_rotation

_PERIOD_NS = 20_000_000
_TURN_NOISE = 0.002
"""Radians a step."""


def dead_reckoning(way: Array, slip: float, noise: float, turn: float, seed: int) -> Array:
    """Poses (N, 4, 4) as wheels have them, from true ones (N, 4, 4) of the robot."""
    rng = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for before, after in pairwise(way):
        step = invert(before) @ after
        along = np.array([*step[:2, 3], 0.0])
        # What rolls along a slope rolls all of it.
        rolled = along * np.linalg.norm(step[:3, 3]) / max(float(np.linalg.norm(along)), 1e-12)
        believed = rolled * (1.0 + slip) * (1.0 + noise * rng.normal())
        yaw = turn * vector_from_rotation(step[:3, :3])[2] + _TURN_NOISE * rng.normal()
        poses.append(poses[-1] @ se3(rotation_from_vector(np.array([0.0, 0.0, yaw])), believed))
    return np.array(poses)


def main(
    source: str,
    out: Path,
    slip: Annotated[float, typer.Option(help="Share by which every step is too long.")] = 0.01,
    noise: Annotated[float, typer.Option(help="Relative standard deviation of a step of 20 ms.")] = 0.02,
    turn: Annotated[float, typer.Option(help="Share of a turn that is believed.")] = 1.0,
    seed: int = 1,
    camera_in_base: Annotated[str, typer.Option(help="As the node's parameter.")] = "0 0 0 0 0 0",
) -> None:
    sequence = open_sequence(source, "mono")
    if sequence.truth is None:
        raise DataError(f"{source} has no true poses, which are required")
    way = odom_from_camera_path(sequence.truth, base_from_optical(camera_in_base))
    stamps = np.array(sequence.stamps_ns)
    times = np.arange(stamps[0], stamps[-1] + 1, _PERIOD_NS)
    first = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(stamps) - 2)
    shares = (times - stamps[first]) / np.diff(stamps)[first]
    between = [
        interpolate(way[index], way[index + 1], float(share)) for index, share in zip(first, shares, strict=True)
    ]
    write_tum(out, times.tolist(), dead_reckoning(np.array(between), slip, noise, turn, seed))


if __name__ == "__main__":
    typer.run(main)
