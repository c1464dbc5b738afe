"""`subpx data …`: the data sets that this package reads, and checks of those on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subpx_ros.cli_options import Source, parse_frames
from subpx_ros.errors import ConfigError, DataError

data_app = typer.Typer(help="Data sets: what is known, where to get it, checks of folders.", no_args_is_help=True)


@data_app.command("list")
def list_data(
    name: Annotated[str | None, typer.Argument(help="Only this data set; by default all.")] = None,
) -> None:
    """The known data sets: what each is, where to get it, its licence and the layout expected."""
    from subpx_ros.console import say
    from subpx_ros.datasets.catalogue import CATALOGUE
    from subpx_ros.settings import unknown_name

    chosen = [each for each in CATALOGUE if name in (None, each.name)]
    if not chosen:
        raise ConfigError(unknown_name("data set", name, [each.name for each in CATALOGUE]))
    for each in chosen:
        say(f"{each.name} ({each.kind}): {each.title}")
        say(f"    from     {each.source}")
        say(f"    licence  {each.licence}")
        for index, line in enumerate(each.layout):
            say(f"    {'layout' if index == 0 else '      '}   {line}")


@data_app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A data set, or a folder with several.")],
    images: Annotated[bool, typer.Option(help="Decode every image too, not only files, headers and numbers.")] = True,
) -> None:
    """Recognise a data set by its files, check it, and say what is in it or what is missing."""
    from subpx_ros.console import note, progress_bar, table
    from subpx_ros.datasets.check import check_data

    with progress_bar(transient=True) as bar:
        task = bar.add_task(f"checking {path.name}", total=None, detail="")

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"checking {name}", completed=done, total=total)

        findings = check_data(path.expanduser(), images, show)
    good = [finding for finding in findings if not finding.fault]
    if good:
        rows = [(str(each.path), each.layout, each.content) for each in good]
        table("complete", ("data set", "layout", "content"), rows)
    faults = [f"{each.layout}: {each.fault}" for each in findings if each.fault]
    for fault in faults[:-1]:
        note(f"subpx: {fault}")
    if faults:
        raise DataError(faults[-1] if len(findings) == 1 else f"{faults[-1]} ({len(faults)} of {len(findings)} broken)")


@data_app.command()
def write(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder of the sequence, not there yet.")],
    mode: Annotated[str, typer.Option(help="auto, mono or stereo.")] = "auto",
    frames: Annotated[str | None, typer.Option(help="A:B, only the frames A <= index < B.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processes that make images at the same time.")] = 1,
) -> None:
    """Write a recording, or a rendered drive, as a folder in KITTI's layout, with its true poses where they are known."""
    from functools import partial

    from subpx_ros.console import counting, say
    from subpx_ros.datasets import open_sequence
    from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence

    reopen = partial(open_sequence, source, mode, parse_frames(frames))
    sequence = reopen()
    if sequence.rig.depth:
        raise DataError(f"{source} has depth, which KITTI's layout does not hold: use --mode mono")
    with counting(f"writing {out.name}", "frames") as progress:
        write_kitti_sequence(sequence, out, progress, reopen, processes)
    say(f"{len(sequence)} frames in {out}")
