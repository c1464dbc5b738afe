"""`subpx replay`: plays a sequence into the node over DDS and writes what the node publishes as `subpx run` does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from rich.progress import Progress, TaskID

from subpx_ros.config import Config, OdometryConfig
from subpx_ros.console import note, progress_bar
from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datatypes import Rig, TrackingState
from subpx_ros.errors import ConfigError, SubpxError
from subpx_ros.evaluation.run import RunRecord, write_run
from subpx_ros.frames import camera_path_from_odom
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.node_process import NodeProcess, ros_environment
from subpx_ros.ros.parameters import check
from subpx_ros.ros.player import Player
from subpx_ros.ros.results import pose_from_message
from subpx_ros.scale import metres_from
from subpx_ros.settings import from_mapping, nest, walk

START_TIMEOUT_S = 300.0
"""Weights may have to be downloaded first."""
FRAME_TIMEOUT_S = 120.0
_PARAMETER_TIMEOUT_S = 30.0
_IN_FLIGHT = 4
"""Frames sent ahead of the node's answers at full speed: enough to keep it busy."""
_IN_FLIGHT_AT_RATE = 32


def replay(
    source: str,
    *,
    out: Path,
    overrides: Mapping[str, Any] | None = None,
    mode: str = "auto",
    rate: float = 0.0,
    frames: tuple[int | None, int | None] | None = None,
) -> dict[str, Any]:
    """Starts the node, plays every frame into it and records its answers; no frame is left out.

    Args:
        source: as `open_sequence` takes it.
        out: folder for the outputs of `write_run`.
        overrides: nested settings of Config, stronger than the preset.
        mode: auto, mono, stereo or rgbd.
        rate: speed relative to the recording; 0: as fast as the node can. A node that cannot keep up slows it down.
        frames: (A, B), the frames A <= index < B.

    Returns:
        The content of summary.json.

    Raises:
        ConfigError: a setting or the rate is not valid.
        DataError: the source cannot be read.
        SubpxError: the node does not start, ends early or stops answering.
    """
    if not 0.0 <= rate < float("inf"):
        raise ConfigError(f"the rate must be a finite number of at least 0; got {rate}")
    sequence = open_sequence(source, mode, frames)
    parameters = flat(overrides or {}) | {"mode": sequence.rig.mode}
    check(parameters)
    parameters |= {"autostart": True, "reliable": True, "keep_all": True, "use_sim_time": True}
    note(f"starting the node for {sequence.name}, {len(sequence)} frames")
    with playing_to_a_node(sequence.rig, parameters) as (player, node):
        config = nest(player.read_parameters([name for name, _, _ in walk(Config())], _PARAMETER_TIMEOUT_S))
        seconds = _play(player, sequence, rate)
        record = _record(source, sequence, player, config, seconds, node.peak_rss_mb())
    return write_run(record, out)


@contextmanager
def playing_to_a_node(
    rig: Rig, parameters: Mapping[str, Any], transport: str = "raw", rectify: bool = False
) -> Iterator[tuple[Player, NodeProcess]]:
    """A node of its own for the block, active, and the player that is connected to it.

    Args:
        rig: of the frames to be played.
        parameters: of the node, by dotted names.
        transport: raw or compressed, of the images that are played; the parameter image_transport must agree.
        rectify: whether they are unrectified; the parameter rectify must agree.

    Raises:
        SubpxError: it does not start, or ends early.
    """
    with (
        _terminable() as check_signals,
        ros_environment() as domain,
        NodeProcess(parameters) as node,
        _context(domain) as context,
    ):

        def check_both() -> None:
            check_signals()
            node.check()

        player = Player(context, NODE_NAME, rig, check_both, transport, rectify)
        try:
            player.wait_for_node(START_TIMEOUT_S)
            yield player, node
        finally:
            player.close()


def _play(player: Player, sequence: Sequence, rate: float) -> float:
    """Publishes all frames and waits for all answers. Returns the seconds it took."""
    start_s = time.monotonic()
    window = _IN_FLIGHT if rate == 0 else _IN_FLIGHT_AT_RATE
    with progress_bar() as bar:
        task = bar.add_task("replay", total=len(sequence), detail="")
        for index, frame in enumerate(sequence):
            if rate > 0:
                due_s = start_s + (frame.stamp_ns - sequence.stamps_ns[0]) * 1e-9 / rate
                _wait_until(player, due_s)
            _wait_for(player, index + 1 - window)
            player.publish(frame)
            _show(bar, task, player, start_s)
        for count in range(max(0, len(sequence) - window), len(sequence) + 1):
            _wait_for(player, count)
            _show(bar, task, player, start_s)
    stamps = set(sequence.stamps_ns)
    player.spin_until(lambda: stamps <= set(player.status), FRAME_TIMEOUT_S, "the status of every frame")
    answered = {stamp for stamp in stamps if player.status[stamp].stage_names}
    player.spin_until(lambda: answered <= set(player.odometry), FRAME_TIMEOUT_S, "the odometry of every frame")
    return time.monotonic() - start_s


def _wait_until(player: Player, due_s: float) -> None:
    player.spin_until(lambda: time.monotonic() >= due_s, due_s - time.monotonic() + FRAME_TIMEOUT_S, "the next frame")


def _wait_for(player: Player, count: int) -> None:
    what = f"the node's answer to frame {max(count, 1) - 1}"
    player.spin_until(lambda: player.finished >= count, FRAME_TIMEOUT_S, what)


def _show(bar: Progress, task: TaskID, player: Player, start_s: float) -> None:
    done = player.finished
    if player.latest is None or done == 0:
        return
    times = dict(zip(player.latest.stage_names, player.latest.stage_milliseconds, strict=True))
    rate = done / (time.monotonic() - start_s)
    bar.update(task, completed=done, detail=f"{rate:.1f} fps, {times.get('total', float('nan')):.0f} ms a frame")


def _record(
    source: str,
    sequence: Sequence,
    player: Player,
    config: Mapping[str, Any],
    seconds: float,
    peak_rss_mb: float | None,
) -> RunRecord:
    """The node's messages as the record of a run. A frame without odometry keeps the pose before it."""
    poses = np.tile(np.eye(4), (len(sequence), 1, 1))
    for index, stamp in enumerate(sequence.stamps_ns):
        odometry = player.odometry.get(stamp)
        if odometry is not None:
            poses[index] = camera_path_from_odom(pose_from_message(odometry.pose.pose))
        elif index > 0:
            poses[index] = poses[index - 1]
    answers = [player.status[stamp] for stamp in sequence.stamps_ns]
    return RunRecord(
        source=source,
        preset=config["preset"],
        refiner=config["refiner"],
        device=config["device"],
        mode=config["mode"],
        config=config,
        stamps_ns=sequence.stamps_ns,
        poses=poses,
        states=[TrackingState(answer.state) for answer in answers],
        reasons=[answer.reason for answer in answers],
        stage_ms=[dict(zip(answer.stage_names, answer.stage_milliseconds, strict=True)) for answer in answers],
        counts=[{"matches": answer.matches, "inliers": answer.inliers} for answer in answers],
        seconds=seconds,
        metric=config["mode"] != "mono" or bool(metres_from(from_mapping(OdometryConfig, config["odometry"]))),
        truth=sequence.truth,
        peak_rss_mb=peak_rss_mb,
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, as parameters have them."""
    dotted: dict[str, Any] = {}
    for name, value in values.items():
        dotted |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return dotted


@contextmanager
def _context(domain: int) -> Iterator[Context]:
    context = Context()
    try:
        rclpy.init(args=[], context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        raise SubpxError(f"ROS 2 does not start: {error}") from error
    try:
        yield context
    finally:
        context.try_shutdown()


@contextmanager
def _terminable() -> Iterator[Callable[[], None]]:
    """SIGTERM ends the block like Ctrl-C, so that the node ends too.

    Yields what is to be called again and again inside: it raises KeyboardInterrupt once a signal has come. The one
    that the signal raised may be lost, for Python drops what is raised in a destructor or a callback of the collector.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if heard:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    previous = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield check
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
