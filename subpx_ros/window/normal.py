"""Residuals of a bundle, robustly weighted, and the normal equations that are left when the points are eliminated.

A step of a pose is a small motion of the window's frame, a translation and then a turn about a common centre, both in
the window's axes. Moving a point's anchor and the frame that sees it by one such step changes nothing, hence their
derivatives are opposite, and one of them is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.geometry import hat, rotation_from_vector
from subpx_ros.least_squares import cauchy_weights, robust_variance
from subpx_ros.window.bundle import Bundle, WindowCamera

_NEAREST = 1e-6
"""A point that is less far in front of a frame, in units of its distance from the anchor, is not seen."""
_FREE_DISPARITY_PX = 20.0
"""Nothing is known of a distance before; this much, by which a step is damped, is next to nothing."""


@dataclass(frozen=True)
class Linearised:
    """M sightings and P anchors at a state, everything whitened and weighted: unit noise."""

    residuals: Array
    """(M, 3): left x, left y, disparity."""
    by_pose: Array
    """(M, 3, 6) by a step of the frame that sees the point; by one of the anchor it is the opposite."""
    by_depth: Array
    """(M, 3) by the inverse depth."""
    anchor_residuals: Array
    """(P,) disparity in the anchor."""
    anchor_by_depth: Array
    """(P,)"""
    pixels: Array
    """(M,) distance in the left image, neither whitened nor weighted; inf where the point is not in front."""


def linearise(bundle: Bundle, camera: WindowCamera, centre: Array) -> Linearised:
    """The residuals of all sightings.

    Args:
        bundle: the state.
        camera: of every frame.
        centre: (3,) of turns, in the window's frame.
    """
    points, seen = bundle.points, bundle.sightings
    rays = np.einsum("pij,pj->pi", bundle.rotations[points.anchor], points.ray)
    from_centre = bundle.positions - centre
    # The point, seen from the centre and divided by its distance from the anchor: finite for points at infinity too.
    scaled = rays + points.inverse_depth[:, None] * from_centre[points.anchor]
    at, inverse_depth = scaled[seen.point], points.inverse_depth[seen.point]
    to_camera = bundle.rotations.transpose(0, 2, 1)[seen.frame]
    x, y, z = np.einsum("mij,mj->im", to_camera, at - inverse_depth[:, None] * from_centre[seen.frame])
    in_front = z > _NEAREST
    z = np.where(in_front, z, 1.0)
    over_z = 1.0 / z

    residuals = np.column_stack(
        [
            camera.fx * x * over_z + camera.cx - seen.left[:, 0],
            camera.fy * y * over_z + camera.cy - seen.left[:, 1],
            camera.focal_baseline * inverse_depth * over_z + camera.offset - bundle.right_shift - seen.disparity,
        ]
    )
    pixels = np.where(in_front, np.hypot(residuals[:, 0], residuals[:, 1]), np.inf)
    by_camera = np.zeros((len(seen), 3, 3))
    by_camera[:, 0, 0] = camera.fx * over_z
    by_camera[:, 1, 1] = camera.fy * over_z
    by_camera[:, 0, 2] = -camera.fx * x * over_z**2
    by_camera[:, 1, 2] = -camera.fy * y * over_z**2
    by_camera[:, 2, 2] = -camera.focal_baseline * inverse_depth * over_z**2

    anchored = camera.focal_baseline * points.inverse_depth + camera.offset - bundle.right_shift - points.disparity
    root, anchor_root = _weighted_roots(bundle, residuals, anchored, in_front)
    by_point = root @ by_camera @ to_camera
    moved = bundle.positions[points.anchor[seen.point]] - bundle.positions[seen.frame]
    by_depth = np.einsum("mri,mi->mr", by_point, moved)
    by_depth[:, 2] += root[:, 2, 2] * camera.focal_baseline * over_z
    by_pose = np.concatenate([-inverse_depth[:, None, None] * by_point, by_point @ hat(at)], axis=2)
    return Linearised(
        residuals=np.einsum("mij,mj->mi", root, residuals),
        by_pose=by_pose,
        by_depth=by_depth,
        anchor_residuals=anchor_root * anchored,
        anchor_by_depth=anchor_root * camera.focal_baseline,
        pixels=pixels,
    )


def _weighted_roots(
    bundle: Bundle, residuals: Array, anchored: Array, in_front: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Roots of the information (M, 3, 3) of the sightings and (P,) of the anchors, after re-weighting.

    All have one spread, that of the pixels in the left image. Disparities do not get one of their own: how little they
    scatter says nothing of the errors that all disparities of a surface share (`docs/performance.md`).
    """
    points, seen = bundle.points, bundle.sightings
    values = 2 * len(seen) + int(np.count_nonzero(points.disparity_root))
    spare = 1.0 - (len(points) + 6 * bundle.frames) / max(values, 1)
    # Fitted residuals are smaller than the noise, by the share that the unknowns have taken up.
    fitted = 1.0 / max(spare, 0.2)
    left = np.einsum("mij,mj->mi", seen.left_root, residuals[:, :2])
    squared = np.einsum("mi,mi->m", left, left)
    variance = fitted * robust_variance(squared[in_front], 2) if in_front.any() else 1.0
    left_weight = np.where(in_front, cauchy_weights(squared, variance, 2), 0.0)
    weight = _weights((seen.disparity_root * residuals[:, 2]) ** 2, variance, in_front & (seen.disparity_root > 0.0))
    anchor_weight = _weights((points.disparity_root * anchored) ** 2, variance, points.disparity_root > 0.0)
    root = np.zeros((len(seen), 3, 3))
    root[:, :2, :2] = np.sqrt(left_weight)[:, None, None] * seen.left_root
    root[:, 2, 2] = np.sqrt(weight) * seen.disparity_root
    return root, np.sqrt(anchor_weight) * points.disparity_root


def _weights(squared: Array, variance: float, valid: NDArray[np.bool_]) -> Array:
    return np.where(valid, cauchy_weights(squared, variance, 1), 0.0)


@dataclass(frozen=True)
class NormalEquations:
    """Of the poses, D = 6 K unknowns, and of P inverse depths."""

    matrix: Array
    """(D, D)"""
    gradient: Array
    """(D,)"""
    by_depth: Array
    """(P, D) mixed derivatives."""
    depth_matrix: Array
    """(P,) diagonal."""
    depth_gradient: Array
    """(P,)"""

    def reduced(self) -> tuple[Array, Array]:
        """Matrix and gradient with the inverse depths eliminated (Schur complement)."""
        share = self.by_depth / self.depth_matrix[:, None]
        return self.matrix - share.T @ self.by_depth, self.gradient - share.T @ self.depth_gradient

    def depth_steps(self, step: Array) -> Array:
        """(P,) for a step (D,) of the others."""
        return -(self.depth_gradient + self.by_depth @ step) / self.depth_matrix


def normal_equations(
    at: Linearised, bundle: Bundle, camera: WindowCamera, kept: NDArray[np.bool_] | None = None
) -> NormalEquations:
    """The normal equations of all sightings and anchors, or of the points (P,) that are kept."""
    points, seen = bundle.points, bundle.sightings
    frames, count = bundle.frames, len(points)
    matrix, gradient = np.zeros((6 * frames, 6 * frames)), np.zeros(6 * frames)
    rows = np.concatenate([at.by_pose, at.residuals[:, :, None]], axis=2)
    by_depth, anchor_by_depth = at.by_depth, at.anchor_by_depth
    if kept is not None:
        rows = rows * kept[seen.point][:, None, None]
        by_depth, anchor_by_depth = by_depth * kept[seen.point][:, None], anchor_by_depth * kept
    for start, end, frame, anchor in _runs(bundle):
        block = rows[start:end].reshape(-1, 7)
        product = block.T @ block
        own, other = slice(6 * frame, 6 * frame + 6), slice(6 * anchor, 6 * anchor + 6)
        matrix[own, own] += product[:6, :6]
        matrix[other, other] += product[:6, :6]
        matrix[own, other] -= product[:6, :6]
        matrix[other, own] -= product[:6, :6]
        gradient[own] += product[:6, 6]
        gradient[other] -= product[:6, 6]

    mixed = np.zeros((count, frames, 6))
    mixed[seen.point, seen.frame] = np.einsum("mri,mr->mi", rows[:, :, :6], by_depth)
    mixed[np.arange(count), points.anchor] = -mixed.sum(axis=1)
    depth_matrix = np.bincount(seen.point, np.einsum("mr,mr->m", by_depth, by_depth), count) + anchor_by_depth**2
    depth_gradient = np.bincount(seen.point, np.einsum("mr,mr->m", by_depth, rows[:, :, 6]), count)
    return NormalEquations(
        matrix=matrix,
        gradient=gradient,
        by_depth=mixed.reshape(count, -1),
        depth_matrix=depth_matrix + (camera.focal_baseline / _FREE_DISPARITY_PX) ** 2,
        depth_gradient=depth_gradient + anchor_by_depth * at.anchor_residuals,
    )


def _runs(bundle: Bundle) -> list[tuple[int, int, int, int]]:
    """Stretches of the sightings that share frame and anchor: start, end, frame, anchor."""
    seen = bundle.sightings
    anchor = bundle.points.anchor[seen.point]
    key = seen.frame * bundle.frames + anchor
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    ends = np.append(starts[1:], len(seen))
    return [(int(s), int(e), int(seen.frame[s]), int(anchor[s])) for s, e in zip(starts, ends, strict=True)]


def retract(bundle: Bundle, step: Array, depth_steps: Array, centre: Array) -> None:
    """Move the state by a step (D,) of the poses and by one (P,) of the inverse depths."""
    for frame, (shift, turn) in enumerate(step.reshape(-1, 2, 3)):
        position = bundle.positions[frame]
        bundle.positions[frame] = position + shift + np.cross(turn, position - centre)
        bundle.rotations[frame] = rotation_from_vector(turn) @ bundle.rotations[frame]
    bundle.points.inverse_depth = bundle.points.inverse_depth + depth_steps
