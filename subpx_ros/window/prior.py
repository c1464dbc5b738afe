"""What is left of the frames and points that the window has given up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import hat, vector_from_rotation
from subpx_ros.window.bundle import Bundle


@dataclass(frozen=True)
class Prior:
    """A quadratic cost of the first K poses of a bundle, D = 6 K unknowns, about the state it was made at."""

    matrix: Array
    """(D, D) information."""
    gradient: Array
    """(D,)"""
    rotations: Array
    """(K, 3, 3)"""
    positions: Array
    """(K, 3)"""
    centre: Array
    """(3,) of the turns that the matrix is about."""

    @classmethod
    def of_first_frame(cls, T_window_camera: Array, deviations: Array) -> Prior:
        """The only frame lies at T_window_camera (4, 4), its position and turn with standard deviations (6,)."""
        rotation, position = T_window_camera[None, :3, :3].copy(), T_window_camera[None, :3, 3].copy()
        return cls(np.diag(deviations**-2.0), np.zeros(6), rotation, position, T_window_camera[:3, 3].copy())

    def about(self, centre: Array) -> Prior:
        """The same cost for turns about another centre (3,), which shift a frame by what the lever adds."""
        lever = np.eye(6)
        lever[:3, 3:] = hat(centre - self.centre)
        change = np.eye(len(self.gradient))
        for frame in range(len(self.positions)):
            own = slice(6 * frame, 6 * frame + 6)
            change[own, own] = lever
        matrix, gradient = change.T @ self.matrix @ change, change.T @ self.gradient
        return Prior(matrix, gradient, self.rotations, self.positions, centre)

    def at(self, bundle: Bundle) -> tuple[Array, Array]:
        """Matrix and gradient (D of the bundle) at its state; frames that came later are free."""
        deviation = np.zeros(len(self.gradient))
        for frame in range(len(self.positions)):
            turn = vector_from_rotation(bundle.rotations[frame] @ self.rotations[frame].T)
            shift = bundle.positions[frame] - self.positions[frame]
            deviation[6 * frame : 6 * frame + 3] = shift - np.cross(turn, self.positions[frame] - self.centre)
            deviation[6 * frame + 3 : 6 * frame + 6] = turn
        size, known = 6 * bundle.frames, slice(0, len(self.gradient))
        matrix, gradient = np.zeros((size, size)), np.zeros(size)
        matrix[known, known] = self.matrix
        gradient[known] = self.gradient + self.matrix @ deviation
        return matrix, gradient


def without_frame(prior: Prior, frame: int) -> Prior:
    """The prior that is left when a frame's pose is of no more interest (Schur complement)."""
    size = len(prior.gradient)
    gone = np.arange(6 * frame, 6 * frame + 6)
    kept = np.setdiff1d(np.arange(size), gone)
    information = prior.matrix[np.ix_(gone, gone)]
    spread = np.sqrt(np.diagonal(information))
    # Metres and radians of very different certainty stand beside each other, or nothing is known of them at all.
    scale = np.divide(1.0, spread, out=np.zeros(6), where=spread > 0.0)
    inverse = np.linalg.pinv(information * np.outer(scale, scale), hermitian=True) * np.outer(scale, scale)
    share = prior.matrix[np.ix_(kept, gone)] @ inverse
    reduced = prior.matrix[np.ix_(kept, kept)] - share @ prior.matrix[np.ix_(gone, kept)]
    return replace(
        prior,
        matrix=0.5 * (reduced + reduced.T),
        gradient=prior.gradient[kept] - share @ prior.gradient[gone],
        rotations=np.delete(prior.rotations, frame, axis=0),
        positions=np.delete(prior.positions, frame, axis=0),
    )
