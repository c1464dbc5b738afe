"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from subpx_ros.errors import ConfigError

SOURCE_HELP = (
    "Folder of KITTI, KITTI raw, EuRoC or TUM RGB-D, rosbag2, 'street:clean', 'street:disturbed' or 'street:highway' for a "
    "rendered kilometre (':SEED' behind it for another one), or 'demo' for a short one."
)
Source = Annotated[str, typer.Argument(help=SOURCE_HELP)]
Preset = Annotated[
    str | None,
    typer.Option(help="xfeat, aliked, superpoint, disk, dedode, sift, orb; by default what the device can do."),
]
Refiner = Annotated[str | None, typer.Option(help="auto, none, keypt2subpx or subpx.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings, as config.yaml of a run.")]


def given(**options: str | None) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def parse_frames(text: str | None) -> tuple[int | None, int | None] | None:
    """The window of `--frames A:B`. Raises ConfigError for anything else."""
    if text is None:
        return None
    parsed = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text, re.ASCII)
    if not parsed:
        raise ConfigError(f"--frames takes A:B, whole numbers either of which may be left out; got '{text[:40]}'")
    start, stop = (int(number) if number else None for number in parsed.groups())
    return start, stop
