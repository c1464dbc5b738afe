"""Items of a benchmark in this process, in several, and on Ray: the same results; failures and kills lose one item."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from subpx_ros.errors import DataError, SubpxError
from subpx_ros.evaluation.bench_config import RunnerConfig
from subpx_ros.evaluation.runner import Item, Measure, Outcome, run_items


@dataclass(frozen=True)
class Squares:
    """Counts its measurements in a folder, one file each, so that they are seen from outside of its processes."""

    log: Path
    unready: str = ""

    def prepare(self) -> Measure:
        if self.unready:
            raise DataError(self.unready)
        return self.measure

    def measure(self, item: Item) -> dict[str, Any]:
        (self.log / f"{item.name.replace('/', '_')}.{len(list(self.log.iterdir()))}").touch()
        number = item.settings["number"]
        if item.settings.get("do") == "refuse":
            raise DataError(f"{item.name} is damaged")
        if item.settings.get("do") == "defect":
            return {"value": 1 // 0}
        if item.settings.get("do") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"value": number / 3.0, "pair": (number, None)}


@dataclass(frozen=True)
class DiesUnready:
    def prepare(self) -> Measure:
        os._exit(3)


def numbers(count: int, **what: str) -> list[Item]:
    """Items; `what` maps their names, as 'n2', to what happens to them."""
    return [Item(f"n{i}", {"number": i} | ({"do": what[f"n{i}"]} if f"n{i}" in what else {})) for i in range(count)]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = Path(__file__).parent
    # The processes of Ray do not take over where this one finds its modules.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), *sys.path]))
    folder = tmp_path / "log"
    folder.mkdir()
    return folder


def run(items: list[Item], log: Path, out: Path, **config: Any) -> Outcome:
    return run_items(items, Squares(log), out, RunnerConfig(**config), "squares")


def engines() -> list[Any]:
    try:
        import ray  # noqa: F401
    except ImportError:
        with_ray = pytest.param({"workers": 2, "engine": "ray"}, marks=pytest.mark.skip(reason="Ray is not installed"))
    else:
        with_ray = pytest.param({"workers": 2, "engine": "ray"})
    return [pytest.param({"workers": 1}), pytest.param({"workers": 2}), with_ray]


@pytest.mark.parametrize("config", engines(), ids=["in process", "workers", "ray"])
def test_every_engine_gives_the_same_and_reports_failures(config: dict[str, Any], log: Path, tmp_path: Path) -> None:
    outcome = run(numbers(5, n1="refuse", n3="defect"), log, tmp_path / "out", **config)
    assert outcome.results == {f"n{i}": {"value": i / 3.0, "pair": [i, None]} for i in (0, 2, 4)}
    assert list(outcome.results) == ["n0", "n2", "n4"], "in the order of the items"
    assert outcome.failures["n1"] == "n1 is damaged"
    assert "ZeroDivisionError in test_runner.py line" in outcome.failures["n3"]


@pytest.mark.parametrize("config", engines()[1:], ids=["workers", "ray"])
def test_a_killed_process_costs_the_item_that_it_had(config: dict[str, Any], log: Path, tmp_path: Path) -> None:
    outcome = run(numbers(6, n2="die"), log, tmp_path / "out", **config)
    assert list(outcome.results) == ["n0", "n1", "n3", "n4", "n5"]
    assert list(outcome.failures) == ["n2"]
    assert "process" in outcome.failures["n2"]


def test_an_earlier_run_goes_on(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(numbers(4, n3="refuse"), log, out)
    assert len(list(log.iterdir())) == 4
    second = run(numbers(5), log, out, workers=2)
    assert len(list(log.iterdir())) == 6, "only the failed item and the new one"
    assert {name: second.results[name] for name in first.results} == first.results
    assert not second.failures


def test_other_settings_are_measured_again(log: Path, tmp_path: Path) -> None:
    run([Item("pair", {"number": 1})], log, tmp_path / "out")
    again = run([Item("pair", {"number": 2})], log, tmp_path / "out")
    assert again.results["pair"]["pair"] == [2, None]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": 3}', None])
def test_damaged_results_are_measured_again(content: str | None, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    item = Item("a/b c:ü", {"number": 3})
    before = run([item], log, out)
    (file,) = (out / "items").iterdir()
    if content is None:
        stored = json.loads(file.read_text())
        content = json.dumps(stored | {"result": "no table"})
    file.write_text(content)
    assert run([item], log, out) == before
    assert json.loads(file.read_text())["result"]["value"] == 1.0


def test_names_that_read_alike_have_files_of_their_own(log: Path, tmp_path: Path) -> None:
    items = [Item(name, {"number": n}) for n, name in enumerate(["a/b", "a b", "a_b", "../a", ".a"])]
    assert len(run(items, log, tmp_path / "out").results) == 5
    assert len(list((tmp_path / "out" / "items").iterdir())) == 5
    assert not [path for path in tmp_path.iterdir() if path.name not in ("out", "log")]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_keeps_all_items_from_running_is_told_once(workers: int, log: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError if workers == 1 else SubpxError, match="no weights"):
        run_items(numbers(4), Squares(log, unready="no weights"), tmp_path, RunnerConfig(workers=workers), "squares")
    assert not list(log.iterdir())


def test_a_process_that_dies_while_it_loads_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(SubpxError, match="could not get ready: its process ended with code 3"):
        run_items(numbers(3), DiesUnready(), tmp_path, RunnerConfig(workers=2), "squares")


def test_results_that_are_no_numbers_are_a_defect(log: Path, tmp_path: Path) -> None:
    class Nan(Squares):
        def measure(self, item: Item) -> dict[str, Any]:
            return {"value": float("nan")}

    with pytest.raises(ValueError, match="JSON"):
        run_items(numbers(1), Nan(log), tmp_path, RunnerConfig(), "squares")
