"""Gauss-Newton over a window: the poses and, eliminated on the way, the points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import hat
from subpx_ros.least_squares import determined
from subpx_ros.window.bundle import Bundle, WindowCamera
from subpx_ros.window.normal import Linearised, linearise, normal_equations, retract
from subpx_ros.window.prior import Prior

ITERATIONS = 2
"""At most: a window starts where it ended a frame before, so that few are enough, and their number bounds the time."""
_TOLERANCE = 5e-3
"""Metres and radians: a step this small is the last. What is left to go is of second order, and the next frame goes it."""


@dataclass(frozen=True)
class Solution:
    """What the last iteration knew."""

    at: Linearised
    covariance: Array
    """(D, D) of the poses."""
    depth_variance: Array
    """(P,) of the inverse depths, the poses given."""
    centre: Array
    """(3,) of the turns that the covariance is about."""

    def of_pose(self, bundle: Bundle, frame: int) -> Array:
        """(6, 6) of a frame's pose: a small motion of its camera in the window's axes."""
        own = slice(6 * frame, 6 * frame + 6)
        lever = np.eye(6)
        lever[:3, 3:] = -hat(bundle.positions[frame] - self.centre)
        return np.asarray(lever @ self.covariance[own, own] @ lever.T)

    def of_relative_pose(self, bundle: Bundle, reference: int, current: int) -> Array:
        """(6, 6) of the current camera in the reference one, in the axes of the latter."""
        own, other = (slice(6 * frame, 6 * frame + 6) for frame in (current, reference))
        joint = self.covariance
        step = joint[own, own] + joint[other, other] - joint[own, other] - joint[other, own]
        lever = np.eye(6)
        lever[:3, 3:] = -hat(bundle.positions[current] - self.centre)
        turn = np.kron(np.eye(2), bundle.rotations[reference].T) @ lever
        return np.asarray(turn @ step @ turn.T)


def solve(bundle: Bundle, camera: WindowCamera, prior: Prior) -> Solution | None:
    """Move the bundle to the least cost; None where it does not determine the poses, which are then of no use."""
    centre = bundle.positions[-1].copy()
    prior = prior.about(centre)
    for iteration in range(ITERATIONS):
        at = linearise(bundle, camera, centre)
        equations = normal_equations(at, bundle, camera)
        matrix, gradient = equations.reduced()
        known, pull = prior.at(bundle)
        matrix, gradient = matrix + known, gradient + pull
        if iteration == 0 and not determined(matrix):
            return None
        step = -_solved(matrix, gradient)
        retract(bundle, step, equations.depth_steps(step), centre)
        if np.max(np.abs(step)) < _TOLERANCE:
            break
    if not np.all(np.isfinite(bundle.positions)):
        return None
    return Solution(at, _solved(matrix, np.eye(len(matrix))), 1.0 / equations.depth_matrix, centre)


def marginalised(bundle: Bundle, camera: WindowCamera, prior: Prior, variance: float) -> Prior:
    """What a bundle's points say of its frames, which they will say no more of, beside what is known already.

    Args:
        bundle: with the points in question alone, at a state that fits them.
        camera: of every frame.
        prior: what is known already.
        variance: of whitened residuals.
    """
    centre = bundle.positions[-1].copy()
    at = linearise(bundle, camera, centre, variance)
    matrix, gradient = normal_equations(at, bundle, camera).reduced()
    known, pull = prior.about(centre).at(bundle)
    return Prior(matrix + known, gradient + pull, bundle.rotations.copy(), bundle.positions.copy(), centre)


def _solved(matrix: Array, right: Array) -> Array:
    """The solution of a symmetric system whose unknowns have different units."""
    scale = 1.0 / np.sqrt(np.diagonal(matrix))
    scaled = matrix * np.outer(scale, scale)
    sides = scale[:, None] if right.ndim == 2 else scale
    return np.asarray(sides * np.linalg.solve(scaled, sides * right))
