"""Is the covariance of the odometry right? NEES over 6 of stretches of a drive with true poses, 1 where it is.

.venv/bin/python -m tools.odometry_consistency street:highway:7 --frames 0:150
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from scipy.stats import chi2

from subpx_ros.config import load_config
from subpx_ros.datasets import open_sequence
from subpx_ros.errors import DataError
from subpx_ros.evaluation.nees import FREEDOM, stretches_nees
from subpx_ros.odometry import VisualOdometry

_LENGTHS = (1, 2, 5, 10, 20, 50)
_LEARNING = 30
"""Frames at the beginning, while the right centre is learnt, that do not count."""


def main(source: str, frames: Annotated[str, typer.Option(help="A:B, frames A up to B.")] = ":") -> None:
    sequence = open_sequence(source, "auto")
    if sequence.truth is None:
        raise DataError(f"{source} has no true poses, which are required")
    begin, end = (int(text) if text else None for text in frames.split(":"))
    indices = range(len(sequence))[begin:end]
    config = load_config({"device": "cpu"})
    odometry = VisualOdometry(config, sequence.rig)
    results = [odometry.process(sequence.frame(index)) for index in indices][_LEARNING:]
    truth = sequence.truth[indices.start : indices.stop][_LEARNING:]

    print("frames  stretches    mean  median  95 % of means")
    for length in _LENGTHS:
        values = stretches_nees(results, truth, length, config.odometry)
        if len(values):
            low, high = chi2.ppf([0.025, 0.975], FREEDOM * len(values)) / (FREEDOM * len(values))
            print(
                f"{length:6d}  {len(values):9d}  {np.mean(values):6.2f}  {np.median(values):6.2f}  {low:.2f} to {high:.2f}"
            )


if __name__ == "__main__":
    typer.run(main)
