"""From a mesh and a camera to convex polygons on the image plane, clipped at the near plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.mesh import Mesh
from subpx_ros.datatypes import Array, Camera
from subpx_ros.geometry import invert, transform_points

NEAR_M = 0.05
"""Depth of the near plane; what is closer is not drawn."""


@dataclass(frozen=True)
class ScreenFaces:
    """The V faces that may be visible, nearest first. Functions of a pixel (x, y) are rows (a, b, c): a x + b y + c."""

    edges: Array
    """(V, E, 3): non-negative inside; 1 or more where the whole pixel is inside of this edge, -1 or less outside."""
    edge_counts: NDArray[np.int32]
    """(V,) edges in use; the others are constant and positive."""
    boxes: NDArray[np.int32]
    """(V, 4): x0, y0, x1, y1 (exclusive) of the pixels that the face may touch, inside the image."""
    inverse_depths: Array
    """(V, 3): 1 / z in 1/m."""
    nearest: Array
    """(V,): largest 1 / z of the face."""
    texels: Array
    """(V, 2, 3): u / z and v / z with level-0 texel coordinates u, v."""
    textures: NDArray[np.int32]
    """(V,)"""
    planes: NDArray[np.int32]
    """(V,) as in the mesh."""
    gains: NDArray[np.float32]
    """(V,)"""


def project_mesh(mesh: Mesh, camera: Camera, T_world_camera: Array) -> ScreenFaces:
    """The faces in front of the camera, turned towards it and inside of the image."""
    T_camera_world = invert(T_world_camera)
    position = T_world_camera[:3, 3]
    towards = np.einsum("fi,fi->f", mesh.normals, position - mesh.vertices[:, 0])
    facing = np.flatnonzero(towards > 1e-6)
    points = transform_points(T_camera_world, mesh.vertices[facing].reshape(-1, 3))
    points = points.reshape(len(facing), -1, 3)
    seen = _touches_frustum(points, camera)
    chosen, points = facing[seen], points[seen]
    polygons = _clipped(points, mesh.counts[chosen])

    edges, counts, boxes = _outlines(polygons, camera)
    inverse_camera = np.linalg.inv(camera.matrix)
    normals = mesh.normals[chosen] @ T_world_camera[:3, :3]
    inverse_depths = -normals @ inverse_camera / towards[chosen][:, None]
    maps = mesh.texel_maps[chosen]
    gradients = maps[:, :, :3] @ T_world_camera[:3, :3] @ inverse_camera
    constants = maps[:, :, :3] @ position + maps[:, :, 3]
    texels = gradients + constants[:, :, None] * inverse_depths[:, None, :]
    nearest = np.array([1.0 / polygon[:, 2].min() for polygon in polygons])

    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    order = np.flatnonzero(inside)
    order = order[np.argsort(-nearest[order], kind="stable")]
    return ScreenFaces(
        edges[order],
        counts[order],
        boxes[order],
        inverse_depths[order],
        nearest[order],
        texels[order],
        mesh.textures[chosen][order],
        mesh.planes[chosen][order],
        mesh.gains[chosen][order],
    )


def _touches_frustum(points: Array, camera: Camera) -> NDArray[np.bool_]:
    """(F,) false where all vertices (F, n, 3), camera frame, lie outside of one side of the viewing frustum."""
    x, y, z = np.moveaxis(points, -1, 0)
    left, right = (-1.0 - camera.cx) / camera.fx, (camera.width - camera.cx) / camera.fx
    top, bottom = (-1.0 - camera.cy) / camera.fy, (camera.height - camera.cy) / camera.fy
    outside = (z <= NEAR_M, x < left * z, x > right * z, y < top * z, y > bottom * z)
    return ~np.any([side.all(axis=1) for side in outside], axis=0)


def _clipped(points: Array, counts: NDArray[np.int32]) -> list[Array]:
    """The polygons (n, 3) with the part in front of the near plane only (Sutherland and Hodgman)."""
    whole: NDArray[np.bool_] = np.all(points[..., 2] > NEAR_M, axis=1)
    return [
        row[:count] if complete else _clip_near(row[:count])
        for row, count, complete in zip(points, counts, whole, strict=True)
    ]


def _clip_near(polygon: Array) -> Array:
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if start[2] >= NEAR_M:
            kept.append(start)
        if (start[2] >= NEAR_M) != (end[2] >= NEAR_M):
            share = (NEAR_M - start[2]) / (end[2] - start[2])
            crossing = start + share * (end - start)
            crossing[2] = NEAR_M
            kept.append(crossing)
    return np.array(kept)


def _outlines(polygons: list[Array], camera: Camera) -> tuple[Array, NDArray[np.int32], NDArray[np.int32]]:
    """Edge functions, their numbers and pixel boxes of polygons (n, 3) in the camera frame."""
    counts = np.array([len(polygon) for polygon in polygons], dtype=np.int32)
    width = int(counts.max(initial=3))
    filled = np.empty((len(polygons), width, 3))
    for row, polygon in zip(filled, polygons, strict=True):
        row[: len(polygon)] = polygon
        row[len(polygon) :] = polygon[0]
    pixels = filled[..., :2] / filled[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]

    # Seen from outside the vertices run counter-clockwise, which is clockwise in a frame whose y axis points down.
    start, end = pixels, np.roll(pixels, -1, axis=1)
    a = end[..., 1] - start[..., 1]
    b = start[..., 0] - end[..., 0]
    c = -(a * start[..., 0] + b * start[..., 1])
    extent = 0.5 * (np.abs(a) + np.abs(b))
    usable = extent > 1e-12
    scale = np.where(usable, extent, 1.0)
    edges = np.stack([np.where(usable, a, 0.0), np.where(usable, b, 0.0), np.where(usable, c, 2.0)], axis=-1)
    edges /= scale[..., None]

    low = np.floor(np.clip(pixels.min(axis=1) + 0.5, 0.0, [camera.width, camera.height]))
    high = np.ceil(np.clip(pixels.max(axis=1) + 0.5, 0.0, [camera.width, camera.height]))
    return edges, counts, np.concatenate([low, high], axis=1).astype(np.int32)
