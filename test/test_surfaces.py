"""Slopes of surfaces from disparities, and how patches of planes look from elsewhere, against exact geometry."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.geometry import homogeneous, invert, rotation_from_vector, se3
from subpx_ros.surfaces import composed, disparity_slopes, magnified, patch_warps

Array = NDArray[np.float64]

FOCAL, CENTRE = (700.0, 690.0), np.array([600.0, 180.0])
NORMAL, DISTANCE_M = np.array([0.4, 0.7, 1.0]), 9.0
"""Of a plane: points X of the first camera with NORMAL X = DISTANCE_M are on it."""
POSES = [se3(rotation_from_vector(k * np.array([0.01, -0.02, 0.03])), k * np.array([0.3, -0.1, 0.9])) for k in range(3)]
"""T_first_camera of three cameras."""


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_slopes_of_two_planes_and_their_edge(spread: float) -> None:
    """Exact without noise, but near the edge, where each point goes with one of the planes."""
    rng = np.random.default_rng(3)
    pixels = rng.uniform([0.0, 0.0], [1200.0, 370.0], (1500, 2))
    left, slopes = pixels[:, 0] < 500.0, np.array([[0.09, 0.0], [-0.01, 0.12]])
    true = np.where(left[:, None], slopes[0], slopes[1])
    disparity = (pixels * true).sum(axis=1) + 20.0 * left + spread * rng.normal(size=1500)
    disparity[::5] = np.nan
    chosen = np.flatnonzero(np.isfinite(disparity))[::2]
    found = disparity_slopes(pixels, disparity, chosen)
    errors = np.abs(found - true[chosen]).max(axis=1)
    away = np.abs(pixels[chosen, 0] - 500.0) > 50.0
    assert np.median(errors[away]) < (0.002 if spread == 0.0 else 0.01)
    assert np.median(errors[~away]) < 0.02


def test_slopes_of_few_points() -> None:
    pixels, disparity = np.array([[10.0, 10.0], [20.0, 10.0]]), np.array([5.0, np.nan])
    assert not disparity_slopes(pixels, disparity, np.array([0, 1])).any()
    assert disparity_slopes(pixels, disparity, np.zeros(0, dtype=np.intp)).shape == (0, 2)
    assert not disparity_slopes(pixels, np.full(2, np.nan), np.array([0])).any()
    disparity[1] = 6.0
    assert disparity_slopes(pixels, disparity, np.array([0]))[0] == pytest.approx([0.1, 0.0], abs=0.03)


def test_a_patch_tells_which_neighbours_lie_on_its_plane() -> None:
    """On a road its neighbours on the wall behind are nearer in the image than many on the road."""
    rng = np.random.default_rng(5)
    pixels = rng.uniform([0.0, 100.0], [1200.0, 300.0], (900, 2))
    road = pixels[:, 1] > 200.0
    disparity = np.where(road, 0.33 * (pixels[:, 1] - 200.0) + 20.0, 20.0) + 0.1 * rng.normal(size=900)
    chosen = np.flatnonzero(road & (pixels[:, 1] < 230.0))
    own = np.array([0.0, 0.33]) + 0.04 * rng.normal(size=(len(chosen), 2))
    errors = [
        np.abs(disparity_slopes(pixels, disparity, chosen, told) - [0.0, 0.33]).max(axis=1) for told in (own, None)
    ]
    assert np.median(errors[0]) < 0.015 < 0.5 * np.abs(own - [0.0, 0.33]).max(axis=1).mean()
    assert np.mean(errors[0]) < 0.4 * np.mean(errors[1])


def pixels_of(points: Array) -> Array:
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


def on_plane(pixels: Array, view: int) -> Array:
    """Points (M, 3) of the first camera on the plane, seen by another one at pixels (M, 2)."""
    T = POSES[view]
    rays = homogeneous((pixels - CENTRE) / FOCAL) @ T[:3, :3].T
    depth = (DISTANCE_M - NORMAL @ T[:3, 3]) / (rays @ NORMAL)
    return rays * depth[:, None] + T[:3, 3]


def seen(points: Array, view: int) -> Array:
    T = invert(POSES[view])
    return pixels_of(points @ T[:3, :3].T + T[:3, 3])


def warps_between(earlier: int, later: int, pixels: Array) -> Array:
    """Of the plane around pixels (M, 2) of the earlier view."""
    T = invert(POSES[later]) @ POSES[earlier]
    normal = POSES[earlier][:3, :3].T @ NORMAL
    distance = DISTANCE_M - NORMAL @ POSES[earlier][:3, 3]
    rays = homogeneous((pixels - CENTRE) / FOCAL)
    # Inverse depth is linear in the image: normal . ray / distance.
    there = rays @ T[:3, :3].T + (rays @ normal / distance)[:, None] * T[:3, 3]
    by_pixel = (T[:3, :2] + np.outer(T[:3, 3], normal[:2] / distance)) / FOCAL
    return patch_warps(there, np.tile(by_pixel, (len(pixels), 1, 1)), FOCAL)


def stepped(warps: Array, step: Array) -> Array:
    return (warps[:, :2] @ step) / (1.0 + warps[:, 2] @ step)[:, None]


PIXELS = np.random.default_rng(1).uniform([300.0, 100.0], [900.0, 300.0], (40, 2))
STEP = np.array([9.0, -7.0])


@pytest.mark.parametrize(("earlier", "later"), [(0, 1), (1, 2), (0, 2), (0, 0)])
def test_steps_on_a_plane_lead_where_it_is(earlier: int, later: int) -> None:
    points = on_plane(PIXELS, earlier)
    there = seen(points, later) + STEP
    expected = seen(on_plane(there, later), earlier) - PIXELS
    assert np.allclose(stepped(warps_between(earlier, later, PIXELS), STEP), expected, atol=1e-9)
    assert earlier == later or np.linalg.norm(expected - STEP, axis=1).min() > 0.3


def test_warps_of_two_motions_are_composed() -> None:
    middle = seen(on_plane(PIXELS, 0), 1)
    both = composed(warps_between(0, 1, PIXELS), warps_between(1, 2, middle))
    assert np.allclose(both, warps_between(0, 2, PIXELS), atol=1e-12)


def test_a_plane_seen_from_its_edge_is_only_magnified() -> None:
    points, edge = np.array([[0.1, 0.2, 0.8]]), np.array([[[1e-3, 0.0], [0.0, 1e-6], [0.0, 0.0]]])
    assert np.allclose(patch_warps(points, edge, FOCAL), magnified(np.array([1.25])))
    behind, unknown = np.array([[0.1, 0.2, -0.8]]), np.full((1, 3), np.nan)
    for nowhere in (behind, unknown):
        assert np.allclose(patch_warps(nowhere, edge, FOCAL), magnified(np.ones(1)))
