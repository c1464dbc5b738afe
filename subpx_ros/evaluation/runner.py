"""Works through the items of a benchmark: in this process, in several, or on a cluster; each result is kept on disk.

An item that fails is reported and the others go on. A run that was stopped goes on where it was: at most the items in
work are lost, because every result is a file of its own, written beside and renamed, with a hash of all that it depends on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from subpx_ros import __version__
from subpx_ros.console import progress_bar
from subpx_ros.errors import SubpxError
from subpx_ros.evaluation.bench_config import RunnerConfig
from subpx_ros.evaluation.run import write_json
from subpx_ros.output import output_folder

ITEMS_FOLDER = "items"
Measure = Callable[["Item"], dict[str, Any]]


@dataclass(frozen=True)
class Item:
    """One unit of work: a pair, a sequence."""

    name: str
    """Unique within the benchmark; shown to people."""
    settings: Mapping[str, Any]
    """Plain values: all that the result depends on."""

    @property
    def digest(self) -> str:
        """Of the settings and the package's version."""
        text = json.dumps([__version__, self.name, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def file_name(self) -> str:
        readable = re.sub(r"[^A-Za-z0-9.-]+", "_", self.name)[-80:].lstrip(".")
        return f"{readable}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}.json"


class Benchmark(Protocol):
    """What is run; it travels to the processes, so it must survive pickling."""

    def prepare(self) -> Measure:
        """Called once in every process: load what all items need, give the function that measures one.

        That function returns plain JSON values, None where a figure does not exist.
        """


@dataclass(frozen=True)
class Done:
    """What came of an item: a result, or the reason why there is none."""

    item: Item
    result: dict[str, Any] | None
    failure: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of all items."""

    results: dict[str, dict[str, Any]]
    """By item name, in the order of the items."""
    failures: dict[str, str]
    """Reasons by item name."""


def run_items(items: Sequence[Item], benchmark: Benchmark, out: Path, config: RunnerConfig, title: str) -> Outcome:
    """Measures what is not in `out` already, with a progress bar.

    Raises:
        SubpxError: the folder cannot be written, or no process can load what the benchmark needs.
    """
    folder = output_folder(output_folder(out) / ITEMS_FOLDER)
    results = {item.name: stored for item in items if (stored := _stored(folder, item)) is not None}
    missing = [item for item in items if item.name not in results]
    failures: dict[str, str] = {}
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(items), completed=len(results), detail="")
        for done in _engine(config)(benchmark, missing):
            if done.result is None:
                failures[done.item.name] = done.failure or "no reason is known"
            else:
                # Through JSON, so that results are the same whether they were just measured or read back.
                results[done.item.name] = json.loads(json.dumps(done.result, allow_nan=False))
                content = {"item": done.item.name, "digest": done.item.digest, "result": done.result}
                write_json(folder / done.item.file_name, content)
            bar.update(task, advance=1, detail=f"{len(failures)} failed" if failures else "")
    return Outcome({item.name: results[item.name] for item in items if item.name in results}, failures)


def attempt(measure: Measure, item: Item) -> Done:
    """The result of an item, or why it failed."""
    try:
        return Done(item, measure(item))
    except SubpxError as error:
        return Done(item, None, str(error))
    except Exception as error:  # noqa: BLE001 - a defect in one item must not lose the others; it is reported
        place = _innermost(error)
        return Done(item, None, f"{type(error).__name__} in {place}: {error}")


def in_process(benchmark: Benchmark, items: Sequence[Item]) -> Iterator[Done]:
    """One after the other in this process."""
    if items:
        measure = benchmark.prepare()
        for item in items:
            yield attempt(measure, item)


def _engine(config: RunnerConfig) -> Callable[[Benchmark, Sequence[Item]], Iterator[Done]]:
    if config.engine == "ray":
        from subpx_ros.evaluation.ray_engine import on_ray

        return lambda benchmark, items: on_ray(benchmark, items, config.workers)
    if config.workers == 1:
        return in_process
    from subpx_ros.evaluation.workers import in_workers

    return lambda benchmark, items: in_workers(benchmark, items, config.workers)


def _stored(folder: Path, item: Item) -> dict[str, Any] | None:
    """The result that an earlier run left, if it was measured with the same settings."""
    try:
        content = json.loads((folder / item.file_name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("digest") != item.digest:
        return None
    result = content.get("result")
    return result if isinstance(result, dict) else None


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown place"
    return f"{Path(trace.tb_frame.f_code.co_filename).name} line {trace.tb_lineno}"
