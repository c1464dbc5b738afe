"""Metres for one camera: from its known height over the ground that it sees.

A plane n X = h in the camera's frame is linear in inverse depths: with m = n / h and the ray r of a pixel (z = 1), the inverse
depth on it is m r. So the ground is fitted to the inverse depths of points, each weighed by how far an error of it moves the point in
the previous image (pixels are what is noisy), with the normal held upright to the motion, as a vehicle drives along its ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Camera
from subpx_ros.geometry import homogeneous, se3
from subpx_ros.scale.length import Length, LengthSource, UnitMotion

_HYPOTHESES = 200
_THRESHOLD_PX = 1.5
_LEAST_FLOW_PX = 3.0
"""A point closer to infinity than this says nothing of the plane."""
_LEAST_SLOPE = 0.03
"""Of a ray towards the ground, radians below the plane of motion."""
_LARGEST_TILT = 0.27
"""Tangent of the ground's roll against the camera, 15 degrees; beyond it is a wall or a bank."""
_PITCH_DEVIATION = 0.003
"""Standard deviation of the angle between the ground and the motion, radians: small, as points and ground share the error of
the motion's direction, and as otherwise far points would tilt the ground by their noise."""
_LEAST_INLIERS = 20
_MOST_BELOW = 0.25
"""Points below the plane per point on it: the ground has nothing below it, a table or the roofs of cars have."""
_LARGEST_DEVIATION = 0.15
"""Relative standard deviation of a height beyond which it is of no use."""
_UNEVENNESS = 0.1
"""Relative standard deviation of a height beside that of the fit: roads are not planes, and a motion's direction is known to
a degree or so (measured on KITTI, docs/performance.md)."""


@dataclass(frozen=True)
class ScaleEstimate:
    """What lengths are to be multiplied by to be in metres."""

    factor: float
    variance: float
    """Of the factor."""


class FromHeight(LengthSource):
    """From the ground that the camera sees. What it remembers is the speed, which changes slowly."""

    def __init__(self, camera: Camera, height_m: float) -> None:
        """`height_m` of the camera over the ground."""
        self._camera = camera
        self._scale = GroundScale(camera, height_m)

    def rested(self) -> None:
        self._scale.reset()

    def length(self, motion: UnitMotion) -> Length:
        # With the duration as its length, the factor of a motion is the speed: a longer interval does not change it.
        seconds = motion.seconds
        T_timed = se3(motion.T_reference_current[:3, :3], seconds * motion.direction)
        rays0, rays1 = (homogeneous(self._camera.normalise(pixels)) for pixels in (motion.pixels0, motion.pixels1))
        found = self._scale.update(points_of_pair(rays0, rays1, T_timed), motion.pixels1, T_timed)
        if found is None:
            return Length(reason="no ground is seen, nor was lately")
        return Length(seconds * found.factor, seconds**2 * found.variance)


class GroundScale:
    """The scale of a camera's motion from frame to frame. It changes slowly; what does not fit that is left out."""

    _GATE = 4.0
    """Standard deviations."""
    _REFUSALS = 5
    """So many measurements in a row that do not fit begin anew."""

    def __init__(self, camera: Camera, height_m: float, drift: float = 0.03) -> None:
        """
        Args:
            camera: rectified.
            height_m: of the camera over the ground.
            drift: standard deviation of the relative change of the scale from one update to the next.
        """
        self._camera, self._height_m, self._drift = camera, height_m, drift
        self.reset()

    def reset(self) -> None:
        """Forget the scale."""
        self._logarithm, self._variance, self._refused = 0.0, np.inf, 0

    def update(self, points: Array, pixels: Array, T_previous_current: Array) -> ScaleEstimate | None:
        """The scale at a frame, from its own ground and from those before.

        Args:
            points: (N, 3) in the current camera, in the unit whose size is asked for; NaN where unknown.
            pixels: (N, 2) where the current camera sees them.
            T_previous_current: (4, 4) the motion that they were triangulated with, in the same unit.

        Returns:
            None while there is no scale: no ground was seen yet, or none for so long that the scale may be another one.
        """
        self._variance += self._drift**2
        found = ground_height(points, pixels, T_previous_current, self._camera)
        if found is not None:
            height, deviation = found
            self._measured(float(np.log(self._height_m / height)), (deviation / height) ** 2 + _UNEVENNESS**2)
        if self._variance > _LARGEST_DEVIATION**2:
            return None
        factor = float(np.exp(self._logarithm))
        return ScaleEstimate(factor, factor**2 * self._variance)

    def _measured(self, logarithm: float, variance: float) -> None:
        innovation, total = logarithm - self._logarithm, self._variance + variance
        if np.isfinite(total) and innovation**2 > self._GATE**2 * total:
            self._refused += 1
            if self._refused < self._REFUSALS:
                return
            self._variance = np.inf
        self._refused = 0
        gain = 1.0 if np.isinf(self._variance) else self._variance / total
        self._logarithm += gain * innovation
        self._variance = variance if np.isinf(self._variance) else self._variance * (1.0 - gain)


def ground_height(
    points: Array, pixels: Array, T_previous_current: Array, camera: Camera
) -> tuple[float, float] | None:
    """Height of the camera over the ground and its standard deviation, in the unit of the points.

    Args:
        points: (N, 3) in the current camera; NaN where unknown.
        pixels: (N, 2) where it sees them.
        T_previous_current: (4, 4).
        camera: of both frames, looking about level and about along the ground.

    Returns:
        None where no plane below the camera, upright to the motion, explains the lowest points.
    """
    length = float(np.linalg.norm(T_previous_current[:3, 3]))
    if length < 1e-9:
        return None
    forward = T_previous_current[:3, :3].T @ T_previous_current[:3, 3] / length
    down = np.array([0.0, 1.0, 0.0]) - forward[1] * forward
    if np.linalg.norm(down) < 0.5:
        return None
    down /= np.linalg.norm(down)
    seen = np.isfinite(points).all(axis=1) & (points[:, 2] > 0.0)
    rays = np.column_stack([camera.normalise(pixels[seen]), np.ones(np.count_nonzero(seen))])
    inverse = 1.0 / points[seen, 2]
    lever = _pixels_per_inverse_depth(rays, inverse, T_previous_current, camera)
    usable = (rays @ down > _LEAST_SLOPE * np.linalg.norm(rays, axis=1)) & (lever * inverse > _LEAST_FLOW_PX)
    rays, inverse, lever = rays[usable], inverse[usable], lever[usable]
    if len(rays) < _LEAST_INLIERS:
        return None
    first = _consensus(rays, inverse, lever, down, np.cross(forward, down))
    return None if first is None else _fitted(rays, inverse, lever, forward, down, first)


def _pixels_per_inverse_depth(rays: Array, inverse: Array, T_previous_current: Array, camera: Camera) -> Array:
    """How far (N,) a point moves in the previous image per change of its inverse depth."""
    t = T_previous_current[:3, 3]
    q = rays @ T_previous_current[:3, :3].T + inverse[:, None] * t
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (t[:2] * q[:, 2:] - q[:, :2] * t[2]) / q[:, 2:] ** 2 * [camera.fx, camera.fy]
    lever: Array = np.linalg.norm(slope, axis=1)
    return np.where(q[:, 2] > 0.0, lever, 0.0)


def _consensus(rays: Array, inverse: Array, lever: Array, down: Array, side: Array) -> Array | None:
    """The plane m (3,) upright to the motion that most points lie on, less those below it; from pairs of points."""
    basis = np.stack([rays @ down, rays @ side], axis=1)
    pairs = np.random.default_rng(0).integers(0, len(rays), (_HYPOTHESES, 2))
    systems = basis[pairs]
    solvable = np.abs(np.linalg.det(systems)) > 1e-6
    weights = np.linalg.solve(systems[solvable], inverse[pairs[solvable]][..., None])[..., 0]
    weights = weights[(weights[:, 0] > 0.0) & (np.abs(weights[:, 1]) < _LARGEST_TILT * weights[:, 0])]
    if not len(weights):
        return None
    above_px = lever * (inverse - weights @ basis.T)
    score = (np.abs(above_px) < _THRESHOLD_PX).sum(axis=1) - (above_px < -2.0 * _THRESHOLD_PX).sum(axis=1)
    best = weights[int(np.argmax(score))]
    return np.asarray(best[0] * down + best[1] * side)


def _fitted(
    rays: Array, inverse: Array, lever: Array, forward: Array, down: Array, plane: Array
) -> tuple[float, float] | None:
    """Height and deviation after a robust fit of the plane from where `plane` is, judged by what lies on and below it."""
    sigma_px = 0.5 * _THRESHOLD_PX
    for _ in range(8):
        above_px = lever * (inverse - rays @ plane)
        on = np.abs(above_px) < 3.0 * sigma_px
        if np.count_nonzero(on) < _LEAST_INLIERS:
            return None
        robust: Array = on / (1.0 + (above_px / sigma_px) ** 2)
        upright = forward * np.linalg.norm(plane) ** -1 / _PITCH_DEVIATION
        rows = rays * lever[:, None] / sigma_px
        information = (rows * robust[:, None]).T @ rows + np.outer(upright, upright)
        plane = np.asarray(np.linalg.solve(information, (rows * robust[:, None]).T @ (inverse * lever / sigma_px)))
        sigma_px = float(np.clip(1.4826 * np.median(np.abs(above_px[on])), 0.1, _THRESHOLD_PX))
    height = 1.0 / float(np.linalg.norm(plane))
    normal = plane * height
    deviation = height**2 * float(np.sqrt(normal @ np.linalg.solve(information, normal)))
    below = int(np.count_nonzero(above_px < -4.0 * sigma_px))
    if not _is_ground(normal, down, int(np.count_nonzero(on)), below) or deviation > _LARGEST_DEVIATION * height:
        return None
    return height, deviation


def _is_ground(normal: Array, down: Array, on: int, below: int) -> bool:
    upright = float(normal @ down) > 1.0 / np.hypot(1.0, _LARGEST_TILT)
    return upright and below <= _MOST_BELOW * on


def points_of_pair(rays0: Array, rays1: Array, T_0_1: Array) -> Array:
    """Points (M, 3) in camera 1 of rays (M, 3), z = 1, of two cameras; NaN where they do not meet ahead.

    The inverse depth is the one that brings the ray of camera 1 nearest to that of camera 0.
    """
    turned, t = rays1 @ T_0_1[:3, :3].T, T_0_1[:3, 3]
    apart, along = np.cross(rays0, turned), np.cross(rays0, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = -np.einsum("mi,mi->m", apart, along) / np.einsum("mi,mi->m", along, along)
        points: Array = rays1 / inverse[:, None]
    ahead: NDArray[np.bool_] = np.isfinite(inverse) & (inverse > 0.0)
    return np.where(ahead[:, None], points, np.nan)
