"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

SOURCE_HELP = "KITTI sequence folder, rosbag2, or 'demo' for the rendered street."
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
