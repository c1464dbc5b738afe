"""From an essential matrix to the pose that puts the points before both cameras."""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import homogeneous, invert, sampson_distance, se3

_QUARTER_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def pose_from_essential(E: Array, rays0: Array, rays1: Array) -> Array | None:
    """T_0_1 (4, 4) with a translation of unit length; Hartley and Zisserman, 2nd edition, result 9.19.

    Args:
        E: (3, 3) with x1' E x0 = 0, of any scale; the nearest matrix with two equal singular values is taken.
        rays0: (M, 2) matched normalised coordinates. The better half, by Sampson distance, decides between the four
            poses that share E, so that wrong matches have no say as long as they are the fewer ones.
        rays1: (M, 2)

    Returns:
        None where no point lies before both cameras of any of them.
    """
    distance = np.abs(sampson_distance(E, rays0, rays1))
    better = distance <= np.median(distance)
    u, _, vt = np.linalg.svd(E)
    u, vt = u * np.sign(np.linalg.det(u)), vt * np.sign(np.linalg.det(vt))
    candidates = [se3(u @ turn @ vt, sign * u[:, 2]) for turn in (_QUARTER_TURN, _QUARTER_TURN.T) for sign in (1, -1)]
    visible = [_before_both(T_1_0, rays0[better], rays1[better]) for T_1_0 in candidates]
    best = int(np.argmax(visible))
    return invert(candidates[best]) if visible[best] > 0 else None


def _before_both(T_1_0: Array, rays0: Array, rays1: Array) -> int:
    """How many points lie before both cameras: signs of the depths z0, z1 nearest to z1 x1 = z0 R x0 + t."""
    a, b, t = homogeneous(rays0) @ T_1_0[:3, :3].T, homogeneous(rays1), T_1_0[:3, 3]
    aa, ab, bb = np.sum(a * a, axis=1), np.sum(a * b, axis=1), np.sum(b * b, axis=1)
    at, bt = a @ t, b @ t
    # The normal equations' solution times their determinant, which is not negative.
    return int(np.count_nonzero((ab * bt - bb * at > 0.0) & (aa * bt - ab * at > 0.0)))
