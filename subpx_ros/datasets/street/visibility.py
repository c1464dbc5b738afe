"""Which face is seen where: one answer for a pixel that lies inside of one face, nine sub-samples along edges.

Sub-samples are at (2k mod 9) lattice positions, symmetric about the pixel's centre: coverage has nine steps across
edges of any direction and is not shifted. The middle one is the centre, which gives the depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street.projection import ScreenFaces
from subpx_ros.datatypes import Array

Ints = NDArray[np.int32]

_STEPS = np.arange(-4, 5)
SUB_SAMPLES: Array = np.stack([_STEPS, (2 * _STEPS + 4) % 9 - 4], axis=1) / 9.0
"""(9, 2): x, y relative to the pixel's centre."""
_CENTRE = 4
_CRACK = 1e-5
"""Tolerance of the inside test, in about pixels, so that no gap opens between faces that share an edge."""


@dataclass(frozen=True)
class Fragments:
    """Shares of pixels, each seen on one face. The index V, after the last face, means sky."""

    pixels: Ints
    """(N,) row * width + column."""
    faces: Ints
    """(N,)"""
    x: Array
    """(N,) middle of the share, pixels."""
    y: Array
    """(N,)"""
    weights: NDArray[np.float32]
    """(N,) in (0, 1]; the shares of a pixel add up to 1."""
    centre_faces: Ints
    """(height * width,) the face at each pixel's centre."""


def find_visible(faces: ScreenFaces, width: int, height: int) -> Fragments:
    """Resolve visibility for an image of the given size."""
    sky = len(faces.textures)
    nearest = np.zeros((height, width), dtype=np.float32)
    owner = np.full((height, width), sky, dtype=np.int32)
    pixels, candidates = _rasterise(faces, nearest, owner)
    meeting_pixels, meeting_faces = _meetings(owner, sky)
    pixels, candidates = np.append(pixels, meeting_pixels), np.append(candidates, meeting_faces)
    owners = owner.ravel()
    edge_pixels, samples = _resolve_edges(faces, owners, pixels, candidates, width)
    return _with_edges(owners, width, edge_pixels, samples)


def _rasterise(faces: ScreenFaces, nearest: NDArray[np.float32], owner: Ints) -> tuple[Ints, Ints]:
    """Fill the z-buffer with the faces that cover whole pixels; return (pixel, face) pairs of partly covered ones."""
    height, width = nearest.shape
    columns, rows = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)
    pixels, candidates = [], []
    for face, (x0, y0, x1, y1) in enumerate(faces.boxes):
        depth_block = nearest[y0:y1, x0:x1]
        if depth_block.min() > faces.nearest[face]:
            continue
        x, y = columns[x0:x1], rows[y0:y1, None]
        inside = _plane(faces.edges[face, 0], x, y)
        for edge in faces.edges[face, 1 : faces.edge_counts[face]]:
            np.minimum(inside, _plane(edge, x, y), out=inside)
        inverse_depth = _plane(faces.inverse_depths[face], x, y)
        slack = np.float32(0.5 * np.abs(faces.inverse_depths[face, :2]).sum())

        partly = (np.abs(inside) < 1.0) & (inverse_depth + slack > depth_block)
        part_rows, part_columns = np.nonzero(partly)
        pixels.append(((part_rows + y0) * width + part_columns + x0).astype(np.int32))
        candidates.append(np.full(len(part_rows), face, dtype=np.int32))

        wholly = (inside >= 1.0) & (inverse_depth > depth_block)
        np.copyto(depth_block, inverse_depth, where=wholly)
        np.copyto(owner[y0:y1, x0:x1], np.int32(face), where=wholly)
    if not pixels:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
    return np.concatenate(pixels), np.concatenate(candidates)


def _meetings(owner: Ints, sky: int) -> tuple[Ints, Ints]:
    """(pixel, face) pairs along lines where faces run through each other, which is not at an edge of either."""
    width = owner.shape[1]
    flat = owner.ravel()
    pixels, candidates = [], []
    for changes, step in ((owner[:, 1:] != owner[:, :-1], 1), (owner[1:] != owner[:-1], width)):
        rows, columns = np.nonzero(changes)
        first = (rows * width + columns).astype(np.int32)
        pixels += [first, first + step]
        candidates += [flat[first + step], flat[first]]
    found, faces = np.concatenate(pixels), np.concatenate(candidates)
    return found[faces < sky], faces[faces < sky]


def _plane(function: Array, x: Array, y: Array) -> NDArray[np.float32]:
    """a x + b y + c over a block, float32."""
    a, b, c = function
    return (a * x).astype(np.float32) + (b * y + c).astype(np.float32)


def _resolve_edges(faces: ScreenFaces, owner: Ints, pixels: Ints, candidates: Ints, width: int) -> tuple[Ints, Ints]:
    """The edge pixels (E,) and the face seen at each of their sub-samples (E, 9)."""
    inverse_depths = np.concatenate([faces.inverse_depths, np.zeros((1, 3))])
    pixels, candidates = _in_front(inverse_depths, owner, pixels, candidates, width)
    order = np.argsort(pixels, kind="stable")
    pixels, candidates = pixels[order], candidates[order]
    edge_pixels, first, number = np.unique(pixels, return_index=True, return_counts=True)

    samples = np.repeat(owner[edge_pixels][:, None], len(SUB_SAMPLES), axis=1)
    best = _at_samples(inverse_depths[owner[edge_pixels]], edge_pixels, width)
    for turn in range(int(number.max(initial=0))):
        rows = np.flatnonzero(number > turn)
        face = candidates[first[rows] + turn]
        pixel = edge_pixels[rows]
        closer = _at_samples(faces.inverse_depths[face], pixel, width)
        visible = closer > best[rows]
        for edge in range(int(faces.edge_counts[face].max())):
            visible &= _at_samples(faces.edges[face, edge], pixel, width) >= -_CRACK
        best[rows] = np.where(visible, closer, best[rows])
        samples[rows] = np.where(visible, face[:, None], samples[rows])
    return edge_pixels, samples


def _in_front(inverse_depths: Array, owner: Ints, pixels: Ints, candidates: Ints, width: int) -> tuple[Ints, Ints]:
    """The pairs that are not hidden behind the face that covers their whole pixel."""
    y, x = np.divmod(pixels, width)
    difference = inverse_depths[candidates] - inverse_depths[owner[pixels]]
    largest = difference[:, 0] * x + difference[:, 1] * y + difference[:, 2]
    largest += 0.5 * (np.abs(difference[:, 0]) + np.abs(difference[:, 1]))
    kept = largest > 0.0
    return pixels[kept], candidates[kept]


def _at_samples(functions: Array, pixels: Ints, width: int) -> NDArray[np.float32]:
    """Functions (n, 3) of the pixel at the sub-samples of n pixels: (n, 9)."""
    y, x = np.divmod(pixels, width)
    centre = functions[:, 0] * x + functions[:, 1] * y + functions[:, 2]
    offsets = functions[:, :2].astype(np.float32) @ SUB_SAMPLES.T.astype(np.float32)
    return centre.astype(np.float32)[:, None] + offsets


def _with_edges(owner: Ints, width: int, edge_pixels: Ints, samples: Ints) -> Fragments:
    """Whole pixels as they are; edge pixels split into one fragment per face seen in them."""
    single = (samples == samples[:, :1]).all(axis=1)
    owner[edge_pixels[single]] = samples[single, 0]
    edge_pixels, samples = edge_pixels[~single], samples[~single]

    same = samples[:, :, None] == samples[:, None, :]
    leads = same.argmax(axis=2) == np.arange(len(SUB_SAMPLES))
    number = same.sum(axis=2)[leads]
    middle = (same.astype(np.float32) @ SUB_SAMPLES.astype(np.float32))[leads] / number[:, None]
    split_pixels = np.repeat(edge_pixels, leads.sum(axis=1))

    whole = np.ones(len(owner), dtype=bool)
    whole[edge_pixels] = False
    whole_pixels = np.flatnonzero(whole).astype(np.int32)
    pixels = np.concatenate([whole_pixels, split_pixels])
    faces = np.concatenate([owner[whole_pixels], samples[leads]])
    y, x = np.divmod(pixels, width)
    x, y = x.astype(np.float64), y.astype(np.float64)
    x[len(whole_pixels) :] += middle[:, 0]
    y[len(whole_pixels) :] += middle[:, 1]
    weights = np.ones(len(pixels), dtype=np.float32)
    weights[len(whole_pixels) :] = number / len(SUB_SAMPLES)
    owner[edge_pixels] = samples[:, _CENTRE]
    return Fragments(pixels, faces, x, y, weights, owner)
