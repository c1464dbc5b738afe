"""Pairs of a KITTI odometry sequence: the left camera some frames apart, the relative pose from poses.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subpx_ros.datasets.kitti import KittiSequence
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert
from subpx_ros.training.config import KittiSourceConfig
from subpx_ros.training.pairs import TrainingPair
from subpx_ros.training.sources.source import PairSource, pairs_with_gap


class KittiSource(PairSource):
    """GPS poses are good to some centimetres: right for the epipolar loss, no exact correspondences."""

    def __init__(self, config: KittiSourceConfig) -> None:
        """Raises DataError for a folder that is no sequence or has no poses."""
        self._sequence = KittiSequence(Path(config.folder), "mono")
        if self._sequence.truth is None:
            raise DataError(f"{config.folder} has no poses.txt: training pairs need the poses of its frames")
        self._truth = self._sequence.truth
        self._pairs = pairs_with_gap(len(self._sequence), config.gap, config.pairs, config.seed, config.folder)
        super().__init__(len(self._pairs))

    def pair(self, index: int) -> TrainingPair:
        first, second = self._pairs[index]
        camera = self._sequence.rig.left
        return TrainingPair(
            name=f"kitti {self._sequence.name}, frame {first} to {second}",
            image0=self._sequence.frame(first).image,
            image1=self._sequence.frame(second).image,
            camera0=camera,
            camera1=camera,
            T_0_1=invert(self._truth[first]) @ self._truth[second],
            exact=False,
        )

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "kitti", "pairs": len(self), "sequence": self._sequence.name, "licence": "CC BY-NC-SA 3.0"}
