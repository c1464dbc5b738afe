"""What a window knows: poses of its frames, points, and where the frames see them.

A point is seen first by its anchor, at a pixel that defines it, so that its distance from there is all that is unknown
(inverse depth: Civera, Davison, Montiel, IEEE T-RO 2008, with an anchor as in Engel, Koltun, Cremers, PAMI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Rig
from subpx_ros.geometry import se3
from subpx_ros.surfaces import patch_warps

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class WindowCamera:
    """The camera of every frame. With one camera the baseline is the unit of length, and disparities have no weight."""

    fx: float
    fy: float
    cx: float
    cy: float
    focal_baseline: float
    """Pixels times metres: the disparity of a point at distance 1."""
    offset: float
    """Pixels: the calibrated disparity of a point at infinity."""

    @classmethod
    def of(cls, rig: Rig) -> WindowCamera:
        left, right = rig.left, rig.right or rig.left
        baseline = 1.0 if rig.baseline_m is None else rig.baseline_m
        return cls(left.fx, left.fy, left.cx, left.cy, left.fx * baseline, left.cx - right.cx)


@dataclass
class Points:
    """P points by their anchors."""

    anchor: Indices
    """(P,) number of the frame."""
    feature: Indices
    """(P,) its number among the features of the anchor."""
    ray: Array
    """(P, 3) normalised image coordinates in the anchor, z = 1."""
    inverse_depth: Array
    """(P,) 1 / m."""
    disparity: Array
    """(P,) pixels, measured in the anchor; any value where it has no weight."""
    disparity_root: Array
    """(P,) square root of its information, 1 / px; 0 where there is none."""
    slope: Array
    """(P, 2) by how much the disparity grows in the anchor with each pixel to the right, and down."""
    depth_variance: Array
    """(P,) 1 / m^2, of the inverse depth, the poses given; inf before it was first estimated."""

    def __len__(self) -> int:
        return len(self.anchor)

    def select(self, kept: NDArray[np.generic]) -> Points:
        return Points(*(getattr(self, each.name)[kept] for each in fields(self)))

    def extended(self, other: Points) -> Points:
        return Points(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass
class Sightings:
    """M times that a frame other than its anchor saw a point."""

    point: Indices
    """(M,)"""
    frame: Indices
    """(M,)"""
    left: Array
    """(M, 2) pixels."""
    left_root: Array
    """(M, 2, 2) upper triangular U, 1 / px, with U'U the information of `left`."""
    disparity: Array
    """(M,) pixels; any value where it has no weight."""
    disparity_root: Array
    """(M,) as that of points."""

    def __len__(self) -> int:
        return len(self.point)

    def select(self, kept: NDArray[np.generic]) -> Sightings:
        return Sightings(*(getattr(self, each.name)[kept] for each in fields(self)))

    def extended(self, other: Sightings) -> Sightings:
        return Sightings(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass
class Bundle:
    """The unknowns and what was seen of them."""

    rotations: Array
    """(K, 3, 3) of T_window_camera, oldest frame first."""
    positions: Array
    """(K, 3) of T_window_camera, metres."""
    right_shift: float
    """Pixels by which the right principal point lies beside its calibrated place: given, see `sliding_window`."""
    points: Points
    sightings: Sightings
    """Sorted by frame, then by anchor."""

    @property
    def frames(self) -> int:
        return len(self.positions)

    def pose(self, frame: int) -> Array:
        """T_window_camera (4, 4)."""
        return se3(self.rotations[frame], self.positions[frame])

    def warps(self, camera: WindowCamera, point: Indices) -> Array:
        """Of points (M,), from the newest frame to their anchors: (M, 3, 2), see `surfaces.patch_warps`."""
        points = self.points.select(point)
        to_newest = self.rotations[-1].T
        rotation = to_newest @ self.rotations[points.anchor]
        moved = (self.positions[points.anchor] - self.positions[-1]) @ to_newest.T
        there = np.einsum("mij,mj->mi", rotation, points.ray) + points.inverse_depth[:, None] * moved
        by_pixel = rotation[:, :, :2] / [camera.fx, camera.fy]
        by_pixel += moved[:, :, None] * (points.slope / camera.focal_baseline)[:, None]
        return patch_warps(there, by_pixel, (camera.fx, camera.fy))

    def part(self, kept: NDArray[np.bool_]) -> Bundle:
        """The points (P,) that are kept, with their sightings, in the same frames."""
        number = np.cumsum(kept) - 1
        sightings = self.sightings.select(kept[self.sightings.point])
        sightings.point = number[sightings.point]
        return Bundle(self.rotations, self.positions, self.right_shift, self.points.select(kept), sightings)

    def sort(self) -> None:
        """Bring the sightings into order."""
        seen = self.sightings
        self.sightings = seen.select(np.lexsort((seen.point, self.points.anchor[seen.point], seen.frame)))


def empty_bundle(T_window_camera: Array, right_shift: float) -> Bundle:
    """One frame that sees nothing yet."""
    none, nothing = np.zeros(0, dtype=np.intp), np.zeros(0)
    points = Points(none, none, np.zeros((0, 3)), nothing, nothing, nothing, np.zeros((0, 2)), nothing)
    sightings = Sightings(none, none, np.zeros((0, 2)), np.zeros((0, 2, 2)), nothing, nothing)
    return Bundle(
        T_window_camera[None, :3, :3].copy(), T_window_camera[None, :3, 3].copy(), right_shift, points, sightings
    )


def information_root(covariance: Array) -> Array:
    """Upper triangular U (M, 2, 2) with U'U the inverse of covariances (M, 2, 2)."""
    a, b, c = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    root = np.zeros_like(covariance)
    left_over = a - b * b / c
    root[:, 0, 0] = 1.0 / np.sqrt(left_over)
    root[:, 0, 1] = -b / c * root[:, 0, 0]
    root[:, 1, 1] = 1.0 / np.sqrt(c)
    return root
