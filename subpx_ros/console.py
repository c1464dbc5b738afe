"""What a person sees in a terminal: progress bars, tables with units, one-line notes. Notes and bars go to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_Item = TypeVar("_Item")

_PIPED_WIDTH = 120
"""Columns of tables that go into a file or a pipe, which has no width of its own."""

_out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
_err = Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """One line that informs, on stderr."""
    _err.print(text, markup=False, soft_wrap=True)


def say(text: str) -> None:
    """One line of result, on stdout."""
    _out.print(text, markup=False, soft_wrap=True)


def progress_bar(shown: bool = True, transient: bool = False) -> Progress:
    """A bar with rate and remaining time; where stderr is no terminal it draws only its final state.

    A transient one is gone at the end, and is not drawn where there is no terminal.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns, console=_err, disable=not shown or (transient and not _err.is_terminal), transient=transient
    )


@contextmanager
def counting(description: str, detail: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is told how many are done, out of how many."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=None, detail=detail)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def track(items: Iterable[_Item], description: str, total: int) -> Iterable[_Item]:
    """The items, with a progress bar while they are consumed."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=total, detail="")
        for item in items:
            yield item
            bar.advance(task)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is left-aligned, the others right-aligned. Units belong into the headers."""
    drawn = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        drawn.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    _out.print(drawn)
