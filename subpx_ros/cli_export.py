"""`subpx export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subpx_ros.cli_options import ConfigFile, Preset, Refiner, given
from subpx_ros.errors import SubpxError


def export(
    out: Annotated[Path, typer.Option(help="Folder for the ONNX files, parity.json and config.yaml.")],
    preset: Preset = None,
    refiner: Refiner = None,
    keypoints: Annotated[int | None, typer.Option(help="Keypoint budget; by default that of the preset.")] = None,
    images: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two views to compare on; by default of the rendered street.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Write detector, matcher and refiner as ONNX, and compare onnxruntime with PyTorch."""
    from subpx_ros.config import load_config
    from subpx_ros.console import note, say, table
    from subpx_ros.datasets import open_sequence
    from subpx_ros.datasets.image_files import read_grey

    overrides = {
        "device": "cpu",
        **given(preset=preset, refiner=refiner),
        **({"features": {"max_keypoints": keypoints}} if keypoints is not None else {}),
    }
    settings = load_config(overrides, config)
    if images:
        views = read_grey(images[0]), read_grey(images[1])
    else:
        street = open_sequence("demo", "mono", (0, 2))
        views = street.frame(0).image, street.frame(1).image

    from subpx_ros.export.exporter import export as write

    parity = write(settings, out, views, note)
    rows = [
        (check.name, f"{check.value:.6g}", f"{check.bar:g}", str(check.of), "yes" if check.passed else "NO")
        for check in parity.checks
    ]
    table("onnxruntime against PyTorch", ("check", "value", "bar", "of", "passed"), rows)
    say(f"outputs in {out}")
    if not parity.passed:
        raise SubpxError(f"the exported files do not do what PyTorch does: see {out / 'parity.json'}")
