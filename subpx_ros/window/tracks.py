"""The points that the newest frame sees: where each was seen first, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.triangulation import Disparities
from subpx_ros.window.bundle import Indices

if TYPE_CHECKING:
    from subpx_ros.relative_motion import View


@dataclass(frozen=True)
class Tracks:
    """Of the N features of the newest frame of a window."""

    views: tuple[View, ...]
    """Of the window's frames, oldest first."""
    point: Indices
    """(N,) number of the point that a feature shows; -1 where it shows none yet."""
    anchor: Indices
    """(N,) number of the frame that saw it first; the newest one where there is no point."""
    feature: Indices
    """(N,) its number among the features there."""
    seen_at: Array
    """(N, 2) pixels in the newest frame: where the point was seen, or the keypoint."""
    growth: Array
    """(N,) how much larger the newest frame shows it than its anchor does."""
    disparities: Disparities
    """In the newest frame, of the points as they are estimated, or as measured."""

    @classmethod
    def fresh(cls, view: View) -> Tracks:
        """A frame that no other is before."""
        count = len(view.features)
        keypoints = view.features.keypoints.cpu().numpy().astype(np.float64)
        none, first = np.full(count, -1, dtype=np.intp), np.zeros(count, dtype=np.intp)
        return cls((view,), none, first, np.arange(count), keypoints, np.ones(count), view.disparities)
