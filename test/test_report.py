"""The HTML report: what it shows of every kind of folder, that hostile text stays text, and that a browser is content."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Browser, find_browser, headless

from subpx_ros.cli import main
from subpx_ros.errors import DataError
from subpx_ros.evaluation.bench_results import Cell, Table
from subpx_ros.report.page import numeric_columns, render, sort_key, write_report
from subpx_ros.report.reading import read_report

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}</style></title>&amp;"
ROWS: list[list[Any]] = [["b", 10.5, 3], ["a", 9.25, None], ["c", 100.0, 1]]
TABLE = {"title": "drift", "columns": ["refiner", "error (px)", "frames"], "rows": ROWS}


def results(**changed: Any) -> dict[str, Any]:
    """As a benchmark writes them."""
    written: dict[str, Any] = {
        "benchmark": "pose",
        "data": {"name": "lund", "pairs": 66},
        "settings": {},
        "tables": [TABLE],
        "items": {"one": {}},
        "failures": {},
        "machine": {"cores": 2, "gpu": None},
        "versions": {"subpx_ros": "0.1.0"},
    }
    return written | changed


def bench_folder(path: Path, **changed: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "results.json").write_text(json.dumps(results(**changed)))
    (path / "config.yaml").write_text("workers: 1  # <all>\n")
    picture(path / "recall.png")
    return path


def picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), np.full((20, 30, 3), 90, np.uint8))


class Reader(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder: Path) -> str:
    return render(read_report(folder))


def test_a_benchmark_shows_tables_pictures_failures_settings_and_machine(tmp_path: Path) -> None:
    folder = bench_folder(tmp_path, failures={"pair 7": "12 matches, at least 20 are required"})
    page = page_of(folder)
    read = Reader(page)
    for shown in (
        *("pose on lund", "error (px)", "10.50", "9.250", "pair 7", "12 matches, at least 20 are required"),
        *("workers: 1  # <all>", "cores", "Share of the pairs whose error is below the value on the axis."),
    ):
        assert shown in read.text
    assert [base64.b64decode(str(image["src"]).partition(",")[2]) for image in read.named("img")] == [
        (folder / "recall.png").read_bytes()
    ]
    assert [(image["width"], image["height"]) for image in read.named("img")] == [("30", "20")]
    assert [header["aria-sort"] for header in read.named("th")] == ["none"] * 3
    assert [cell["data-key"] for cell in read.named("td")][:3] == ["", "10.5", "3.0"]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    page = page_of(bench_folder(tmp_path))
    read = Reader(page)
    places = [value for _, attributes in read.tags for name, value in attributes.items() if name in ("src", "href")]
    assert places and all(str(place).startswith("data:image/png;base64,") for place in places)
    assert not re.search(r"https?://|url\(|@import", page)


@pytest.mark.parametrize("place", ["benchmark", "data", "tables", "failures", "versions", "settings", "picture"])
def test_hostile_text_stays_text(tmp_path: Path, place: str) -> None:
    harmless = Reader(page_of(bench_folder(tmp_path / "harmless", failures={"name": "why"})))
    names = {
        "benchmark": HOSTILE,
        "data": {"name": HOSTILE, HOSTILE: HOSTILE},
        "tables": [{"title": HOSTILE, "columns": [HOSTILE] * 3, "rows": [[HOSTILE] * 3]}],
        "failures": {HOSTILE: HOSTILE},
        "versions": {HOSTILE: HOSTILE},
    }
    changed = {place: names[place]} if place in names else {}
    folder = bench_folder(tmp_path / "hostile", **({"failures": {"name": "why"}} | changed))
    if place == "settings":
        (folder / "config.yaml").write_text(HOSTILE)
    if place == "picture":
        picture(folder / (HOSTILE.replace("/", "") + ".png"))
    page = page_of(folder)
    read = Reader(page)
    assert (HOSTILE.replace("/", "") if place == "picture" else HOSTILE) in read.text
    assert {tag for tag, _ in read.tags} <= {tag for tag, _ in harmless.tags}
    assert len(read.named("script")) == 1 and page.count("<script") == 1
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]


FOLDERS = {
    "summary.json": {
        "source": "data/street",
        "mode": "stereo",
        "preset": "xfeat",
        "refiner": "subpx",
        "device": "cpu",
        "frames": 50,
        "lost": 2,
        "degraded": 1,
        "reasons": {"too few matches": 3},
        "seconds": 5.0,
        "fps": 10.0,
        "stage_ms": {"total": {"median": 90.0, "p95": 99.0}},
        "peak_rss_mb": 700.0,
        "versions": {"numpy": "2"},
    },
    "evaluation.json": {
        "estimate": "a.txt",
        "truth": "b.txt",
        "frames": 9,
        "association": "index",
        "path_m": 8.0,
        "drift": None,
        "ate_m": 0.125,
        "rpe": {"t_m_median": 0.01, "r_deg_median": None},
        "per_frame": {"direction_deg_median": 0.5},
    },
    "refiner_bench.json": {"skipped": ["pose accuracy: give --pairs PATH"], "tables": [TABLE]},
    "node_bench.json": {"overhead_ms": 5.125, "tables": [TABLE]},
    "throughput.json": {"items": {"grey": {}}, "tables": [TABLE]},
    "parity.json": {
        "version": "0.1.0",
        "passed": True,
        "checks": [{"check": "keypoints", "value": 1.0, "bar": 0.99, "of": 128, "passed": True}],
    },
    "best.json": {
        "network": "subpx",
        "detector": "xfeat",
        "package_version": "0.1.0",
        "torch_version": "2",
        "step": 900,
        "processes": 1,
        "metrics": {"median_px": 0.375},
        "data": {"warps": {"pairs": 4}},
    },
}
SHOWN = {
    "summary.json": ["street", "data/street", "2 of 50", "too few matches", "3 frames", "99.0"],
    "evaluation.json": ["a.txt", "0.125", "none: the path is too short"],
    "refiner_bench.json": ["pose accuracy: give --pairs PATH", "10.50"],
    "node_bench.json": ["5.125", "10.50"],
    "throughput.json": ["kinds of images", "10.50"],
    "parity.json": ["keypoints", "128", "yes"],
    "best.json": ["subpx for xfeat", "900", "0.375"],
}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_kind_of_folder_has_a_page(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(FOLDERS[name]))
    text = Reader(page_of(tmp_path)).text
    assert all(shown in text for shown in SHOWN[name])


def test_a_benchmark_on_sequences_names_them_and_their_sources(tmp_path: Path) -> None:
    data = {"sequences": {"06": {"source": "kitti/06", "frames": 51}, "00": {"source": "kitti/00", "frames": 160}}}
    text = Reader(page_of(bench_folder(tmp_path, benchmark="kitti", data=data))).text
    assert "kitti on 06, 00" in text and "data: sequences, 06, source" in text and "kitti/00" in text


def test_pictures_of_a_subfolder_are_shown_and_named(tmp_path: Path) -> None:
    folder = bench_folder(tmp_path)
    picture(folder / "pictures" / "06_own.png")
    (folder / ".recall-x1y2.png").write_bytes(b"")  # that a command is just writing
    assert [each.caption for each in read_report(folder).pictures][1:] == ["pictures/06_own"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("{", "Expecting"),
        ("[]", "an object was expected"),
        ("{}", "'data' is missing"),
        (json.dumps(results(tables=[{"title": "t", "columns": ["a"], "rows": [[1, 2]]}])), "needs 1 cells"),
        (json.dumps(results(tables=[{"title": "t", "columns": ["a"], "rows": [[{}]]}])), "a number or a text"),
        (json.dumps(results(tables=[{"title": "t", "columns": ["a"], "rows": 3}])), "not iterable"),
        (json.dumps(results(failures=[1])), "items"),
        (json.dumps(results(tables=[{"title": "t", "columns": ["a"], "rows": [[float("nan")]]}])), "NaN is no JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_broken_results_are_one_line_and_leave_no_page(
    tmp_path: Path, broken: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(broken)
    assert main(["report", str(tmp_path)]) == 2
    complaint = capfd.readouterr().err
    assert complaint.count("\n") == 1 and said in complaint and "results.json" in complaint
    assert not (tmp_path / "report.html").exists()


def test_other_folders_are_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for folder, said in ((tmp_path, "holds no results"), (tmp_path / "none", "is not a folder")):
        assert main(["report", str(folder)]) == 2
        complaint = capfd.readouterr().err
        assert complaint.count("\n") == 1 and said in complaint


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    folder = bench_folder(tmp_path)
    whole = (folder / "recall.png").read_bytes()
    (folder / "recall.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"recall\.png is no whole PNG file"):
        read_report(folder)


def test_numbers_are_sorted_as_numbers() -> None:
    cells: dict[Cell, str] = {
        10.5: "10.5",
        "10 m": "10.0",
        "-3.5": "-3.5",
        7: "7.0",
        "xfeat": "",
        None: "",
        "nan": "",
        "": "",
        "-": "",
    }
    assert {cell: sort_key(cell) for cell in cells} == cells
    table = Table("drift", ["refiner", "error (px)", "frames"], ROWS)
    assert numeric_columns(table) == [False, True, True]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium on PATH (Debian: apt install chromium)")
    with headless(executable, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


COLUMN = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[{}].textContent)"
ARIA = "[...document.querySelectorAll('th')].map(header => header.getAttribute('aria-sort'))"


def test_a_browser_loads_the_pictures_and_sorts_the_tables(browser: Browser, tmp_path: Path) -> None:
    folder = bench_folder(tmp_path, failures={HOSTILE: HOSTILE})
    for name in ("latency", "offsets"):
        picture(folder / f"{name}.png")
    write_report(folder, folder / "report.html")
    browser.open(folder / "report.html")
    sizes = browser.evaluate("[...document.images].map(each => [each.complete, each.naturalWidth, each.naturalHeight])")
    assert sizes == [[True, 30, 20]] * 3
    assert browser.evaluate(COLUMN.format(1)) == ["10.50", "9.250", "100.00"]
    browser.click("th button", 1)
    assert browser.evaluate(COLUMN.format(1)) == ["9.250", "10.50", "100.00"]
    assert browser.evaluate(ARIA) == ["none", "ascending", "none"]
    browser.click("th button", 1)
    assert browser.evaluate(COLUMN.format(1)) == ["100.00", "10.50", "9.250"]
    assert browser.evaluate(ARIA) == ["none", "descending", "none"]
    browser.click("th button", 2)  # a figure that does not exist stays last
    assert browser.evaluate(COLUMN.format(2)) == ["1", "3", "-"]
    browser.click("th button", 2)
    assert browser.evaluate(COLUMN.format(2)) == ["3", "1", "-"]
    browser.click("th button", 0)
    assert browser.evaluate(COLUMN.format(0)) == ["a", "b", "c"]
    assert browser.evaluate("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    assert browser.problems == []


def test_a_script_that_got_into_a_page_would_not_run(browser: Browser, tmp_path: Path) -> None:
    folder = bench_folder(tmp_path)
    page = page_of(folder).replace("<footer>", "<script>document.title = 'taken'</script><footer>")
    (folder / "report.html").write_text(page)
    browser.open(folder / "report.html")
    assert browser.evaluate("document.title") == "pose on lund – subpx_ros"
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()
