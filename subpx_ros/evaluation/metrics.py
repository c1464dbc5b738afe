"""How far an estimated trajectory is from the truth: KITTI drift, ATE, RPE, and per-frame errors without scale.

All functions take poses (N, 4, 4) T_world_camera, estimate and truth of the same frames, in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import angle_between, invert, nearest_rotation, rotation_angle

KITTI_LENGTHS_M = (100, 200, 300, 400, 500, 600, 700, 800)
SHORT_LENGTHS_M = (10, 20, 30, 40, 50)
KITTI_START_STEP = 10
KITTI_SPEEDS_MPS = tuple(range(2, 25, 2))
KITTI_SPEED_REACH_MPS = 2.0
"""A segment counts for every speed that it is less than this away from: neighbouring speeds share segments."""
KITTI_LEAST_SEGMENTS = 3
"""Speeds with fewer segments have no figure."""
KITTI_PERIOD_S = 0.1
MIN_MOTION_M = 0.01
"""Below this true motion between two frames the direction of translation means nothing."""


@dataclass(frozen=True)
class LengthDrift:
    """Mean drift over the segments of one length."""

    length_m: int
    t_percent: float
    r_deg_per_100m: float
    segments: int


@dataclass(frozen=True)
class SpeedDrift:
    """Mean drift over the segments, of all lengths, that were driven at about one speed."""

    speed_mps: int
    t_percent: float
    r_deg_per_100m: float
    segments: int


@dataclass(frozen=True)
class Drift:
    """Mean drift over all segments of all lengths."""

    t_percent: float
    r_deg_per_100m: float
    per_length: tuple[LengthDrift, ...]
    """Only the lengths that the sequence has segments of, shortest first."""
    per_speed: tuple[SpeedDrift, ...]
    """Only the speeds that the sequence has enough segments of, slowest first."""

    @property
    def lengths_m(self) -> list[int]:
        return [each.length_m for each in self.per_length]


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Array
    """(3, 3)"""
    translation: Array
    """(3,)"""

    def apply(self, points: Array) -> Array:
        """Points (N, 3) to (N, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)


@dataclass(frozen=True)
class PerFrame:
    """Medians over pairs of consecutive frames; NaN where no pair qualifies."""

    rotation_deg: float
    """Of all pairs."""
    direction_deg: float
    """Angle between the translations, of the pairs that moved more than MIN_MOTION_M in truth and at all in estimate."""
    directions: int
    """Pairs that the direction was computed from."""


def kitti_drift(estimate: Array, truth: Array, period_s: float = KITTI_PERIOD_S) -> Drift | None:
    """The odometry measure of the KITTI development kit: relative error over path segments of fixed lengths.

    A segment runs from its start to the first frame whose path length, along the truth, exceeds the start's by more
    than the nominal length; its error is divided by the nominal length. Lengths are 100 to 800 m, with a start at
    every tenth frame. A path of at most 100 m is measured over 10 to 50 m with a start at every frame instead.
    The speed of a segment is its nominal length over the number of its frames, both ends included, times `period_s`.

    Returns:
        None when the path is too short for a single segment.
    """
    _check_same_frames(estimate, truth)
    travelled = path_length(truth)
    short = travelled[-1] <= KITTI_LENGTHS_M[0]
    lengths, step = (SHORT_LENGTHS_M, 1) if short else (KITTI_LENGTHS_M, KITTI_START_STEP)
    per_length = []
    errors: list[Array] = []
    speeds: list[Array] = []
    for length in lengths:
        segments = _segments(travelled, length, step)
        if not segments:
            continue
        error = np.array([_segment_error(estimate, truth, *ends) for ends in segments]) / length
        errors.append(error)
        t_percent, r_deg = _as_percent_and_degrees(error)
        per_length.append(LengthDrift(length, t_percent, r_deg, len(segments)))
        speeds.append(length / (period_s * (1.0 + np.diff(segments)[:, 0])))
    if not errors:
        return None
    all_errors = np.concatenate(errors)
    t_percent, r_deg = _as_percent_and_degrees(all_errors)
    return Drift(t_percent, r_deg, tuple(per_length), _per_speed(all_errors, np.concatenate(speeds)))


def nominal_period_s(stamps_ns: Sequence[int]) -> float:
    """Seconds per frame by the whole number of frames per second that a camera runs at: 0.1 s for KITTI's 103.7 ms.

    Cameras of less than one frame per second, and single frames, have no such number: the median of the stamps, or 1 s.
    """
    if len(stamps_ns) < 2:
        return 1.0
    median = float(np.median(np.diff(stamps_ns))) * 1e-9
    return 1.0 / max(round(1.0 / median), 1) if median < 1.0 else median


def path_length(poses: Array) -> Array:
    """Metres travelled from the first frame to each (N,)."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def align(estimate: Array, truth: Array, with_scale: bool) -> Similarity:
    """The similarity (or rigid motion) that brings points (N, 3) closest to the true ones in least squares.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991, eq. 40-42.

    Raises:
        DataError: a scale is asked for and all estimated points coincide.
    """
    centre_estimate, centre_truth = estimate.mean(axis=0), truth.mean(axis=0)
    from_centre, to_centre = estimate - centre_estimate, truth - centre_truth
    covariance = to_centre.T @ from_centre / len(estimate)
    rotation = nearest_rotation(covariance)
    scale = 1.0
    if with_scale:
        variance = float(np.mean(np.sum(from_centre**2, axis=1)))
        if variance <= 0.0:
            raise DataError("a trajectory that does not move has no scale to align: use one with motion")
        scale = float(np.trace(rotation.T @ covariance)) / variance
    return Similarity(scale, rotation, centre_truth - scale * rotation @ centre_estimate)


def rescaled(estimate: Array, truth: Array) -> Array | None:
    """The estimate (N, 4, 4) with positions in the scale of the truth; None when it has no positive scale."""
    try:
        scale = align(estimate[:, :3, 3], truth[:, :3, 3], with_scale=True).scale
    except DataError:
        return None
    if scale <= 0.0:
        return None
    scaled = estimate.copy()
    scaled[:, :3, 3] *= scale
    return scaled


def absolute_error(estimate: Array, truth: Array, with_scale: bool = False) -> float:
    """ATE: root mean square distance of the positions after alignment, metres."""
    _check_same_frames(estimate, truth)
    moved = align(estimate[:, :3, 3], truth[:, :3, 3], with_scale).apply(estimate[:, :3, 3])
    return float(np.sqrt(np.mean(np.sum((moved - truth[:, :3, 3]) ** 2, axis=1))))


def relative_errors(estimate: Array, truth: Array) -> tuple[Array, Array]:
    """RPE of consecutive frames: translation in metres (N-1,) and rotation in degrees (N-1,)."""
    _check_same_frames(estimate, truth)
    pairs = [_segment_error(estimate, truth, index, index + 1) for index in range(len(truth) - 1)]
    errors = np.array(pairs).reshape(-1, 2)
    return errors[:, 0], np.degrees(errors[:, 1])


def per_frame_errors(estimate: Array, truth: Array) -> PerFrame:
    """Rotation and direction errors between consecutive frames: what a camera without scale can be judged by."""
    _check_same_frames(estimate, truth)
    directions = []
    for index in range(len(truth) - 1):
        moved = (invert(poses[index]) @ poses[index + 1] for poses in (estimate, truth))
        estimated, true = (motion[:3, 3] for motion in moved)
        if np.linalg.norm(true) > MIN_MOTION_M and np.linalg.norm(estimated) > 0.0:
            directions.append(np.degrees(angle_between(estimated, true)))
    _, rotations = relative_errors(estimate, truth)
    return PerFrame(
        rotation_deg=float(np.median(rotations)) if len(rotations) else float("nan"),
        direction_deg=float(np.median(directions)) if directions else float("nan"),
        directions=len(directions),
    )


def _segments(travelled: Array, length: int, step: int) -> list[tuple[int, int]]:
    starts = np.arange(0, len(travelled), step)
    ends = np.searchsorted(travelled, travelled[starts] + length, side="right")
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True) if end < len(travelled)]


def _per_speed(errors: Array, speeds: Array) -> tuple[SpeedDrift, ...]:
    """Errors (S, 2) as m/m and rad/m, speeds (S,) in m/s."""
    drifts = []
    for speed in KITTI_SPEEDS_MPS:
        near = np.abs(speeds - speed) < KITTI_SPEED_REACH_MPS
        count = int(np.count_nonzero(near))
        if count >= KITTI_LEAST_SEGMENTS:
            drifts.append(SpeedDrift(speed, *_as_percent_and_degrees(errors[near]), count))
    return tuple(drifts)


def _segment_error(estimate: Array, truth: Array, start: int, end: int) -> tuple[float, float]:
    """Metres and radians by which the estimated motion from start to end misses the true one."""
    estimated = invert(estimate[start]) @ estimate[end]
    true = invert(truth[start]) @ truth[end]
    error = invert(estimated) @ true
    return float(np.linalg.norm(error[:3, 3])), rotation_angle(error[:3, :3])


def _as_percent_and_degrees(error: Array) -> tuple[float, float]:
    """Mean of (m/m, rad/m) rows as percent and degrees per 100 m."""
    translation, rotation = error.mean(axis=0)
    return float(100.0 * translation), float(100.0 * np.degrees(rotation))


def _check_same_frames(estimate: Array, truth: Array) -> None:
    if estimate.shape != truth.shape or estimate.shape[1:] != (4, 4) or not len(estimate):
        raise DataError(
            f"estimate and truth need poses (N, 4, 4) of the same frames; got {estimate.shape} and {truth.shape}"
        )
