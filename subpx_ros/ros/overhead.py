"""What the node adds to the odometry: from an image's publication to its odometry, less the odometry by itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from subpx_ros.config import load_config
from subpx_ros.console import note, track
from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datatypes import Frame
from subpx_ros.errors import ConfigError
from subpx_ros.evaluation.bench_results import Table
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.evaluation.run import write_json
from subpx_ros.odometry import VisualOdometry
from subpx_ros.output import output_folder
from subpx_ros.ros.player import Player
from subpx_ros.ros.replay import FRAME_TIMEOUT_S, flat, playing_to_a_node

_WARM_UP = 5
"""Frames at the beginning that do not count: models and caches are not warm yet."""


def measure_overhead(source: str, out: Path, overrides: Mapping[str, Any], frames: int) -> dict[str, float]:
    """Plays frames into a node one at a time, and processes each here too while the node waits.

    Taking turns lets changes of the machine's speed fall on both alike. Reliable QoS: every frame has to be answered.

    Args:
        source: as `open_sequence` takes it.
        out: folder for node_bench.json.
        overrides: nested settings of Config, the same for both.
        frames: how many count.

    Returns:
        Seconds: `start_s` until the node is active; milliseconds: medians `node_ms`, `odometry_ms` and `overhead_ms`,
        the 95th percentile `overhead_p95_ms`, and the median `own_ms` of what is left of the node's time when that of
        the odometry inside of it is taken off: transport, conversion and messages.

    Raises:
        ConfigError: no frames, or a setting is not valid.
        DataError: the source cannot be read or has too few frames.
        SubpxError: the node does not start, ends early or stops answering.
    """
    if frames < 2:
        raise ConfigError(f"at least 2 frames are needed for a median and a percentile; got {frames}")
    sequence = open_sequence(source, frames=(0, frames + _WARM_UP))
    odometry = VisualOdometry(load_config(overrides), sequence.rig, note)
    start_s, node_ms, inside_ms, odometry_ms = _measure(
        sequence, odometry, flat(overrides) | {"mode": odometry.mode, "reliable": True}
    )
    overhead = [node - alone for node, alone in zip(node_ms, odometry_ms, strict=True)]
    result = {
        "frames": float(len(overhead)),
        "start_s": start_s,
        "node_ms": median(node_ms),
        "odometry_ms": median(odometry_ms),
        "overhead_ms": median(overhead),
        "overhead_p95_ms": quantiles(overhead, n=20)[-1],
        "own_ms": median(node - inside for node, inside in zip(node_ms, inside_ms, strict=True)),
    }
    camera = sequence.rig.left
    title = f"node, {odometry.mode} {camera.width}x{camera.height}, {len(overhead)} frames"
    columns = [
        "start (s)",
        "node, median (ms)",
        "odometry, median (ms)",
        "added, median (ms)",
        "added, 95 % (ms)",
        "without the odometry in it (ms)",
    ]
    figures = Table(title, columns, [[result[name] for name in list(result)[1:]]])
    content = result | {"tables": [asdict(figures)], "versions": library_versions(), "machine": machine()}
    write_json(output_folder(out) / "node_bench.json", content)
    figures.show()
    return result


def _measure(
    sequence: Sequence, odometry: VisualOdometry, parameters: Mapping[str, Any]
) -> tuple[float, list[float], list[float], list[float]]:
    """Seconds until the node was active; milliseconds of each frame with the node, of its odometry, and of that here."""
    began_s = time.monotonic()
    with playing_to_a_node(sequence.rig, parameters) as (player, _):
        start_s = time.monotonic() - began_s
        frames = track(sequence, "node and odometry in turns", len(sequence))
        turns = [(*_node_ms(player, frame), _odometry_ms(odometry, frame)) for frame in frames][_WARM_UP:]
    node_ms, inside_ms, odometry_ms = map(list, zip(*turns, strict=True))
    return start_s, node_ms, inside_ms, odometry_ms


def _node_ms(player: Player, frame: Frame) -> tuple[float, float]:
    """From the publication to the arrival of the odometry, and what the odometry took of it."""
    published_s = player.publish(frame)
    player.spin_until(lambda: frame.stamp_ns in player.odometry, FRAME_TIMEOUT_S, "odometry")
    arrived_s = time.monotonic()
    # It is not done with the frame before it has told its status.
    player.spin_until(lambda: frame.stamp_ns in player.status, FRAME_TIMEOUT_S, "status")
    return 1e3 * (arrived_s - published_s), player.status[frame.stamp_ns].stage_milliseconds[-1]


def _odometry_ms(odometry: VisualOdometry, frame: Frame) -> float:
    start_s = time.monotonic()
    odometry.process(frame)
    return 1e3 * (time.monotonic() - start_s)
