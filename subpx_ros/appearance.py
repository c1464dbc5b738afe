"""How a later view is expected to show points of a reference: from their depth, how their surfaces lie, and the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, Predicted, Rig
from subpx_ros.geometry import homogeneous
from subpx_ros.surfaces import composed, patch_warps

if TYPE_CHECKING:
    from subpx_ros.window.tracks import Tracks


class Ahead(NamedTuple):
    """M points as a later view is expected to show them; NaN where that is not known."""

    warps: Array
    """(M, 3, 2) of their surroundings (`surfaces.patch_warps`), from the later view to the reference."""
    places: Array
    """(M, 2) pixels."""
    disparity: Array
    """(M,) pixels."""


def seen_ahead(tracks: Tracks, indices: NDArray[np.intp], T_current_reference: Array, rig: Rig) -> Ahead:
    """Features (M,) of the reference after a motion.

    Args:
        tracks: of the reference's features.
        indices: (M,) of them.
        T_current_reference: (4, 4) metres.
        rig: a rectified pair.
    """
    assert rig.right is not None and rig.baseline_m is not None
    view, camera = tracks.views[-1], rig.left
    disparity = np.where(tracks.point[indices] >= 0, tracks.disparities.px[indices], view.disparities.px[indices])
    slope = view.disparities.slopes(indices, view.features.places)
    focal_baseline, infinite = camera.fx * rig.baseline_m, camera.cx - rig.right.cx
    inverse_depth = np.maximum(disparity - infinite, 0.0) / focal_baseline
    rotation, translation = T_current_reference[:3, :3], T_current_reference[:3, 3]
    rays = homogeneous(camera.normalise(tracks.seen_at[indices]))
    there = rays @ rotation.T + inverse_depth[:, None] * translation
    by_pixel = rotation[:, :2] / [camera.fx, camera.fy] + translation[:, None] * (slope / focal_baseline)[:, None]
    in_front = there[:, 2] > 0.0
    seen = np.where(in_front[:, None], there, 1.0)
    places = np.where(in_front[:, None], camera.project(seen), np.nan)
    moved = np.where(in_front, focal_baseline * inverse_depth / seen[:, 2] + infinite, np.nan)
    return Ahead(patch_warps(there, by_pixel, (camera.fx, camera.fy)), places, moved)


def predicted_matches(
    tracks: Tracks, indices: NDArray[np.intp], ahead: Ahead | None, well_known: bool, device: torch.device
) -> Predicted:
    """What depth, surfaces and the motion tell of matches whose first points are features (M,) of the reference, as their
    anchors saw them.

    Args:
        tracks: of the reference's features.
        indices: (M,) of them.
        ahead: the same after the motion, where one is known.
        well_known: whether the motion is known to a pixel or two in the image.
        device: of the result.
    """
    warps = tracks.warps[indices]

    def on_device(values: Array) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    if ahead is None:
        return Predicted(on_device(warps))
    return Predicted(on_device(composed(warps, ahead.warps)), on_device(ahead.places) if well_known else None)
