"""Odometry over a whole sequence without a ROS graph: the core of `subpx run`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from subpx_ros.config import Config
from subpx_ros.console import progress_bar
from subpx_ros.datasets import Sequence
from subpx_ros.datatypes import Array, Frame, OdometryResult, RefinedMatches
from subpx_ros.evaluation.run import MatchedFrames, RunRecord
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.scale import OtherOdometry
from subpx_ros.settings import to_mapping

_MOST_OFFSETS = 200
"""Of a frame, for the histograms."""
_NO_PLACES = np.zeros((0, 2))
_NO_MATCHES = RefinedMatches(_NO_PLACES, _NO_PLACES, _NO_PLACES, _NO_PLACES, np.zeros(0, dtype=np.float32))


def run_sequence(
    sequence: Sequence,
    config: Config,
    source: str,
    report: Callable[[str], None] = lambda line: None,
    observe: Callable[[Frame, OdometryResult], None] = lambda frame, result: None,
    front_end: FrontEnd | None = None,
    progress: bool = True,
    other: OtherOdometry | None = None,
) -> RunRecord:
    """Process every frame in order.

    Args:
        sequence: the frames.
        config: all settings.
        source: what the user called the sequence.
        report: called with lines for people while models load.
        observe: called with every frame and what it gave.
        front_end: models that are loaded already, for the same configuration.
        progress: whether to show a bar.
        other: another odometry of the robot, which gives one camera its metres.

    Raises:
        SubpxError: the configuration does not fit the sequence, a model cannot be had, or a frame cannot be read.
    """
    odometry = VisualOdometry(config, sequence.rig, report, front_end, other)
    results: list[OdometryResult] = []
    offsets: list[Array] = []
    example: MatchedFrames | None = None
    start = time.perf_counter()
    with progress_bar(progress) as bar:
        task = bar.add_task(sequence.name, total=len(sequence), detail="")
        for frame in sequence:
            result = odometry.process(frame)
            observe(frame, result)
            if len(results) == len(sequence) // 2:
                example = _example(sequence, frame, result)
            offsets.append(_offsets(result))
            # Of a long sequence all matches would fill the memory.
            results.append(replace(result, matches=_NO_MATCHES, points=np.zeros((0, 3))))
            rate = len(results) / (time.perf_counter() - start)
            bar.update(task, advance=1, detail=f"{result.state.name.lower()}, {rate:.1f} frames/s")
    seconds = time.perf_counter() - start
    moves = np.concatenate(offsets)
    return RunRecord(
        source=source,
        preset=config.preset,
        refiner=odometry.refiner,
        device=odometry.device,
        mode=odometry.mode,
        config=to_mapping(config),
        stamps_ns=[result.stamp_ns for result in results],
        poses=np.stack([result.T_odom_camera for result in results]),
        states=[result.state for result in results],
        reasons=[result.reason for result in results],
        stage_ms=[result.stage_ms for result in results],
        counts=[result.counts for result in results],
        seconds=seconds,
        metric=all(result.metric for result in results),
        truth=sequence.truth,
        offsets=moves if np.any(moves) else None,
        example=example,
    )


def run_recorded(
    sequence: Sequence,
    config: Config,
    source: str,
    report: Callable[[str], None],
    path: Path,
    other: OtherOdometry | None = None,
) -> RunRecord:
    """As `run_sequence`, and everything into a Rerun recording (.rrd).

    Raises:
        ConfigError: the package rerun-sdk is not installed.
        SubpxError: as `run_sequence`, or the recording cannot be written.
    """
    from subpx_ros.evaluation.rerun_recording import recording

    with recording(path, sequence.rig, sequence.name) as taken:
        record = run_sequence(sequence, config, source, report, taken.add, other=other)
        taken.finish(record.poses, record.truth, record.metric)
    return record


def _offsets(result: OdometryResult) -> Array:
    """How far refinement moved the second points of inliers (K, 2), an even selection of them."""
    inliers = np.flatnonzero(result.inliers)
    chosen = inliers[:: max(1, -(-len(inliers) // _MOST_OFFSETS))]
    return (result.matches.refined1 - result.matches.detected1)[chosen]


def _example(sequence: Sequence, frame: Frame, result: OdometryResult) -> MatchedFrames | None:
    if result.reference_stamp_ns is None:
        return None
    numbers = tuple(sequence.stamps_ns.index(stamp) for stamp in (result.reference_stamp_ns, frame.stamp_ns))
    images = sequence.frame(numbers[0]).image, frame.image
    title = f"{sequence.name}, frames {numbers[0]} and {numbers[1]}"
    return MatchedFrames(images, result.matches, result.inliers, title)
