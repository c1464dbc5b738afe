"""Odometry over a whole sequence without a ROS graph: the core of `subpx run`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from subpx_ros.config import Config
from subpx_ros.console import progress_bar
from subpx_ros.datasets import Sequence
from subpx_ros.evaluation.run import RunRecord
from subpx_ros.odometry import VisualOdometry
from subpx_ros.settings import to_mapping


def run_sequence(
    sequence: Sequence, config: Config, source: str, report: Callable[[str], None] = lambda line: None
) -> RunRecord:
    """Process every frame in order, with a progress bar.

    Raises:
        SubpxError: the configuration does not fit the sequence, a model cannot be had, or a frame cannot be read.
    """
    odometry = VisualOdometry(config, sequence.rig, report)
    results = []
    start = time.perf_counter()
    with progress_bar() as bar:
        task = bar.add_task(sequence.name, total=len(sequence), detail="")
        for frame in sequence:
            result = odometry.process(frame)
            results.append(result)
            rate = len(results) / (time.perf_counter() - start)
            bar.update(task, advance=1, detail=f"{result.state.name.lower()}, {rate:.1f} frames/s")
    seconds = time.perf_counter() - start
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
        seconds=seconds,
        metric=odometry.mode != "mono",
        truth=sequence.truth,
    )
