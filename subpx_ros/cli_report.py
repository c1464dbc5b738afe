"""`subpx report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="What run, replay, eval, bench, export or train had as --out.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; by default report.html in the folder.")] = None,
) -> None:
    """One HTML page of a folder of results: figures, pictures, settings; it needs no other file and no network."""
    from subpx_ros.console import say
    from subpx_ros.report.page import write_report

    path = out or folder / "report.html"
    write_report(folder, path)
    say(f"{path}")
