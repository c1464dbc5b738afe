"""The static transforms of a robot: where one frame is seen from another, through any number of links."""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import invert

_MOST_FRAMES = 10_000
"""Far above what robots have; who sends more is not a robot."""


class StaticTransforms:
    """A forest of frames, each known in its parent."""

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Array]] = {}

    def add(self, parent: str, child: str, T_parent_child: Array) -> None:
        """Puts `child` where it is in `parent` (4, 4), in place of what was known of it."""
        if len(self._parents) < _MOST_FRAMES or child in self._parents:
            self._parents[_plain(child)] = (_plain(parent), T_parent_child)

    def find(self, target: str, source: str) -> Array | None:
        """T_target_source (4, 4); None where no chain of transforms connects them."""
        to_target, to_source = self._ancestors(_plain(target)), self._ancestors(_plain(source))
        for frame, T_frame_source in to_source.items():
            if frame in to_target:
                return invert(to_target[frame]) @ T_frame_source
        return None

    def _ancestors(self, frame: str) -> dict[str, Array]:
        """T_ancestor_frame of the frame itself and of all above it, nearest first; loops end where they close."""
        found, transform = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents:
            frame, T_parent_child = self._parents[frame]
            if frame in found:
                break
            transform = T_parent_child @ transform
            found[frame] = transform
        return found


def _plain(frame: str) -> str:
    """Without the slash that ROS 1 put before names."""
    return frame.removeprefix("/")
