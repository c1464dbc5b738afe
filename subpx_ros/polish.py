"""Non-linear polish of a relative pose on its inliers, with covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from subpx_ros.crowding import times_counted
from subpx_ros.datatypes import Array, Rig, RightCentreEffect
from subpx_ros.geometry import (
    essential_matrix,
    hat,
    homogeneous,
    invert,
    rotation_from_vector,
    se3,
    transform_points,
)
from subpx_ros.least_squares import SETTLED, Linearised, Prior, inverse_symmetric, minimise, with_shared_errors
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import MINIMUM_DEPTH_M, StereoPoints, triangulate

_DISPARITIES_ALIKE = 0.6
"""Correlation of the errors of a point's disparity in two frames: both compare the same surface, seen from nearly the same place.
0.5 to 0.8 on exact data, street and highway, near and far. See docs/performance.md."""
_LEAST_DISPARITY_PX = 0.01
"""Points are not farther than this; their disparity is noise, and with the right principal point it may turn negative."""


def polish_mono(
    T_0_1: Array,
    rays0: Array,
    rays1: Array,
    covariances: tuple[Array, Array] | None = None,
    counted: Array | None = None,
) -> tuple[Array, Array] | None:
    """Least Sampson distance over rotation and direction of translation.

    Args:
        T_0_1: initial pose of camera 1 in camera 0.
        rays0: inliers (M, 2) in normalised coordinates of camera 0.
        rays1: the same of camera 1.
        covariances: (M, 2, 2) of rays0 and of rays1, up to one common factor; None: all alike.
        counted: (M,) how often the error of each match is, as `times_counted` has it; None: once.

    Returns:
        The pose, translation of unit length, and its covariance (6, 6) as RelativePose defines it; None where the
        rays do not determine it.
    """

    def retract(state: Array, step: Array) -> Array:
        moved = state[:3, 3] + _tangent_basis(state[:3, 3]) @ step[:2]
        return se3(rotation_from_vector(step[2:]) @ state[:3, :3], moved / np.linalg.norm(moved))

    pixels0, pixels1 = homogeneous(rays0), homogeneous(rays1)

    def linearise(state: Array) -> Linearised:
        distance, jacobian = _sampson_linearised(state, pixels0, pixels1)
        variance = _sampson_variance(essential_matrix(state), (rays0, rays1), covariances) if covariances else likely
        return Linearised(distance[:, None], jacobian[:, None], 1.0 / variance[:, None, None])

    likely = np.full(len(rays0), 1e-6)
    T_0_1 = se3(T_0_1[:3, :3], T_0_1[:3, 3] / np.linalg.norm(T_0_1[:3, 3]))
    solved = minimise(linearise, retract, T_0_1)
    if solved is None:
        return None
    T_0_1, covariance = solved
    if counted is not None:
        covariance = with_shared_errors(covariance, linearise(T_0_1), counted)
    basis = _tangent_basis(T_0_1[:3, 3])
    spread = np.zeros((6, 5))
    spread[:3, :2], spread[3:, 2:] = basis, np.eye(3)
    return T_0_1, spread @ covariance @ spread.T


def _sampson_linearised(T_0_1: Array, rays0: Array, rays1: Array) -> tuple[Array, Array]:
    """Sampson distance (M,) of homogeneous rays (M, 3) of either view, and its derivative (M, 5) by a step of the pose."""
    direction, to_1 = T_0_1[:3, 3], T_0_1[:3, :3].T
    E = -to_1 @ hat(direction)
    by_step = np.concatenate([-to_1 @ hat(_tangent_basis(direction).T), to_1 @ hat(np.eye(3)) @ hat(direction)])
    line1, line0 = rays0 @ E.T, rays1 @ E
    line1_by_step = (rays0 @ by_step.transpose(2, 0, 1).reshape(3, -1)).reshape(-1, 5, 3)
    line0_by_step = (rays1 @ by_step.transpose(1, 0, 2).reshape(3, -1)).reshape(-1, 5, 3)
    gradient = np.sqrt((line1[:, :2] ** 2 + line0[:, :2] ** 2).sum(axis=1))
    distance = (rays1 * line1).sum(axis=1) / gradient
    algebraic_by_step = (line1_by_step @ rays1[:, :, None])[:, :, 0]
    gradient_by_step = sum(
        (by[:, :, :2] @ line[:, :2, None])[:, :, 0] for by, line in ((line1_by_step, line1), (line0_by_step, line0))
    )
    return distance, (algebraic_by_step - distance[:, None] * gradient_by_step / gradient[:, None]) / gradient[:, None]


def _sampson_variance(E: Array, rays: tuple[Array, Array], covariances: tuple[Array, Array]) -> Array:
    """Variance (M,) of the Sampson distance of rays (M, 2) of either view with covariances (M, 2, 2), first order."""
    lines = (homogeneous(rays[1]) @ E)[:, :2], (homogeneous(rays[0]) @ E.T)[:, :2]
    spread = sum(np.einsum("mi,mij,mj->m", *parts) for parts in zip(lines, covariances, lines, strict=True))
    return np.asarray(spread / (lines[0] ** 2 + lines[1] ** 2).sum(axis=1))


def _tangent_basis(direction: Array) -> Array:
    """(3, 2) orthonormal vectors across a unit vector."""
    first = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    first /= np.linalg.norm(first)
    return np.column_stack([first, np.cross(direction, first)])


@dataclass(frozen=True)
class StereoPolish:
    """Result of `polish_stereo`."""

    T_0_1: Array
    """(4, 4), metres."""
    covariance: Array
    """(6, 6) as RelativePose defines it."""
    right_centre: RightCentre
    """What this pair alone, with what was known before, says of the right camera's principal point."""
    effect: RightCentreEffect
    """Of what was known before."""


@dataclass(frozen=True)
class _StereoState:
    T_0_1: Array
    right_shift: float


def polish_stereo(
    T_0_1: Array,
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    right_centre: RightCentre,
    settled: float = SETTLED,
    neighbours_err_alike: bool = True,
) -> StereoPolish | None:
    """Least reprojection error in the current pair, each point weighted by the uncertainty of its triangulation.

    Args:
        T_0_1: initial pose of the current rig in the reference one, metres.
        reference: inliers (M) as seen by the reference pair, all with disparity.
        current: the same as seen by the current pair, with disparity where there is one.
        rig: the cameras as calibrated.
        right_centre: what is known of the right camera's principal point; it is estimated along.
        settled: as `minimise` has it.
        neighbours_err_alike: whether the covariance counts that; it takes time, and the pose is the same.

    Returns:
        None where the points do not determine the motion.

    The noise of the reference pixels, of covariance R, reaches the residual through the point's depth, so the
    information of a residual is the inverse of C + J R J', with C the covariance of the current pixels and J its
    derivative by the reference ones: far points, whose depth is vague along the motion, lose weight just where they
    should. What both pairs misjudge of a surface's disparity alike is taken from that sum (`_DISPARITIES_ALIKE`). Points
    without covariances carry equal independent noise.
    """
    stereo = np.isfinite(current.disparity)
    observed = np.column_stack([current.left, current.left[:, 0] - current.disparity])
    # An unseen right coordinate has neither residual nor derivative, and a variance that keeps the arithmetic finite.
    seen = np.ones((len(stereo), 3))
    seen[~stereo, 2] = 0.0
    alike = np.broadcast_to(np.eye(3), (len(stereo), 3, 3))
    noise0, noise1 = (alike if each.covariance is None else each.covariance for each in (reference, current))
    shared = _DISPARITIES_ALIKE * np.where(
        stereo, np.sqrt(_disparity_variance(noise0) * _disparity_variance(noise1)), 0.0
    )

    def information_at(state: _StereoState) -> Array:
        rig_at, T_1_0 = RightCentre(state.right_shift).applied_to(rig), invert(state.T_0_1)
        points = _triangulate_all(reference, rig_at)
        _, by_point = _project_stereo(_in_front(transform_points(T_1_0, points)), rig_at)
        by_reference = _by_rows(by_point, T_1_0[:3, :3]) @ _points_by_pixels(points, rig_at)
        covariance = noise1 + by_reference @ noise0 @ by_reference.transpose(0, 2, 1)
        alike_errors = shared[:, None] * by_reference[:, :, 2]
        covariance[:, :, 2] -= alike_errors
        covariance[:, 2, :] -= alike_errors
        covariance[~stereo, 2] = covariance[~stereo, :, 2] = [0.0, 0.0, 1.0]
        return inverse_symmetric(covariance)

    # It hardly changes over the few steps from a start that is near the pose.
    information = information_at(_StereoState(T_0_1, right_centre.shift_px))

    def linearise(state: _StereoState) -> Linearised:
        rig_at, T_1_0 = RightCentre(state.right_shift).applied_to(rig), invert(state.T_0_1)
        points = _triangulate_all(reference, rig_at)
        predicted, by_moved = _project_stereo(_in_front(transform_points(T_1_0, points)), rig_at)
        by_point = _by_rows(by_moved, T_1_0[:3, :3])
        # A step (translation, rotation) of T_0_1 in the reference axes moves a point as seen from there by its opposite.
        arm = (points - state.T_0_1[:3, 3])[:, None]
        by_shift = (by_point @ _points_by_disparity(points, rig_at)[:, :, None])[:, :, 0] + [0.0, 0.0, 1.0]
        jacobian = np.concatenate([-by_point, _cross(by_point, arm), by_shift[:, :, None]], axis=2) * seen[:, :, None]
        return Linearised(np.where(seen > 0, predicted - observed, 0.0), jacobian, information)

    def retract(state: _StereoState, step: Array) -> _StereoState:
        rotation = rotation_from_vector(step[3:6]) @ state.T_0_1[:3, :3]
        return _StereoState(se3(rotation, state.T_0_1[:3, 3] + step[:3]), state.right_shift + step[6])

    def deviation(state: _StereoState) -> Array:
        return np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, state.right_shift - right_centre.shift_px])

    prior = Prior(deviation, np.diag([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0 / right_centre.variance_px2]))
    solved = minimise(linearise, retract, _StereoState(T_0_1, right_centre.shift_px), prior, settled=settled)
    if solved is None:
        return None
    state, covariance = solved
    centre = RightCentre(state.right_shift, float(covariance[6, 6]))
    by_shift = covariance[:6, 6] / right_centre.variance_px2
    effect = RightCentreEffect(by_shift, right_centre.disparity_variance_px2)
    unseen = (effect.variance_px2 - right_centre.variance_px2) * np.outer(by_shift, by_shift)
    if neighbours_err_alike:
        covariance = with_shared_errors(covariance, linearise(state), times_counted(reference.left))
    return StereoPolish(state.T_0_1, covariance[:6, :6] + unseen, centre, effect)


def _disparity_variance(covariance: Array) -> Array:
    """(M,) px^2 from (M, 3, 3) of left x, left y and right x, less what left and right point have in common; 0 where that is all
    or nothing is known."""
    return np.nan_to_num(np.maximum(covariance[:, 2, 2] - covariance[:, 0, 0], 0.0))


def _triangulate_all(points: StereoPoints, rig: Rig) -> Array:
    """Points (M, 3), those at infinity or beyond it very far away."""
    assert rig.right is not None
    least = rig.left.cx - rig.right.cx + _LEAST_DISPARITY_PX
    return triangulate(replace(points, disparity=np.maximum(points.disparity, least)), rig)


def _project_stereo(points: Array, rig: Rig) -> tuple[Array, Array]:
    """Points (M, 3) to (left x, left y, right x) (M, 3), and the derivative (M, 3, 3) by the point."""
    assert rig.right is not None and rig.baseline_m is not None
    x, y, z = points.T
    left, right = rig.left, rig.right
    pixels = np.column_stack(
        [
            left.fx * x / z + left.cx,
            left.fy * y / z + left.cy,
            left.fx * (x - rig.baseline_m) / z + right.cx,
        ]
    )
    by_point = np.zeros((len(points), 3, 3))
    by_point[:, 0, 0] = by_point[:, 2, 0] = left.fx / z
    by_point[:, 1, 1] = left.fy / z
    by_point[:, 0, 2] = -left.fx * x / z**2
    by_point[:, 1, 2] = -left.fy * y / z**2
    by_point[:, 2, 2] = -left.fx * (x - rig.baseline_m) / z**2
    return pixels, by_point


def _points_by_pixels(points: Array, rig: Rig) -> Array:
    """Derivatives (M, 3, 3) of triangulated points by (left x, left y, right x)."""
    by_disparity, depth = _points_by_disparity(points, rig), points[:, 2]
    derivative = np.zeros((len(points), 3, 3))
    derivative[:, 0, 0] = depth / rig.left.fx
    derivative[:, 1, 1] = depth / rig.left.fy
    derivative[:, :, 0] += by_disparity
    derivative[:, :, 2] = -by_disparity
    return derivative


def _points_by_disparity(points: Array, rig: Rig) -> Array:
    """Derivatives (M, 3) of triangulated points by their disparity."""
    assert rig.baseline_m is not None
    return np.asarray(-points * (points[:, 2:] / (rig.left.fx * rig.baseline_m)))


def _in_front(points: Array) -> Array:
    """Points (M, 3), those behind the camera right before it."""
    points[:, 2] = np.maximum(points[:, 2], MINIMUM_DEPTH_M)
    return points


def _by_rows(matrices: Array, common: Array) -> Array:
    """Matrices (M, 3, 3) times a common one (3, 3), as one product."""
    return np.asarray((matrices.reshape(-1, 3) @ common).reshape(matrices.shape))


def _cross(rows: Array, vectors: Array) -> Array:
    """Cross products of rows (M, 3, 3) with vectors (M, 1, 3); np.cross takes five times as long."""
    (x, y, z), (u, v, w) = np.moveaxis(rows, 2, 0), np.moveaxis(vectors, 2, 0)
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=2)
