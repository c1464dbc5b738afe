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
from subpx_ros.geometry import rotation_from_vector
from subpx_ros.least_squares import cauchy_weights, robust_variance
from subpx_ros.window.bundle import Bundle, WindowCamera

_NEAREST = 1e-6
"""A point that is less far in front of a frame, in units of its distance from the anchor, is not seen."""
_SMALL_PRODUCT = 2**17
"""Multiplications: OpenBLAS shares larger products with threads of its own, which wait for each other where others compute."""
_FREE_DISPARITY_PX = 20.0
"""Nothing is known of a distance before; this much, by which a step is damped, is next to nothing."""


@dataclass(frozen=True)
class Linearised:
    """M sightings and P anchors at a state, everything whitened and weighted: unit noise."""

    rows: Array
    """(7, 3, M) of the residuals left x, left y, disparity: by a step of the frame that sees the point (6; by one of the
    anchor it is the opposite), and the residuals themselves."""
    by_depth: Array
    """(3, M) by the inverse depth."""
    anchor_residuals: Array
    """(P,) disparity in the anchor."""
    anchor_by_depth: Array
    """(P,)"""
    pixels: Array
    """(M,) distance in the left image, neither whitened nor weighted; inf where the point is not in front."""
    variance: float
    """Of whitened residuals, before weighting: what their predicted noise was found to be wrong by."""

    @property
    def residuals(self) -> Array:
        """(M, 3): left x, left y, disparity."""
        return self.rows[6].T


def linearise(bundle: Bundle, camera: WindowCamera, centre: Array, variance: float | None = None) -> Linearised:
    """The residuals of all sightings.

    Args:
        bundle: the state.
        camera: of every frame.
        centre: (3,) of turns, in the window's frame.
        variance: of whitened residuals, where others than the bundle's tell it; None: from their own spread.
    """
    points, seen = bundle.points, bundle.sightings
    inverse_depth = points.inverse_depth[seen.point]
    # The point, seen from the centre and divided by its distance from the anchor: finite for points at infinity too.
    from_centre = (bundle.positions - centre).T
    anchor = points.anchor
    rays = np.einsum("aip,pi->ap", bundle.rotations.transpose(1, 2, 0)[:, :, anchor], points.ray)
    at = (rays + points.inverse_depth * from_centre[:, anchor])[:, seen.point]
    axes = bundle.rotations.transpose(2, 1, 0)[:, :, seen.frame]
    x, y, z = np.einsum("iam,am->im", axes, at - inverse_depth * from_centre[:, seen.frame])
    in_front = z > _NEAREST
    over_z = 1.0 / np.where(in_front, z, 1.0)
    x, y = x * over_z, y * over_z

    left = np.stack([camera.fx * x + camera.cx - seen.left[:, 0], camera.fy * y + camera.cy - seen.left[:, 1]])
    shift = camera.offset - bundle.right_shift
    disparity = camera.focal_baseline * inverse_depth * over_z + shift - seen.disparity
    anchored = camera.focal_baseline * points.inverse_depth + shift - points.disparity
    weights = _weights(bundle, left, disparity, anchored, in_front, variance)

    # Derivatives by the point, along the window's axes, and the residuals: (4, M) each.
    by_x = np.vstack([camera.fx * over_z * (axes[0] - x * axes[2]), left[:1]])
    by_y = np.vstack([camera.fy * over_z * (axes[1] - y * axes[2]), left[1:]])
    by_disparity = np.vstack([-camera.focal_baseline * inverse_depth * over_z**2 * axes[2], disparity[None]])
    root = np.sqrt(weights.left)
    rows = np.empty((7, 3, len(seen)))
    by_point = rows[3:]
    by_point[:, 0] = (root * seen.left_root[:, 0, 0]) * by_x + (root * seen.left_root[:, 0, 1]) * by_y
    by_point[:, 1] = (root * seen.left_root[:, 1, 1]) * by_y
    by_point[:, 2] = weights.disparity_root * by_disparity
    moved = bundle.positions.T[:, anchor[seen.point]] - bundle.positions.T[:, seen.frame]
    by_depth = np.einsum("arm,am->rm", by_point[:3], moved)
    by_depth[2] += weights.disparity_root * camera.focal_baseline * over_z
    np.multiply(by_point[:3], -inverse_depth, out=rows[:3])
    rows[3:6] = np.cross(by_point[:3], at[:, None], axis=0)
    return Linearised(
        rows,
        by_depth,
        weights.anchor_root * anchored,
        weights.anchor_root * camera.focal_baseline,
        np.where(in_front, np.hypot(*left), np.inf),
        weights.variance,
    )


@dataclass(frozen=True)
class _Weights:
    """What residuals are to be multiplied with, after re-weighting."""

    left: Array
    """(M,) the information of the left pixels."""
    disparity_root: Array
    """(M,) 1 / px."""
    anchor_root: Array
    """(P,) 1 / px."""
    variance: float


def _weights(
    bundle: Bundle,
    left: Array,
    disparity: Array,
    anchored: Array,
    in_front: NDArray[np.bool_],
    variance: float | None,
) -> _Weights:
    """Weights of the sightings' residuals, left (2, M) and disparity (M,), and of the anchors' (P,).

    All have one spread, that of the pixels in the left image. Disparities do not get one of their own: how little they
    scatter says nothing of the errors that all disparities of a surface share (`docs/performance.md`).
    """
    points, seen = bundle.points, bundle.sightings
    root = seen.left_root
    squared = (root[:, 0, 0] * left[0] + root[:, 0, 1] * left[1]) ** 2 + (root[:, 1, 1] * left[1]) ** 2
    if variance is None:
        values = 2 * len(seen) + int(np.count_nonzero(points.disparity_root))
        spare = 1.0 - (len(points) + 6 * bundle.frames) / max(values, 1)
        # Fitted residuals are smaller than the noise, by the share that the unknowns have taken up.
        fitted = 1.0 / max(spare, 0.2)
        variance = fitted * robust_variance(squared[in_front], 2) if in_front.any() else 1.0

    def weighted(root: Array, residuals: Array, valid: NDArray[np.bool_] | bool) -> Array:
        weight = cauchy_weights((root * residuals) ** 2, variance, 1)
        return np.where(valid, np.sqrt(weight) * root, 0.0)

    return _Weights(
        np.where(in_front, cauchy_weights(squared, variance, 2), 0.0),
        weighted(seen.disparity_root, disparity, in_front),
        weighted(points.disparity_root, anchored, True),
        variance,
    )


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
        size = len(self.gradient)
        matrix, share = self.matrix.copy(), self.by_depth / self.depth_matrix[:, None]
        part = max(8, _SMALL_PRODUCT // size**2)
        for start in range(0, len(share), part):
            chosen = slice(start, start + part)
            matrix -= share[chosen].T @ self.by_depth[chosen]
        return matrix, self.gradient - np.einsum("pd,p->d", share, self.depth_gradient)

    def depth_steps(self, step: Array) -> Array:
        """(P,) for a step (D,) of the others."""
        return -(self.depth_gradient + np.einsum("pd,d->p", self.by_depth, step)) / self.depth_matrix


def normal_equations(at: Linearised, bundle: Bundle, camera: WindowCamera) -> NormalEquations:
    """The normal equations of all sightings and anchors."""
    points, seen = bundle.points, bundle.sightings
    frames, count = bundle.frames, len(points)
    matrix, gradient = np.zeros((6 * frames, 6 * frames)), np.zeros(6 * frames)
    for start, end, frame, anchor in _runs(bundle):
        block = at.rows[:, :, start:end].reshape(7, -1)
        product = block[:6] @ block.T
        own, other = slice(6 * frame, 6 * frame + 6), slice(6 * anchor, 6 * anchor + 6)
        matrix[own, own] += product[:, :6]
        matrix[other, other] += product[:, :6]
        matrix[own, other] -= product[:, :6]
        matrix[other, own] -= product[:, :6]
        gradient[own] += product[:, 6]
        gradient[other] -= product[:, 6]

    by_depth = np.einsum("crm,rm->cm", at.rows, at.by_depth)
    mixed = np.zeros((count, frames, 6))
    mixed[seen.point, seen.frame] = by_depth[:6].T
    mixed[np.arange(count), points.anchor] = -mixed.sum(axis=1)
    depth_matrix = np.bincount(seen.point, (at.by_depth**2).sum(axis=0), count) + at.anchor_by_depth**2
    depth_gradient = np.bincount(seen.point, by_depth[6], count) + at.anchor_by_depth * at.anchor_residuals
    return NormalEquations(
        matrix=matrix,
        gradient=gradient,
        by_depth=mixed.reshape(count, -1),
        depth_matrix=depth_matrix + (camera.focal_baseline / _FREE_DISPARITY_PX) ** 2,
        depth_gradient=depth_gradient,
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
