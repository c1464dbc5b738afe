"""The files that commands leave, and what of each is shown. A key or a type that is not as written raises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from subpx_ros.evaluation.bench_results import Cell, Table, cell_text
from subpx_ros.evaluation.tables import accuracy_tables, summary_tables
from subpx_ros.report.content import Part


def _run(values: Mapping[str, Any]) -> Part:
    first, *tables = summary_tables(values)
    return Part(
        Path(values["source"]).name or values["source"],
        f"{values['mode']} odometry · {values['preset']} · refiner {values['refiner']} · {values['device']}",
        _accuracy_highlights(values)
        | {"lost frames": f"{values['lost']} of {values['frames']}", "frames per second": _shown(values["fps"])},
        [Table("run", first.columns, [row for row in first.rows if not str(row[0]).startswith("reason: ")]), *tables],
        {reason: f"{count} frames" for reason, count in values["reasons"].items()},
        {"source": _cell(values["source"])} | _made_with(values),
    )


def _evaluation(values: Mapping[str, Any]) -> Part:
    rows: list[list[Cell]] = [["estimate", f"{values['estimate']}"], ["truth", f"{values['truth']}"]]
    rows += [["frames in common", f"{values['frames']}"], ["associated by", f"{values['association']}"]]
    return Part(
        "Trajectory against truth",
        "evaluation",
        _accuracy_highlights(values),
        [Table("files", ["", "value"], rows), *accuracy_tables(values)],
    )


def _benchmark(values: Mapping[str, Any]) -> Part:
    data, failures = values["data"], values["failures"]
    names = data["sequences"] if "sequences" in data else [data["name"]] if "name" in data else []
    return Part(
        f"{values['benchmark']}" + (f" on {', '.join(map(str, names))}" if names else ""),
        "benchmark",
        {"items measured": f"{len(values['items'])}", "items failed": f"{len(failures)}"},
        _tables(values),
        {str(name): str(reason) for name, reason in failures.items()},
        _flat(data, "data: ") | _made_with(values),
    )


def _refiners(values: Mapping[str, Any]) -> Part:
    skipped = {str(line): "skipped" for line in values["skipped"]}
    return Part("Refiners against each other", "benchmark", {}, _tables(values), skipped, _made_with(values))


def _node(values: Mapping[str, Any]) -> Part:
    highlights = {"added by the node, median (ms)": _shown(values["overhead_ms"])}
    return Part("What the node adds", "benchmark", highlights, _tables(values), {}, _made_with(values))


def _throughput(values: Mapping[str, Any]) -> Part:
    kinds = {"kinds of images": f"{len(values['items'])}"}
    return Part("Converting the next images ahead", "benchmark", kinds, _tables(values), {}, _made_with(values))


def _export(values: Mapping[str, Any]) -> Part:
    columns = ["check", "value", "bar", "of", "passed"]
    rows = [[_cell(check[name]) for name in columns[:-1]] + [_yes(check["passed"])] for check in values["checks"]]
    table = Table("onnxruntime against PyTorch", columns, rows)
    highlights = {"all checks passed": _yes(values["passed"])}
    return Part("Export to ONNX", "export", highlights, [table], {}, {"subpx_ros": _cell(values["version"])})


def _training(values: Mapping[str, Any]) -> Part:
    metrics: list[list[Cell]] = [[name, _cell(value)] for name, value in values["metrics"].items()]
    data: list[list[Cell]] = [[str(name), str(value)] for name, value in values["data"].items()]
    return Part(
        f"{values['network']} for {values['detector']}",
        "training: the best validation",
        {"steps": f"{values['step']}", "processes": f"{values['processes']}"},
        [Table("validation", ["figure", "value"], metrics), Table("data", ["", "value"], data)],
        {},
        {"subpx_ros": _cell(values["package_version"]), "torch": _cell(values["torch_version"])},
    )


KINDS: Mapping[str, Callable[[Mapping[str, Any]], Part]] = {
    "summary.json": _run,
    "results.json": _benchmark,
    "evaluation.json": _evaluation,
    "refiner_bench.json": _refiners,
    "node_bench.json": _node,
    "throughput.json": _throughput,
    "parity.json": _export,
    "best.json": _training,
}
"""By file name, in the order of the page."""


def _accuracy_highlights(values: Mapping[str, Any]) -> dict[str, str]:
    drift, ate = values.get("drift"), values.get("ate_m")
    highlights = {}
    if drift is not None:
        highlights["drift (%)"] = _shown(drift["t_percent"])
        highlights["drift (deg/100 m)"] = _shown(drift["r_deg_per_100m"])
    if ate is not None:
        highlights["ATE (m)"] = _shown(ate)
    return highlights


def _tables(values: Mapping[str, Any]) -> list[Table]:
    tables = []
    for each in values["tables"]:
        columns, rows = [str(column) for column in each["columns"]], each["rows"]
        if any(len(row) != len(columns) for row in rows):
            raise ValueError(f"the table '{each['title']}' needs {len(columns)} cells in every row")
        tables.append(Table(str(each["title"]), columns, [[_cell(cell) for cell in row] for row in rows]))
    return tables


def _made_with(values: Mapping[str, Any]) -> dict[str, Cell]:
    """Versions and machine; runs of earlier versions have no machine."""
    return {
        str(name): _cell(value) for group in ("versions", "machine") for name, value in values.get(group, {}).items()
    }


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Cell]:
    """Nested values by the names that lead to them."""
    flat: dict[str, Cell] = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}, ") if inner else {f"{prefix}{name}": _cell(value)}
    return flat


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return _yes(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a number or a text was expected; got {str(value)[:40]}")


def _shown(value: Any) -> str:
    return cell_text(_cell(value))


def _yes(value: Any) -> str:
    return "yes" if value else "no"
