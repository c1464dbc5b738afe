"""Points that no match shows, followed on images of a plane whose geometry is exact."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from subpx_ros.datatypes import Camera, Features, Rig
from subpx_ros.geometry import homogeneous, invert, rotation_from_vector, se3, transform_points
from subpx_ros.relative_motion import View
from subpx_ros.triangulation import Disparities
from subpx_ros.window.bundle import Bundle, Points, Sightings, WindowCamera
from subpx_ros.window.following import follow, unmatched_points

Array = NDArray[np.float64]

CAMERA = Camera(400.0, 400.0, 200.0, 100.0, 400, 200)
BASELINE_M = 0.54
RIG = Rig(CAMERA, CAMERA, BASELINE_M)
WINDOW_CAMERA = WindowCamera.of(RIG)
K = np.array([[CAMERA.fx, 0.0, CAMERA.cx], [0.0, CAMERA.fy, CAMERA.cy], [0.0, 0.0, 1.0]])
DEPTH_M = 8.0
"""Of the plane, in front of the first camera."""
FACING, WALL = np.array([0.0, 0.0, 1.0]), np.array([1.2, 0.0, 1.0])
"""Normals of planes, of length 1 along the first camera's axis: one that faces it, and one that it drives past."""
POSES = np.array(
    [se3(rotation_from_vector(k * np.array([0.002, 0.01, -0.003])), k * np.array([0.1, -0.02, 0.6])) for k in range(4)]
)
NEWEST = len(POSES) - 1


def texture(seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(CAMERA.height + 100, CAMERA.width + 100)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip(0.5 + 0.2 * smooth / smooth.std(), 0.0, 1.0)


def image_of(paper: NDArray[np.float32], pose: Array, normal: Array) -> torch.Tensor:
    """What a camera at T_first_camera sees of a plane that looks to the first camera as the middle of the paper does."""
    T = invert(pose)
    plane = K @ (T[:3, :3] + np.outer(T[:3, 3], normal / DEPTH_M)) @ np.linalg.inv(K)
    shift = np.array([[1.0, 0.0, -50.0], [0.0, 1.0, -50.0], [0.0, 0.0, 1.0]])
    # Drawn four times as large and reduced: OpenCV rounds places to 1/32 px.
    larger = np.array([[4.0, 0.0, 1.5], [0.0, 4.0, 1.5], [0.0, 0.0, 1.0]])
    seen = cv2.warpPerspective(
        paper, larger @ plane @ shift, (4 * CAMERA.width, 4 * CAMERA.height), flags=cv2.INTER_CUBIC
    )
    return torch.from_numpy(cv2.resize(seen, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA))


def view(image: torch.Tensor, keypoints: Array) -> View:
    ones = torch.ones(len(keypoints))
    features = Features(torch.from_numpy(keypoints).float(), ones, ones[:, None], image)
    return View(0, features, Disparities(np.full(len(keypoints), np.nan)))


def scene(
    newest: NDArray[np.float32], paper: NDArray[np.float32], normal: Array = FACING
) -> tuple[Bundle, list[View], Array]:
    """Points of the first two frames, all seen by the third; and where the newest should see them."""
    x, y = np.meshgrid(np.arange(40.0, 380.0, 20.0), np.arange(30.0, 180.0, 20.0))
    keypoints = np.column_stack([x.ravel(), y.ravel()])
    count = len(keypoints)
    anchor = np.repeat([0, 1], count)
    rays = homogeneous(CAMERA.normalise(np.tile(keypoints, (2, 1))))
    depth, slope = np.empty(2 * count), np.empty((2 * count, 2))
    for frame in (0, 1):
        own, pose = anchor == frame, POSES[frame]
        # Of the plane as this camera has it.
        seen_normal, distance = pose[:3, :3].T @ normal, DEPTH_M - normal @ pose[:3, 3]
        depth[own] = distance / (rays[own] @ seen_normal)
        slope[own] = RIG.left.fx * BASELINE_M / distance * seen_normal[:2] / [CAMERA.fx, CAMERA.fy]
    in_first = np.concatenate([transform_points(POSES[k], (rays * depth[:, None])[anchor == k]) for k in (0, 1)])
    seen = [CAMERA.project(transform_points(invert(pose), in_first)) for pose in POSES]
    many = 2 * count
    nothing, number = np.zeros(many), np.arange(many)
    points = Points(
        anchor,
        np.tile(np.arange(count), 2),
        rays,
        1.0 / depth,
        nothing,
        nothing,
        slope,
        np.full(many, np.inf),
    )
    sightings = Sightings(number, np.full(many, 2), seen[2], np.tile(np.eye(2), (many, 1, 1)), nothing, nothing)
    bundle = Bundle(POSES[:, :3, :3].copy(), POSES[:, :3, 3].copy(), 0.0, points, sightings)
    images = [image_of(newest if k == NEWEST else paper, pose, normal) for k, pose in enumerate(POSES)]
    return bundle, [view(image, keypoints) for image in images], seen[NEWEST]


def followed(bundle: Bundle, views: list[View], most: int = 1000) -> Sightings:
    return follow(bundle, WINDOW_CAMERA, views, most=most, largest_growth=1.5, reach_px=2.0, floor_px2=0.0)


@pytest.mark.parametrize("normal", [FACING, WALL], ids=["facing", "wall"])
def test_points_are_found_where_the_newest_frame_shows_them(normal: Array) -> None:
    """Although its pose, and so every place that is looked at, is off by half a pixel and more."""
    bundle, views, true = scene(texture(1), texture(1), normal)
    bundle.positions[-1] += [0.01, -0.006, 0.02]
    assert np.array_equal(unmatched_points(bundle), np.arange(len(true)))
    found = followed(bundle, views)
    inside = np.all((true > 10.0) & (true < [389.0, 189.0]), axis=1)
    assert len(found) > 0.95 * np.count_nonzero(inside)
    assert np.all(found.frame == NEWEST) and not found.disparity_root.any()
    errors = found.left - true[found.point]
    assert np.median(np.linalg.norm(errors, axis=1)) < 0.05
    assert np.all(np.abs(errors.mean(axis=0)) < 0.02)
    whitened = np.einsum("mij,mj->mi", found.left_root, errors)
    assert np.median(np.sum(whitened**2, axis=1)) < 2.0, "no surer than right"


def test_how_a_surface_lies_helps_to_find_its_points() -> None:
    errors = []
    for known in (True, False):
        bundle, views, true = scene(texture(1), texture(1), WALL)
        bundle.points.slope = bundle.points.slope * known
        found = followed(bundle, views)
        errors.append(np.linalg.norm(found.left - true[found.point], axis=1))
    assert np.median(errors[0]) < 0.5 * np.median(errors[1]) and len(errors[0]) >= len(errors[1])


def test_points_that_are_seen_are_not_looked_for() -> None:
    bundle, views, true = scene(texture(1), texture(1))
    matched = np.arange(0, len(true), 3)
    nothing, newest = np.zeros(len(matched)), np.full(len(matched), NEWEST)
    roots = np.tile(np.eye(2), (len(matched), 1, 1))
    bundle.sightings = bundle.sightings.extended(Sightings(matched, newest, true[matched], roots, nothing, nothing))
    assert not set(followed(bundle, views).point) & set(matched)


def test_no_more_points_are_looked_for_than_there_is_time_for() -> None:
    bundle, views, true = scene(texture(1), texture(1))
    found = followed(bundle, views, most=40)
    assert 35 <= len(found) <= 40
    spread = true[found.point].std(axis=0)
    assert np.all(spread > 0.7 * true.std(axis=0)), "all over the image"
    assert len(followed(bundle, views, most=0)) == 0


@pytest.mark.parametrize("kind", ["another surface", "nothing to see"])
def test_what_is_hidden_is_not_found(kind: str) -> None:
    other = texture(2) if kind == "another surface" else np.full_like(texture(1), 0.5)
    bundle, views, true = scene(other, texture(1))
    assert len(followed(bundle, views)) < 0.05 * len(true)
