"""`subpx bench pose | fundamental | homography | latency` on small data sets: figures, files, resume, workers, failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pair_trees as trees
import pytest
import yaml

from subpx_ros.cli import main
from subpx_ros.evaluation.bench_config import LatencyConfig, PairBenchConfig, RunnerConfig
from subpx_ros.evaluation.bench_results import Table
from subpx_ros.evaluation.latency import run_latency
from subpx_ros.evaluation.pairs.benchmark import create_task, run_pair_benchmark


def bench(task: str, data: Path, out: Path, **options: Any) -> dict[str, Any]:
    config = {"data": str(data), "presets": "sift", "device": "cpu"} | options
    return run_pair_benchmark(task, PairBenchConfig(**config), out)


def figures(table: dict[str, Any] | Table, row: int = 0) -> dict[str, Any]:
    columns, rows = (table.columns, table.rows) if isinstance(table, Table) else (table["columns"], table["rows"])
    return dict(zip(columns, rows[row], strict=True))


@pytest.fixture(scope="module")
def pose_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and the folder of a run on it."""
    data, out = trees.pair_list(tmp_path_factory.mktemp("pairs"), views=4), tmp_path_factory.mktemp("pose")
    options = ["--preset", "sift", "--estimator", "poselib,magsac", "--device", "cpu"]
    assert main(["bench", "pose", "--data", str(data), "--out", str(out), *options]) == 0
    return data, out


def test_a_pose_run_finds_the_poses_and_writes_everything(pose_run: tuple[Path, Path]) -> None:
    data, out = pose_run
    results = json.loads((out / "results.json").read_text())
    assert results["benchmark"] == "pose"
    assert results["data"] == {"name": data.name, "pairs": 3, "of": 3}
    assert results["failures"] == {}
    table, matches = results["tables"][:2]
    assert table["title"] == "relative pose, 3 pairs"
    methods = [row[:3] for row in table["rows"]]
    assert methods == [["sift", refiner, name] for refiner in ("detected", "ours") for name in ("poselib", "magsac")]
    for row in range(4):
        assert figures(table, row)["median (deg)"] < 1.0
        assert figures(table, row)["AUC@20 (%)"] > 90.0
        assert figures(table, row)["inliers (%)"] > 60.0
    assert all(figures(matches, row)["within 1 px (%)"] > 60.0 for row in range(2))
    assert [table["title"] for table in results["tables"][2:]][::2] == [
        "relative pose, scene0, 2 pairs",
        "relative pose, scene1, 1 pairs",
    ]
    assert results["machine"]["cores"] >= 1
    assert results["versions"]["subpx_ros"]
    settings = yaml.safe_load((out / "config.yaml").read_text())
    assert settings == results["settings"]
    assert settings["presets"]["sift"]["features"]["detector"] == "sift"
    assert cv2.imread(str(out / "recall.png")) is not None


def test_workers_give_the_same_as_one_process(pose_run: tuple[Path, Path], tmp_path: Path) -> None:
    data, out = pose_run
    options = {"estimators": "poselib,magsac", "runner": RunnerConfig(workers=2)}
    several = bench("pose", data, tmp_path, **options)
    one = json.loads((out / "results.json").read_text())
    assert several["items"] == one["items"]
    assert several["tables"] == one["tables"]


def test_an_interrupted_run_measures_only_what_is_missing(pose_run: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = pose_run
    first = bench("pose", data, tmp_path)
    files = sorted((tmp_path / "items").iterdir())
    stamps = [path.stat().st_mtime_ns for path in files]
    files[1].unlink()
    assert bench("pose", data, tmp_path)["items"] == first["items"]
    assert [path.stat().st_mtime_ns == stamp for path, stamp in zip(files, stamps, strict=True)] == [True, False, True]
    bench("pose", data, tmp_path, threshold_px=2.0)
    assert all(path.stat().st_mtime_ns != stamp for path, stamp in zip(files, stamps, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_image_costs_its_pairs_only(workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = trees.pair_list(tmp_path / "data", views=4), tmp_path / "out"
    image = data / "images/scene1/3.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:1000])
    command = ["bench", "fundamental", "--data", str(data), "--out", str(out), "--preset", "sift", "--device", "cpu"]
    assert main([*command, "--workers", str(workers)]) == 2
    results = json.loads((out / "results.json").read_text())
    assert len(results["items"]) == 2
    ((name, reason),) = results["failures"].items()
    assert name.endswith("scene0/2.png scene1/3.png")
    assert "cut off" in reason
    assert "1 of 3 items failed" in capsys.readouterr().err
    image.write_bytes(whole)
    assert main(command) == 0
    assert len(json.loads((out / "results.json").read_text())["items"]) == 3


def test_fundamental_matrices_hold_the_pose(pose_run: tuple[Path, Path], tmp_path: Path) -> None:
    table = bench("fundamental", pose_run[0], tmp_path)["tables"][0]
    for row in range(2):
        assert figures(table, row)["found (%)"] == 100.0
        assert figures(table, row)["distance (%)"] < 2.5
        assert figures(table, row)["median (deg)"] < 5.0


def test_homographies_by_kind_of_change(tmp_path: Path) -> None:
    results = bench("homography", trees.hpatches(tmp_path / "data"), tmp_path / "out", estimators="poselib,magsac")
    titles = [table["title"] for table in results["tables"]]
    assert titles[::2] == [
        "homography, 10 pairs",
        "homography, illumination, 5 pairs",
        "homography, viewpoint, 5 pairs",
    ]
    for row in range(4):
        models = figures(results["tables"][0], row)
        assert models["AUC@5 px (%)"] > 80.0
        assert models["median corner (px)"] < 1.0
    for row in range(2):
        matches = figures(results["tables"][1], row)
        assert matches["MMA@1 px (%)"] <= matches["MMA@3 px (%)"] <= matches["MMA@5 px (%)"]
        assert matches["MMA@3 px (%)"] > 80.0
        assert matches["localisation (px)"] < 1.0


def test_other_truth_than_the_benchmark_needs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = trees.oxford(tmp_path / "data")
    assert main(["bench", "pose", "--data", str(data), "--out", str(tmp_path / "out"), "--preset", "sift"]) == 2
    assert "use 'subpx bench homography'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--preset", "sifft"], "did you mean 'sift'"),
        (["--estimator", "ransac"], "unknown estimator"),
        (["--engine", "slurm"], "one of local, ray"),
        (["--workers", "0"], "whole number from 1"),
        (["--layout", "megadepth"], "megadepth1500"),
        (["--data", "absent"], "does not exist"),
        (["--weights", "absent.pth"], "absent.pth"),
    ],
)
def test_bad_usage_is_one_line(
    options: list[str], what: str, pose_run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [] if "--data" in options else ["--data", str(pose_run[0])]
    assert main(["bench", "pose", "--out", str(tmp_path), *data, *options]) == 2
    error = capsys.readouterr().err.strip()
    assert what in error
    assert len(error.splitlines()) == 1


def test_a_given_checkpoint_stands_beside_the_others(pose_run: tuple[Path, Path], tmp_path: Path) -> None:
    from subpx_ros import weights

    results = bench("pose", pose_run[0], tmp_path, weights=str(weights.find("subpx")), max_pairs=1)
    (item,) = results["items"].values()
    assert list(item["refiners"]) == ["detected", "ours", "given"]
    assert item["refiners"]["given"] == item["refiners"]["ours"]
    assert item["refiners"]["detected"] != item["refiners"]["ours"]


def test_most_pairs_are_spread_over_all(pose_run: tuple[Path, Path], tmp_path: Path) -> None:
    results = bench("pose", pose_run[0], tmp_path, max_pairs=2)
    assert [name.split()[0] for name in results["items"]] == ["sift/00000", "sift/00002"]
    assert results["data"] == {"name": pose_run[0].name, "pairs": 2, "of": 3}


def test_tables_are_made_of_all_pairs() -> None:
    """One pair at 2 deg, one at 12 deg, one without a pose; 10, 20 and 30 matches."""
    results = {
        f"pair {count}": {
            "preset": "p",
            "group": "",
            "refiners": {
                "ours": {
                    "matches": {"count": count, "accurate": count // 2},
                    "estimators": {"e": {"error_deg": error, "inliers": 6}},
                }
            },
        }
        for count, error in ((10, 2.0), (20, 12.0), (30, None))
    }
    models, matches = (figures(table) for table in create_task("pose").tables(results))
    # Recall rises to 1/3 at 2 deg, to 2/3 at 12 deg, and stays.
    assert models["AUC@5 (%)"] == pytest.approx(100.0 * (2.0 / 6.0 + 3.0 / 3.0) / 5.0)
    assert models["AUC@20 (%)"] == pytest.approx(100.0 * (2.0 / 6.0 + 10.0 * 0.5 + 8.0 * 2.0 / 3.0) / 20.0)
    assert models["mAA@10 (%)"] == pytest.approx(100.0 * 8 / 10 / 3), "below 3 to 10 deg, not below 1 and 2"
    assert models["median (deg)"] == 12.0
    assert models["inliers (%)"] == pytest.approx(30.0)
    assert matches["matches per pair"] == 20.0
    assert matches["within 1 px (%)"] == pytest.approx(50.0)


@pytest.mark.parametrize("preset", ["sift", "xfeat"])
def test_latency_of_every_stage(
    preset: str,
    pose_run: tuple[Path, Path],
    tmp_path: Path,
    shared_file: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages = {"detect, per image", "match", "refine, ours", "pose"}
    if preset == "xfeat":
        monkeypatch.setenv("SUBPX_WEIGHTS", str(shared_file("weights", "k2s_xfeat_pretrained.pth").parent))
        stages |= {"refine, published", "refine, retrained"}
    config = LatencyConfig(
        data=str(pose_run[0]), presets=preset, device="cpu", threads=1, warm_up=1, rounds=3, resize_px=256
    )
    results = run_latency(config, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert results["data"] == {"pair": "scene0/0.png scene1/1.png", "width": 256, "height": 192}
    measured = results["items"][preset]
    assert set(measured["stages"]) == stages
    assert measured["keypoints"] > 0
    assert all(0.0 < stage["median_ms"] <= stage["p95_ms"] for stage in measured["stages"].values())
    ours = measured["stages"]["refine, ours"]
    assert ours["us_per_match"] == pytest.approx(1e3 * ours["median_ms"] / measured["matches"])
    rows = {row[1]: row[-1] for row in results["tables"][0]["rows"]}
    assert rows.get("refine, published") == (1.0 if preset == "xfeat" else None)
    assert cv2.imread(str(tmp_path / "latency.png")) is not None


def test_real_photographs(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    data = shared_data("pairs_lund_door12")
    results = bench("pose", data, tmp_path, resize_px=640, max_pairs=2)
    for row in range(2):
        assert figures(results["tables"][0], row)["median (deg)"] < 1.0


def test_real_homographies(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    results = bench("homography", shared_data("homography_oxford_graf"), tmp_path, max_pairs=1)
    (item,) = results["items"].values()
    for refiner in ("detected", "ours"):
        assert item["refiners"][refiner]["estimators"]["poselib"]["corner_px"] < 2.0
        assert np.isfinite(item["refiners"][refiner]["matches"]["localisation_px"])
