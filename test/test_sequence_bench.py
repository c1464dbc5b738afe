"""`subpx bench odometry` on short rendered drives: figures, files, resume, workers, failures; its tables by hand."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from subpx_ros.cli import main
from subpx_ros.datasets import open_sequence
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence
from subpx_ros.datatypes import Camera, Rig
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.evaluation.bench_config import RunnerConfig, SequenceBenchConfig
from subpx_ros.evaluation.bench_presets import preset_configs, varied
from subpx_ros.evaluation.compare import evaluate
from subpx_ros.evaluation.runner import attempt
from subpx_ros.evaluation.sequences.benchmark import SequenceBenchmark, named
from subpx_ros.evaluation.sequences.peers import known_peers, run_peer
from subpx_ros.evaluation.sequences.tables import sequence_tables
from subpx_ros.evaluation.trajectories import read_trajectory

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
FRAMES = 10
# Threads that wait for each other cost more on a busy machine than they gain on images of this size.
ONE_THREAD = str(Path(__file__).parent / "data" / "one_thread.yaml")
OPTIONS = ["--preset", "sift", "--device", "cpu", "--config", ONE_THREAD]
TIMES = ("fps", "stage_ms")

Drives = tuple[Path, Path]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Drives:
    """A stereo drive of 13.5 m, and another folder of the same name with the left camera of its beginning."""
    stereo = tmp_path_factory.mktemp("a") / "street one"
    config = StreetConfig(seed=3, length_m=60.0, speed_m=1.5)
    write_kitti_sequence(StreetSequence(config, frames=FRAMES, rig=Rig(CAMERA, CAMERA, 0.5)), stereo)
    mono = tmp_path_factory.mktemp("b") / "street one"
    (mono / "image_0").mkdir(parents=True)
    for path in sorted((stereo / "image_0").iterdir())[:5]:
        shutil.copy(path, mono / "image_0")
    shutil.copy(stereo / "calib.txt", mono)
    for name in ("poses.txt", "times.txt"):
        (mono / name).write_text("".join((stereo / name).read_text().splitlines(keepends=True)[:5]))
    return stereo, mono


@pytest.fixture(scope="module")
def run(drives: Drives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert main(["bench", "odometry", *map(str, drives), "--out", str(out), *OPTIONS]) == 0
    return out


@pytest.fixture
def results(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "results.json").read_text()))


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def test_figures_of_every_recording_and_refiner(results: dict[str, Any]) -> None:
    assert results["benchmark"] == "odometry" and results["failures"] == {}
    assert {name: data["frames"] for name, data in results["data"]["sequences"].items()} == {
        "street_one": FRAMES,
        "street_one-2": 5,
    }
    per_recording, per_frame, per_length, per_speed = results["tables"]
    names = [(row["recording"], row["refiner"], row["mode"], row["lost"]) for row in rows(per_recording)]
    assert names == [
        ("street_one", "detected", "stereo", 0),
        ("street_one", "ours", "stereo", 0),
        ("street_one-2", "detected", "mono", 0),
        ("street_one-2", "ours", "mono", 0),
    ]
    for row in rows(per_recording)[:2]:
        assert 0.0 < row["translation (%)"] < 2.0 and 0.0 < row["rotation (deg/100 m)"] < 5.0
        assert 0.0 < row["ATE (m)"] < 0.1 and 0.0 < row["RPE (m)"] < 0.05
    assert rows(per_recording)[2]["translation (%)"] is None, "6 m are shorter than any segment"
    assert all(row["time (ms)"] > 0.0 for row in rows(per_frame))
    # 9 steps of 1.5 m: starts 0, 1 and 2 have more than 10 m ahead of them, in 8 frames.
    assert [(row["length (m)"], row["segments"]) for row in rows(per_length)] == [(10, 3), (10, 3)]
    assert {row["speed (m/s)"] for row in rows(per_speed)} == {12, 14}
    assert rows(per_length)[0]["translation (%)"] == pytest.approx(rows(per_recording)[0]["translation (%)"])
    assert "frames_data" not in results["items"]["sift/street_one/ours"]


def test_files_and_settings(run: Path, results: dict[str, Any], drives: Drives) -> None:
    pictures = {
        f"{kind}_sift_{name}.png" for kind in ("trajectory", "frames") for name in ("street_one", "street_one-2")
    }
    assert {path.name for path in run.glob("*.png")} == pictures | {"drift_sift_stereo.png"}
    for picture in run.glob("*.png"):
        assert np.std(np.asarray(cv2.imread(str(picture)))) > 5
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings == results["settings"]
    assert settings["sequences"] == [str(drive) for drive in drives]
    assert settings["presets"]["sift"]["refiner"] == "none"


def test_trajectories_are_what_the_figures_are_of(run: Path, results: dict[str, Any], drives: Drives) -> None:
    folder = run / "trajectories" / "sift" / "street_one"
    assert files_in(folder) == ["detected.tum", "detected.txt", "ours.tum", "ours.txt"]
    again = evaluate(folder / "ours.txt", drives[0] / "poses.txt")
    item = results["items"]["sift/street_one/ours"]
    assert again["ate_m"] == pytest.approx(item["ate_m"], abs=1e-6)
    assert again["drift"]["t_percent"] == pytest.approx(item["drift"]["t_percent"], abs=1e-6)
    assert read_trajectory(folder / "ours.tum").stamps_ns == tuple(n * 10**8 for n in range(FRAMES))


def test_workers_go_on_with_an_earlier_run_and_give_the_same(
    run: Path, results: dict[str, Any], drives: Drives, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(run, out)
    lost = [path for path in (out / "items").iterdir() if "one-2" in path.name]
    kept = {path: path.read_bytes() for path in (out / "items").iterdir() if path not in lost}
    for path in lost:
        path.unlink()
    assert main(["bench", "odometry", *map(str, drives), "--out", str(out), *OPTIONS, "--workers", "2"]) == 0
    assert len(lost) == 2 and all(path.exists() for path in lost)
    assert {path: path.read_bytes() for path in kept} == kept
    again = json.loads((out / "results.json").read_text())
    for name, item in results["items"].items():
        for key in set(item) - set(TIMES):
            assert again["items"][name][key] == item[key]


def test_a_damaged_recording_costs_its_own_items(
    drives: Drives, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(drives[1], broken)
    path = broken / "image_0" / "000003.png"
    path.write_bytes(path.read_bytes()[:-100])
    arguments = ["bench", "odometry", str(broken), str(drives[1]), "--out", str(tmp_path / "out"), *OPTIONS]
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("subpx: 2 of 4 items failed; the others are in ")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["items"]) == ["sift/street_one/detected", "sift/street_one/ours"]
    assert all("000003.png: the PNG image is cut off" in reason for reason in results["failures"].values())


def test_frames_and_mode(drives: Drives, tmp_path: Path) -> None:
    options = [*OPTIONS, "--frames", "1:4", "--mode", "mono"]
    assert main(["bench", "odometry", str(drives[0]), "--out", str(tmp_path), *options]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    item = results["items"]["sift/street_one/ours"]
    assert (item["frames"], item["mode"], item["metric"]) == (3, "mono", False)
    assert results["settings"]["frames"] == [1, 4]


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ("no truth", [], r"has no true poses, which drift is measured against: leave it out"),
        ("none", ["--frames", "1-4"], r"--frames takes A:B"),
        ("none", ["--frames", "9:12"], r"--frames A:B needs 0 <= A < B <= 5"),
        ("none", ["--preset", "sitf"], r"unknown preset 'sitf' .did you mean 'sift'"),
        ("none", ["--mode", "stereo"], r"mode stereo needs two cameras"),
        ("none", ["--workers", "0"], r"setting 'workers' takes a whole number from 1"),
        ("none", ["--weights", "nowhere.safetensors"], r"nowhere.safetensors"),
        ("away", [], r"does not exist"),
    ],
)
def test_bad_usage_is_one_line(
    drives: Drives, tmp_path: Path, change: str, arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drive"
    if change != "away":
        shutil.copytree(drives[1], folder)
    if change == "no truth":
        (folder / "poses.txt").unlink()
    assert main(["bench", "odometry", str(folder), "--out", str(tmp_path / "out"), *OPTIONS, *arguments]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("subpx: ")]
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert not (tmp_path / "out" / "results.json").exists()


def figures(sequence: str, lengths: list[tuple[int, float, int]], **other: Any) -> dict[str, Any]:
    drift = {
        "t_percent": float(np.average([t for _, t, _ in lengths], weights=[n for *_, n in lengths])),
        "r_deg_per_100m": 0.5,
        "lengths_m": [length for length, *_ in lengths],
        "per_length": [
            {"length_m": length, "t_percent": t, "r_deg_per_100m": 0.5, "segments": n} for length, t, n in lengths
        ],
        "per_speed": [],
    }
    return {
        "preset": "xfeat",
        "refiner": "ours",
        "sequence": sequence,
        "mode": "stereo",
        "frames": 100,
        "lost": 3,
        "drift": drift,
        "ate_m": 1.0,
        "rpe": {"t_m_rmse": 0.1, "r_deg_rmse": 0.2},
        "per_frame": {"rotation_deg_median": 0.3, "direction_deg_median": None},
        "stage_ms": {"total": {"median": 100.0, "p95": 150.0}},
    } | other


def test_recordings_are_pooled_by_their_segments() -> None:
    results = {"a": figures("00", [(100, 1.0, 30), (200, 2.0, 10)]), "b": figures("04", [(100, 3.0, 10)], lost=1)}
    per_recording, per_frame, per_length = sequence_tables(results)
    mean = (30 * 1.0 + 10 * 2.0 + 10 * 3.0) / 50
    assert per_recording.rows[-1] == ["xfeat", "ours", "stereo", "all", 200, 4, mean, 0.5, None, None, None, None]
    assert per_length.rows == [
        ["xfeat", "ours", "stereo", 100, 1.5, 0.5, 40],
        ["xfeat", "ours", "stereo", 200, 2.0, 0.5, 10],
    ]
    assert per_frame.rows[0] == ["xfeat", "ours", "stereo", "00", 0.3, None, 100.0, 150.0]


def test_short_and_official_segments_and_modes_are_not_mixed() -> None:
    long, short = figures("00", [(100, 1.0, 30)]), figures("06", [(10, 3.0, 10)])
    row = sequence_tables({"a": long, "b": short})[0].rows[-1]
    assert row[2:8] == ["stereo", "all", 200, 6, None, None]
    per_recording, _, per_length = sequence_tables({"a": long, "b": short | {"mode": "mono"}})
    assert [row[3] for row in per_recording.rows] == ["00", "06"]
    assert [row[2:4] for row in per_length.rows] == [["stereo", 100], ["mono", 10]]


def test_a_recording_without_segments_has_no_drift() -> None:
    tables = sequence_tables({"a": figures("00", [(100, 1.0, 30)], drift=None)})
    assert tables[0].rows[0][6:8] == [None, None] and len(tables) == 2
    assert sequence_tables({}) == []


def test_a_real_drive(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    drive = str(shared_data("kitti06_stereo51"))
    assert main(["bench", "odometry", drive, "--out", str(tmp_path), "--frames", ":3", *OPTIONS]) == 0
    items = json.loads((tmp_path / "results.json").read_text())["items"]
    assert set(items) == {f"sift/kitti06_stereo51/{refiner}" for refiner in ("detected", "ours")}
    for item in items.values():
        assert item["lost"] == 0 and item["per_frame"]["rotation_deg_median"] < 0.2


def test_items_depend_on_what_changes_their_result(drives: Drives) -> None:
    def digests(frames: tuple[int | None, int | None] | None, source: Path, workers: int) -> list[str]:
        config = SequenceBenchConfig(presets="sift", device="cpu")
        presets = preset_configs(["sift"], RunnerConfig(workers), None, device="cpu", mode="auto")
        benchmark = SequenceBenchmark(config, presets, named([str(source)], "auto", frames), frames)
        return [item.digest for item in benchmark.items()]

    first = digests(None, drives[0], 1)
    assert first == digests(None, drives[0], 2), "no result depends on how many share the machine"
    assert set(first).isdisjoint(digests((0, 4), drives[0], 1) + digests(None, drives[1], 1))
    assert len(set(first)) == 2


PEER = """
import shutil, sys
from pathlib import Path
sequence, poses, times = map(Path, sys.argv[1:4])
assert (sequence / "image_0").is_dir() and (sequence / "calib.txt").is_file()
rows = (sequence / "poses.txt").read_text().splitlines()
rows[2] = " ".join(["0"] * 12)
poses.write_text("\\n".join(rows))
times.write_text("\\n".join("7.5" for _ in rows))
"""


def peers_file(folder: Path, program: str = PEER, arguments: str = "{sequence} {poses} {times}") -> str:
    (folder / "peer.py").write_text(program)
    path = folder / "peers.yaml"
    path.write_text(yaml.safe_dump({"perfect": f"{sys.executable} {folder / 'peer.py'} {arguments}"}))
    return str(path)


def test_a_peer_gets_the_same_images_and_stands_in_the_same_table(drives: Drives, tmp_path: Path) -> None:
    options = [*OPTIONS, "--peers-file", peers_file(tmp_path), "--frames", "1:6"]
    out = tmp_path / "out"
    assert main(["bench", "odometry", str(drives[0]), "--out", str(out), *options]) == 0
    results = json.loads((out / "results.json").read_text())
    table = rows(results["tables"][0])
    assert [(row["preset"], row["refiner"]) for row in table] == [
        ("peer", "perfect"), ("sift", "detected"), ("sift", "ours"),
    ]  # fmt: skip
    peer, item = table[0], results["items"]["peer/street_one/perfect"]
    assert peer["frames"] == table[1]["frames"] and peer["mode"] == "stereo" and peer["time (ms)"] == 7.5
    # It wrote the truth but for one frame without a pose, which keeps the pose before it.
    assert peer["lost"] == 1 and 0.9 < item["rpe"]["t_m_rmse"] < 1.2
    assert (out / "trajectories" / "peer" / "street_one" / "perfect.tum").is_file()
    assert not (out / "trajectory_peer_street_one.png").exists() and (out / "frames_sift_street_one.png").exists()
    assert results["settings"]["peers"]["perfect"][-1] == "{times}"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('no licence')", "perfect ended with code 1: no licence"),
        ("import sys; open(sys.argv[2], 'w').write('1 0 0 0 0 1 0 0 0 0 1 0\\n')", "perfect wrote 1 poses; 10 frames"),
        ("import sys; open(sys.argv[2], 'w').write('1 0 0\\n' * 10)", "line 1: 12 numbers are required"),
        ("import sys; open(sys.argv[2], 'w').write('2 0 0 0 0 1 0 0 0 0 1 0\\n' * 10)", "must be a rotation"),
        ("pass", "cannot read"),
    ],
)
def test_a_peer_that_fails_costs_its_own_items(drives: Drives, tmp_path: Path, program: str, message: str) -> None:
    benchmark = SequenceBenchmark(
        SequenceBenchConfig(presets="sift", device="cpu"), {}, named([str(drives[0])], "auto", None), None,
        tuple(known_peers("", peers_file(tmp_path, program))),
    )  # fmt: skip
    done = attempt(benchmark.prepare(), next(item for item in benchmark.items() if item.name.endswith("perfect")))
    assert done.result is None and message in str(done.failure)


def test_a_peer_is_not_waited_for_for_ever(drives: Drives, tmp_path: Path) -> None:
    peer = known_peers("", peers_file(tmp_path, "import threading; threading.Event().wait()"))[-1]
    with pytest.raises(DataError, match=r"perfect was not done after 0.2 s"):
        run_peer(peer, open_sequence(str(drives[0])), str(drives[0]), timeout_s=0.2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a/b: prog {sequence} {poses}", "a peer's name has letters"),
        ("slam: prog {sequence}", r"needs a command with \{sequence\} and \{poses\}"),
        ("slam: [prog]", "needs a command"),
        ('slam: "prog \'{sequence} {poses}"', "cannot be split into words"),
        ("- slam", "must hold a table"),
    ],
)
def test_peers_files_are_checked(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "peers.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        known_peers("", str(tmp_path / "peers.yaml"))


def test_an_interpreter_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be run"):
        known_peers(str(tmp_path / "python"), "")


def test_a_setting_is_varied() -> None:
    presets = preset_configs(["sift"], RunnerConfig(), None, device="cpu")
    varying = varied(presets, "odometry.max_gap_s=1,2.5")
    assert list(varying) == ["sift+max_gap_s=1", "sift+max_gap_s=2.5"]
    assert [each.odometry.max_gap_s for each in varying.values()] == [1.0, 2.5]
    assert varied(presets, "") == presets
    assert not varied(presets, "odometry.estimate_right_centre=false")[
        "sift+estimate_right_centre=false"
    ].odometry.estimate_right_centre
    for text, message in (("odometry.max_gap_s", "NAME=VALUE"), ("odometry.gap=1", "unknown setting")):
        with pytest.raises(ConfigError, match=message):
            varied(presets, text)
