"""A report as one HTML file that needs nothing else: style, script and pictures are inside."""

from __future__ import annotations

import base64
import hashlib
import math
from importlib.resources import files
from pathlib import Path

from subpx_ros import __version__
from subpx_ros.evaluation.bench_results import Cell, Table, cell_text
from subpx_ros.output import output_folder, write_text
from subpx_ros.report.content import Picture, Report
from subpx_ros.report.reading import read_report


def write_report(folder: Path, path: Path) -> None:
    """Reads the folder and writes the page, complete or not at all.

    Raises:
        DataError: the folder holds no results, a file in it is broken, or the page cannot be written.
    """
    page = render(read_report(folder))
    output_folder(path.parent)
    write_text(path, page)


def render(report: Report) -> str:
    """The page. All text is escaped by the template, and the page forbids any script, style or request but its own."""
    from jinja2 import Environment, StrictUndefined

    parts = files("subpx_ros.report")
    style, script = ((parts / name).read_text(encoding="utf-8").strip() for name in ("page.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"shown": cell_text, "key": sort_key, "numeric": numeric_columns, "data_uri": _data_uri}
    template = environment.from_string((parts / "page.html").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=__version__,
    )


def sort_key(cell: Cell) -> str:
    """The number in a cell, by which its column is sorted; empty where it holds none."""
    words = cell.split(maxsplit=1) if isinstance(cell, str) else [cell]
    try:
        value = float(words[0]) if words and words[0] is not None else math.nan
    except ValueError:
        return ""
    return repr(value) if math.isfinite(value) else ""


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers and gaps only: they stand right-aligned and are sorted by their numbers."""
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.columns)
    return [all(sort_key(cell) or cell_text(cell) in ("-", "") for cell in column) for column in columns]


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode('ascii')}"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
