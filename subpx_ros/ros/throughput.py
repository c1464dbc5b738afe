"""What converting ahead is worth: the node's rate and latency with it and without, for images of several kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain, cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from subpx_ros.console import track
from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.errors import ConfigError
from subpx_ros.evaluation.bench_results import Cell, Table
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.evaluation.run import write_json
from subpx_ros.output import output_folder
from subpx_ros.ros.messages import byte_array, stamp_from_ns
from subpx_ros.ros.player import Player
from subpx_ros.ros.replay import FRAME_TIMEOUT_S, flat, playing_to_a_node
from subpx_ros.settings import unknown_name

_PARAMETER = "convert_ahead"
_DISTORTION = (-0.05, 0.01, 0.0, 0.0, 0.0)
"""plumb_bob, of a mild wide-angle lens."""
_SHOTS = 12
"""Frames of the recording that are played to and fro, made once: making them would take the node's processor."""
_OVERLOAD = 1.5
"""Sets sent in the time that one takes."""
_SETTLING = 2
"""Answers at the beginning of a block that do not count."""


@dataclass(frozen=True)
class Kind:
    """How images come."""

    transport: str = "raw"
    colour: bool = False
    rectify: bool = False


KINDS = {
    "grey": Kind(),
    "colour": Kind(colour=True),
    "unrectified": Kind(rectify=True),
    "compressed": Kind("compressed"),
    "compressed-unrectified": Kind("compressed", rectify=True),
}


@dataclass
class _Figures:
    """Of one kind with the conversion ahead or without it; one entry per frame, or per block."""

    unloaded_ms: list[float]
    loaded_ms: list[float]
    rates_hz: list[float]


def measure_throughput(
    source: str, out: Path, overrides: Mapping[str, Any], kinds: tuple[str, ...], frames: int, rounds: int
) -> dict[str, Any]:
    """Plays to a node per kind of images; converting ahead is switched on and off in turns, so that drifts cancel.

    Args:
        source: as `open_sequence` takes it.
        out: folder for throughput.json.
        overrides: nested settings of Config.
        kinds: names of KINDS.
        frames: per round, answered frames that count: under overload, and as many one at a time.
        rounds: how often each is measured.

    Returns:
        The content of throughput.json.

    Raises:
        ConfigError: an unknown kind, too few frames, or a setting is not valid.
        SubpxError: the source cannot be read, or the node does not start, ends early or stops answering.
    """
    for name in kinds:
        if name not in KINDS:
            raise ConfigError(unknown_name("kind of images", name, list(KINDS)))
    if frames < 2 or rounds < 1:
        raise ConfigError(f"at least 2 frames and 1 round are needed; got {frames} and {rounds}")
    recording = open_sequence(source)
    sequence = recording.window(0, min(_SHOTS, len(recording)))
    rows: list[list[Cell]] = []
    items = {}
    for name in kinds:
        measured = _measure(sequence, flat(overrides), KINDS[name], frames, rounds, name)
        off, on = (_medians(measured[ahead]) for ahead in (False, True))
        items[name] = {"off": off, "on": on}
        ratios = [after / before for before, after in zip(off.values(), on.values(), strict=True)]
        rows += [[name, "off", *off.values()], ["", "on", *on.values()], ["", "on / off", *ratios]]
    columns = ["images", _PARAMETER, "idle (ms)", "overload (ms)", "frames/s"]
    table = Table(f"from image to odometry, {sequence.name}, {sequence.rig.mode}", columns, rows)
    content = {"items": items, "tables": [asdict(table)], "versions": library_versions(), "machine": machine()}
    write_json(output_folder(out) / "throughput.json", content)
    table.show()
    return content


def _medians(figures: _Figures) -> dict[str, float]:
    return {
        "idle_ms": median(figures.unloaded_ms),
        "overload_ms": median(figures.loaded_ms),
        "frames_per_s": median(figures.rates_hz),
    }


def _measure(
    sequence: Sequence, parameters: Mapping[str, Any], kind: Kind, frames: int, rounds: int, name: str
) -> dict[bool, _Figures]:
    figures = {ahead: _Figures([], [], []) for ahead in (False, True)}
    own = {"mode": sequence.rig.mode, "reliable": True, "image_transport": kind.transport, "rectify": kind.rectify}
    with playing_to_a_node(sequence.rig, {**parameters, **own}, kind.transport, kind.rectify) as (player, _):
        camera = _Camera(player, sequence, kind)
        camera.unloaded(2 * _SETTLING)
        period_s = 1e-3 * player.status[camera.stamp_ns].stage_milliseconds[-1] / _OVERLOAD
        turns = [bool((turn + turn // 2) % 2) for turn in range(2 * rounds)]
        for ahead in track(turns, f"{name}, ahead and not, in turns", len(turns)):
            player.set_parameter(_PARAMETER, "on" if ahead else "off", FRAME_TIMEOUT_S)
            camera.unloaded(_SETTLING)
            figures[ahead].unloaded_ms += camera.unloaded(frames)
            latencies, rate = camera.overloaded(frames, period_s)
            figures[ahead].loaded_ms += latencies
            figures[ahead].rates_hz.append(rate)
    return figures


class _Camera:
    """Sends what was recorded to and fro, with new stamps."""

    def __init__(self, player: Player, sequence: Sequence, kind: Kind) -> None:
        self._player = player
        shots = [self._shot(sequence, index, kind) for index in range(len(sequence))]
        self._shots: Iterator[list[Any]] = cycle(chain(shots, shots[-2:0:-1]))
        self._step_ns = sequence.stamps_ns[1] - sequence.stamps_ns[0]
        self.stamp_ns = sequence.stamps_ns[0] + self._step_ns
        self._sent_s: dict[int, float] = {}

    def _shot(self, sequence: Sequence, index: int, kind: Kind) -> list[Any]:
        messages = self._player.messages(sequence.frame(index))
        for message in messages:
            if isinstance(message, CameraInfo) and kind.rectify:
                message.d = list(_DISTORTION)
            if isinstance(message, Image) and kind.colour:
                _colour(message)
        return messages

    def _send(self) -> int:
        self.stamp_ns += self._step_ns
        messages, stamp = next(self._shots), stamp_from_ns(self.stamp_ns)
        for message in messages:
            message.header.stamp = stamp
        self._sent_s[self.stamp_ns] = self._player.send(self.stamp_ns, messages)
        return self.stamp_ns

    def unloaded(self, frames: int) -> list[float]:
        """Milliseconds from publication to odometry, of sets that find the node idle."""
        return [self._latency_ms(self._answered(self._send())) for _ in range(frames)]

    def _answered(self, stamp_ns: int) -> int:
        """The node is done with a frame once it has told its status."""
        player = self._player
        told = lambda: stamp_ns in player.arrived_s and stamp_ns in player.status
        player.spin_until(told, FRAME_TIMEOUT_S, "odometry and status")
        return stamp_ns

    def overloaded(self, frames: int, period_s: float) -> tuple[list[float], float]:
        """Milliseconds from publication to odometry, and answered frames per second, while sets come too fast."""
        player, first = self._player, self.stamp_ns
        while (answered := self._answered_since(first)) < frames + _SETTLING:
            self._send()
            player.spin_for(period_s)
        stamps = sorted(stamp for stamp in player.arrived_s if stamp > first)[_SETTLING:answered]
        self._answered(self._send())
        player.spin_until(lambda: player.finished >= len(self._sent_s), FRAME_TIMEOUT_S, "an account of every set")
        seconds = player.arrived_s[stamps[-1]] - player.arrived_s[stamps[0]]
        return [self._latency_ms(stamp) for stamp in stamps], (len(stamps) - 1) / seconds

    def _answered_since(self, stamp_ns: int) -> int:
        return sum(stamp > stamp_ns for stamp in self._player.arrived_s)

    def _latency_ms(self, stamp_ns: int) -> float:
        return 1e3 * (self._player.arrived_s[stamp_ns] - self._sent_s[stamp_ns])


def _colour(message: Image) -> None:
    grey: NDArray[np.uint8] = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
    message.encoding, message.step = "bgr8", 3 * message.width
    message.data = byte_array(np.repeat(grey[:, :, None], 3, axis=2))
