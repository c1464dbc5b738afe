"""`subpx data …`: the data sets that this package reads, and checks of those on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
