"""How good matches and two-view models are: homographies, fundamental matrices, and shares of accurate results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import homogeneous

MAA_LIMITS_DEG = tuple(range(1, 11))
CORRECT_PX = 3.0
"""Matches farther from the truth are wrong, and say nothing of localisation (DeTone et al., SuperPoint, appendix)."""
_SAMPLES = 500
_SEED = 0


def mean_average_accuracy(errors: Sequence[float], limits: Sequence[float] = MAA_LIMITS_DEG) -> float:
    """Mean over the limits of the share of errors below them, 0 to 1 (Jin et al., Image Matching across Wide Baselines)."""
    values = np.asarray(errors, dtype=np.float64)
    if not len(values):
        return 0.0
    return float(np.mean([np.mean(values < limit) for limit in limits]))


def transfer_errors(H_1_0: Array, points0: Array, points1: Array) -> Array:
    """Distances (M,) in pixels of image 1 between its points (M, 2) and those of image 0 mapped by H; inf behind the horizon."""
    mapped = homogeneous(points0) @ H_1_0.T
    errors = np.full(len(points0), np.inf)
    # H is known up to its sign: the horizon parts the plane, and the image lies on the side of its first point's majority.
    front = mapped[:, 2] * np.sign(np.median(mapped[:, 2])) > 0.0 if len(mapped) else np.zeros(0, dtype=bool)
    errors[front] = np.linalg.norm(mapped[front, :2] / mapped[front, 2:] - points1[front], axis=1)
    return errors


def corner_error(estimate: Array | None, truth: Array, size0: tuple[int, int]) -> float:
    """Mean distance in pixels of image 1 between the corners of image 0, (width, height), mapped by both homographies.

    Infinite where there is no estimate, or where it sends a corner behind the horizon.
    """
    if estimate is None:
        return float("inf")
    width, height = size0
    corners = np.array([[0.0, 0.0], [width - 1.0, 0.0], [width - 1.0, height - 1.0], [0.0, height - 1.0]])
    target = homogeneous(corners) @ truth.T
    return float(np.mean(transfer_errors(estimate, corners, target[:, :2] / target[:, 2:])))


def localisation_error(errors_px: Array) -> float | None:
    """Mean error of the correct matches, pixels; None without any."""
    correct = errors_px[errors_px < CORRECT_PX]
    return float(correct.mean()) if len(correct) else None


def geometry_distance(F: Array, truth: Array, size0: tuple[int, int], size1: tuple[int, int]) -> float:
    """Symmetric distance between two epipolar geometries, in image diagonals, 0 to 1.

    Zhang, Determining the Epipolar Geometry and its Uncertainty (IJCV 1998), with distances divided by the
    image's diagonal as Bian et al. (BMVC 2019) do: points on the epipolar lines of one geometry are held against the
    lines of the other, in both images and both ways. A point counts at most one diagonal.
    """
    rng = np.random.default_rng(_SEED)
    distances = []
    for model, other in ((F, truth), (truth, F)):
        distances += _distances(model, other, size0, size1, rng)
        distances += _distances(model.T, other.T, size1, size0, rng)
    joined = np.concatenate(distances)
    return float(np.mean(np.minimum(joined, 1.0))) if len(joined) else 1.0


def _distances(
    model: Array, other: Array, size0: tuple[int, int], size1: tuple[int, int], rng: np.random.Generator
) -> list[Array]:
    """Points of image 0 with a point on the model's line in image 1: how far both lie from the other's lines."""
    points0 = homogeneous(rng.uniform(0.0, 1.0, (_SAMPLES, 2)) * [size0[0] - 1.0, size0[1] - 1.0])
    points1, inside = _on_lines(points0 @ model.T, size1, rng)
    points0 = points0[inside]
    return [
        _to_lines(points1, points0 @ other.T) / np.hypot(*size1),
        _to_lines(points0, points1 @ other) / np.hypot(*size0),
    ]


def _on_lines(lines: Array, size: tuple[int, int], rng: np.random.Generator) -> tuple[Array, Array]:
    """A random homogeneous point on the part of every line (N, 3) inside the image, and which lines have one (N,)."""
    normal = np.linalg.norm(lines[:, :2], axis=1)
    usable = normal > 0.0
    unit = lines / np.where(usable, normal, 1.0)[:, None]
    foot, along = -unit[:, 2:] * unit[:, :2], np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    low, high = np.full(len(lines), -np.inf), np.full(len(lines), np.inf)
    for axis in (0, 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = (np.array([[0.0], [size[axis] - 1.0]]) - foot[:, axis]) / along[:, axis]
        parallel = np.abs(along[:, axis]) < 1e-12
        within = (foot[:, axis] >= 0.0) & (foot[:, axis] <= size[axis] - 1.0)
        low = np.maximum(low, np.where(parallel, np.where(within, -np.inf, np.inf), ends.min(axis=0)))
        high = np.minimum(high, np.where(parallel, np.where(within, np.inf, -np.inf), ends.max(axis=0)))
    inside = usable & (low < high)
    place = low[inside] + rng.uniform(0.0, 1.0, int(inside.sum())) * (high[inside] - low[inside])
    return homogeneous(foot[inside] + place[:, None] * along[inside]), inside


def _to_lines(points: Array, lines: Array) -> Array:
    """Distances (N,) of homogeneous points (N, 3) to lines (N, 3), pixels; infinite to a line that is none."""
    normal = np.linalg.norm(lines[:, :2], axis=1)
    distance = np.abs(np.sum(points * lines, axis=1))
    return np.divide(distance, normal, out=np.full(len(points), np.inf), where=normal > 0.0)
