"""What a run holds on to: no frame but the one it is in, its example, and what the reference needs."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np

from subpx_ros.config import load_config
from subpx_ros.datasets import Sequence
from subpx_ros.datatypes import Camera, Frame, OdometryResult, Rig
from subpx_ros.offline import run_sequence

CAMERA = Camera(130.0, 130.0, 79.5, 59.5, 160, 120)
FRAMES = 16


class Moving(Sequence):
    """Noise that moves past a stereo pair."""

    def __init__(self) -> None:
        super().__init__("noise", Rig(CAMERA, CAMERA, 0.2), tuple(range(0, FRAMES * 10**8, 10**8)), None)
        self._texture = np.random.default_rng(5).integers(0, 256, (120, 160 + 8 + 2 * FRAMES), dtype=np.uint8)

    def frame(self, index: int) -> Frame:
        left, right = (self._texture[:, start : start + 160].copy() for start in (2 * index, 2 * index + 8))
        return Frame(self.stamps_ns[index], left, self.rig, right)


def test_a_run_keeps_nothing_of_the_frames_behind_it() -> None:
    held: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def observe(frame: Frame, result: OdometryResult) -> None:
        gc.collect()
        alive.append(sum(each() is not None for each in held))
        held.append(weakref.ref(frame.image))
        held.append(weakref.ref(result.matches))

    config = load_config({"preset": "orb", "refiner": "none", "device": "cpu", "threads": 1})
    run_sequence(Moving(), config, "noise", observe=observe, progress=False)
    assert len(alive) == FRAMES
    assert alive[FRAMES // 2] <= 2, "the frame before may live on for as long as a loop's names do"
    assert alive[-1] <= 4, "and beside it only the example in the middle of the run"
