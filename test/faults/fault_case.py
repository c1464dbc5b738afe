"""What a named fault is, and the ways in which messages are spoiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench import Bench
from numpy.typing import NDArray
from scale import LONG
from shots import LEFT, LEFT_INFO, RIGHT, RIGHT_INFO, Shot, infos_of, pixels_of, repaint

REPEATED = 5 if LONG else 2
HUGE = 2**32 - 1
NO_POSE = "match|keypoint|inlier|pose"
"""How the odometry says that an image shows nothing of what the one before showed."""

Change = Callable[[Shot], Any]


@dataclass(frozen=True)
class Case:
    """A fault that begins while the node tracks and ends before good frames come again."""

    name: str
    says: str
    """Pattern of the reason in status and diagnostics; empty where the images are usable after all."""
    play: Callable[[Bench], None]


def bad(name: str, says: str, change: Change) -> Case:
    """Some complete sets that `change` spoils, each of which is answered."""

    def play(bench: Bench) -> None:
        for shot in _spoiled(bench, change):
            bench.play(shot)

    return Case(name, says, play)


def unheard(name: str, says: str, change: Change) -> Case:
    """Messages that `change` keeps from making a set: the node hears no images and says why."""

    def play(bench: Bench) -> None:
        for shot in _spoiled(bench, change):
            bench.send(shot)
        bench.wait_for_reason(says)

    return Case(name, says, play)


def _spoiled(bench: Bench, change: Change) -> Iterator[Shot]:
    for _ in range(REPEATED):
        shot = bench.shot()
        change(shot)
        yield shot


def put(topic: str, **fields: Any) -> Change:
    """Sets fields of a topic's message."""
    return every((topic,), **fields)


def every(topics: tuple[str, ...], **fields: Any) -> Change:
    """Sets fields of the messages of several topics."""

    def change(shot: Shot) -> None:
        for topic in topics:
            for name, value in fields.items():
                setattr(shot[topic], name, value)

    return change


def paint(look: Callable[[NDArray[np.uint8]], Any], *topics: str) -> Change:
    """Other pixels of the same size, in both images unless topics are named."""

    def change(shot: Shot) -> None:
        for topic in topics or (LEFT, RIGHT):
            repaint(shot[topic], np.asarray(look(pixels_of(shot[topic])), dtype=np.uint8))

    return change


def projection(position: int, value: float, *topics: str) -> Change:
    """One number of P, of both cameras unless topics are named."""

    def change(shot: Shot) -> None:
        for topic in topics or (LEFT_INFO, RIGHT_INFO):
            shot[topic].p[position] = value

    return change


def filled(**matrices: float) -> Change:
    """K, R or P of every camera filled with one value."""

    def change(shot: Shot) -> None:
        for info in infos_of(shot):
            for name, value in matrices.items():
                setattr(info, name, [value] * len(getattr(info, name)))

    return change
