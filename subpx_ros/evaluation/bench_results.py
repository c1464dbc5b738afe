"""What a benchmark leaves behind: results.json, config.yaml, tables on the terminal; pictures stand beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from subpx_ros.console import note, say, table
from subpx_ros.errors import SubpxError
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.evaluation.run import write_json
from subpx_ros.evaluation.runner import Outcome
from subpx_ros.output import output_folder, write_text

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Figures for people and for the report; units stand in the columns' names."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    """Numbers with all their digits; None where a figure does not exist."""

    def show(self) -> None:
        table(self.title, self.columns, [[cell_text(cell) for cell in row] for row in self.rows])


def write_results(
    out: Path,
    benchmark: str,
    settings: Mapping[str, Any],
    tables: Sequence[Table],
    outcome: Outcome,
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes `results.json` and `config.yaml` into `out` and prints the tables.

    Args:
        out: folder of the benchmark.
        benchmark: its name.
        settings: all settings, nested plain values.
        tables: the figures.
        outcome: what came of the items.
        data: plain values that say what was measured on.

    Returns:
        The content of results.json.

    Raises:
        SubpxError: after everything is written, when items failed.
    """
    import yaml

    output_folder(out)
    results = {
        "benchmark": benchmark,
        "data": dict(data),
        "settings": dict(settings),
        "tables": [asdict(each) for each in tables],
        "items": outcome.results,
        "failures": outcome.failures,
        "machine": machine(),
        "versions": library_versions(),
    }
    write_text(out / "config.yaml", yaml.safe_dump(dict(settings), sort_keys=False))
    write_json(out / "results.json", results)
    for each in tables:
        each.show()
    for name, reason in outcome.failures.items():
        note(f"failed: {name}: {reason}")
    say(
        f"outputs in {out}: results.json, config.yaml" + "".join(f", {path.name}" for path in sorted(out.glob("*.png")))
    )
    if outcome.failures:
        count = len(outcome.failures) + len(outcome.results)
        raise SubpxError(
            f"{len(outcome.failures)} of {count} items failed; the others are in {out / 'results.json'}, and the same "
            "command tries the failed ones again"
        )
    return results


def cell_text(cell: Cell) -> str:
    """For people: three decimals of small numbers, two of others, a dash where a figure does not exist."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.3f}" if abs(cell) < 10.0 else f"{cell:.2f}"
    return str(cell)
