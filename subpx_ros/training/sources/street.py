"""Pairs of the rendered street: exact poses, exact depth, the noise of a real camera."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from subpx_ros.datasets.street import KITTI_CAMERA, KITTI_RIG, StreetConfig, StreetSequence, View
from subpx_ros.datasets.street.photographs import PHOTOGRAPHS
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.datatypes import Rig
from subpx_ros.geometry import invert
from subpx_ros.training.config import StreetSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.source import PairSource, pairs_with_gap


class StreetSource(PairSource):
    """Left and right of one frame, or the left camera of two frames, in the shares that the configuration names."""

    def __init__(self, config: StreetSourceConfig) -> None:
        self._config = config
        size = (round(config.scale * KITTI_CAMERA.width), round(config.scale * KITTI_CAMERA.height))
        camera = KITTI_CAMERA.resized(*size)
        rig = Rig(camera, camera, KITTI_RIG.baseline_m)
        self._street = StreetConfig(seed=config.seed, length_m=config.length_m, speed_m=config.speed_m)
        self._sequence = StreetSequence(self._street, rig=rig)
        self._pairs = self._draw(len(self._sequence))
        super().__init__(len(self._pairs))
        # A frame is in several pairs, and pairs in a row often share one.
        self._view = lru_cache(maxsize=4)(self._sequence.view)

    def pair(self, index: int) -> TrainingPair:
        (frame0, side0), (frame1, side1) = self._pairs[index]
        views = self._view(frame0, side0), self._view(frame1, side1)
        return TrainingPair(
            name=f"street seed {self._config.seed}, frame {frame0}.{side0} to {frame1}.{side1}",
            image0=expose(views[0].image, self._street, frame0, side0),
            image1=expose(views[1].image, self._street, frame1, side1),
            camera0=views[0].camera,
            camera1=views[1].camera,
            T_0_1=_relative(*views),
            depth0=views[0].depth,
            depth1=views[1].depth,
            views=views,
        )

    def describe(self) -> Mapping[str, Any]:
        made_of = {name: PHOTOGRAPHS[name] for name in sorted(PHOTOGRAPHS)}
        return {"kind": "street", "pairs": len(self), "seed": self._config.seed, "photographs": made_of}

    def _draw(self, frames: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """((frame, camera), (frame, camera)) of every pair, in an order that mixes both kinds."""
        count, seed = self._config.pairs, self._config.seed
        rng = np.random.default_rng([seed, 7])
        stereo = [((frame, 0), (frame, 1)) for frame in rng.permutation(frames)[: round(count * self._config.stereo)]]
        in_time = pairs_with_gap(frames, self._config.gap, count - len(stereo), seed, "street")
        chosen = stereo + [((first, 0), (second, 0)) for first, second in in_time]
        return [chosen[position] for position in rng.permutation(len(chosen))]


def _relative(view0: View, view1: View) -> Any:
    return invert(view0.T_world_camera) @ view1.T_world_camera
