"""One trajectory file against another: what `subpx eval ESTIMATE TRUTH` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.sequence import relative_to_first
from subpx_ros.errors import DataError
from subpx_ros.evaluation.accuracy import accuracy
from subpx_ros.evaluation.metrics import path_length
from subpx_ros.evaluation.run import write_json
from subpx_ros.evaluation.trajectories import Trajectory, read_trajectory
from subpx_ros.output import output_folder

STAMP_TOLERANCE_NS = 10_000_000
"""Largest difference of stamps that count as one frame: a tenth of the period of a 10 Hz camera."""


def evaluate(estimate: Path, truth: Path, out: Path | None = None, align_scale: bool = False) -> dict[str, Any]:
    """Drift, ATE and RPE of one trajectory file (KITTI or TUM) against another.

    Two TUM files are associated by their stamps, to 10 ms; otherwise frame by frame, and then counts must be equal.

    Args:
        estimate: the trajectory to judge.
        truth: the true one, metres.
        out: a folder for `evaluation.json` and `trajectory.png`; None writes nothing.
        align_scale: for an estimate that is not metric.

    Returns:
        `frames`, `association` ("stamps" or "index"), `path_m` and the figures of `accuracy`.

    Raises:
        DataError: a file is no trajectory, or the two do not belong together.
    """
    estimated, true = read_trajectory(estimate), read_trajectory(truth)
    pairs = associate(estimated, true, str(estimate), str(truth))
    estimated_poses = relative_to_first(estimated.poses[pairs[:, 0]])
    true_poses = relative_to_first(true.poses[pairs[:, 1]])
    by_stamps = estimated.stamps_ns is not None and true.stamps_ns is not None
    result = {
        "estimate": str(estimate),
        "truth": str(truth),
        "frames": len(pairs),
        "association": "stamps" if by_stamps else "index",
        "path_m": float(path_length(true_poses)[-1]),
        **accuracy(estimated_poses, true_poses, align_scale),
    }
    if out is not None:
        from subpx_ros.evaluation.plots import plot_trajectory

        output_folder(out)
        plot_trajectory(
            out / "trajectory.png", estimated_poses, true_poses, drift=result["drift"], align_scale=align_scale
        )
        write_json(out / "evaluation.json", result)
    return result


def associate(estimate: Trajectory, truth: Trajectory, estimate_name: str, truth_name: str) -> NDArray[np.intp]:
    """Index pairs (M, 2) of frames that belong together, M >= 2, in the order of time.

    Raises:
        DataError: unequal counts without stamps on both sides, or fewer than two common frames.
    """
    if estimate.stamps_ns is None or truth.stamps_ns is None:
        if len(estimate) != len(truth):
            raise DataError(
                f"without stamps on both sides (TUM) the trajectories need equal counts; {estimate_name} has "
                f"{len(estimate)} poses and {truth_name} has {len(truth)}: cut one to the frames of the other"
            )
        pairs = np.repeat(np.arange(len(truth))[:, None], 2, axis=1)
    else:
        pairs = _nearest_stamps(np.array(estimate.stamps_ns), np.array(truth.stamps_ns))
    if len(pairs) < 2:
        raise DataError(
            f"{estimate_name} and {truth_name} need at least 2 frames in common (stamps equal to "
            f"{STAMP_TOLERANCE_NS // 10**6} ms); they have {len(pairs)}: are they of one recording and one clock?"
        )
    return pairs


def _nearest_stamps(estimate: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.intp]:
    """For every estimated stamp the nearest true one within the tolerance; each true one is used once."""
    after = np.clip(np.searchsorted(truth, estimate), 1, max(1, len(truth) - 1))
    before = after - 1
    after = np.minimum(after, len(truth) - 1)
    nearest = np.where(estimate - truth[before] <= truth[after] - estimate, before, after)
    close = np.abs(truth[nearest] - estimate) <= STAMP_TOLERANCE_NS
    pairs = np.stack([np.flatnonzero(close), nearest[close]], axis=1)
    _, first = np.unique(pairs[:, 1], return_index=True)
    return pairs[first]
