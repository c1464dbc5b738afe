"""Is a covariance right? Normalised estimation error squared (NEES) of the odometry over stretches of a drive.

Bar-Shalom, Li and Kirubarajan, Estimation with Applications to Tracking and Navigation, section 5.4: where the covariance is right,
e' C^-1 e is chi-squared with 6 degrees of freedom; divided by 6 its mean is 1, within a band that narrows with the stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Array, OdometryResult
from subpx_ros.dead_reckoning import Step, Uncertainty
from subpx_ros.geometry import invert, vector_from_rotation

FREEDOM = 6
"""Of a pose."""


def stretches_nees(results: Sequence[OdometryResult], truth: Array, frames: int, config: OdometryConfig) -> Array:
    """NEES over 6 (S,) of motions composed over stretches that do not overlap, each begun anew in its first frame.

    Stretches with a frame that is not related to the one before are left out.

    Args:
        results: frame by frame.
        truth: (N, 4, 4) pose of the camera in every frame, in any frame of reference.
        frames: motions in a stretch.
        config: common errors, as the odometry had them.
    """
    values = []
    for begin in range(0, len(results) - frames, frames):
        steps = _steps(results[begin : begin + frames + 1], config)
        if steps is not None:
            values.append(_nees(steps, invert(truth[begin]) @ truth[begin + frames]))
    return np.array(values)


def _steps(results: Sequence[OdometryResult], config: OdometryConfig) -> list[Step] | None:
    steps = []
    for before, now in pairwise(results):
        pose = now.relative_pose
        if pose.T_reference_current is None or pose.covariance is None or now.reference_stamp_ns != before.stamp_ns:
            return None
        steps.append(Step.measured(pose.T_reference_current, pose.covariance, pose, config))
    return steps


def _nees(steps: list[Step], truth: Array) -> float:
    T, uncertainty = np.eye(4), Uncertainty(np.zeros((6, 6)))
    for step in steps:
        uncertainty = step.after(T, uncertainty)
        T = T @ step.T_here_there
    error = np.concatenate([T[:3, 3] - truth[:3, 3], vector_from_rotation(T[:3, :3] @ truth[:3, :3].T)])
    return float(error @ np.linalg.solve(uncertainty.covariance, error)) / FREEDOM
