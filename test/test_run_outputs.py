"""What a run leaves on disk, in the terminal and in its pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from subpx_ros.config import Config, load_config
from subpx_ros.datatypes import RefinedMatches, TrackingState
from subpx_ros.errors import DataError
from subpx_ros.evaluation.compare import evaluate
from subpx_ros.evaluation.match_plots import plot_matches
from subpx_ros.evaluation.plots import plot_drift, plot_frames, plot_trajectory
from subpx_ros.evaluation.run import MatchedFrames, RunRecord, summarise, write_run
from subpx_ros.evaluation.tables import print_accuracy, print_summary
from subpx_ros.evaluation.trajectories import read_trajectory
from subpx_ros.output import write_text
from subpx_ros.settings import to_mapping

FILES = ["config.yaml", "frames.png", "poses.txt", "summary.json", "trajectory.png", "trajectory.tum"]
BLUE, GREY, ORANGE, SKY = (0, 114, 178), (160, 160, 160), (213, 94, 0), (86, 180, 233)


def record(frames: int = 40, metric: bool = True, with_truth: bool = True) -> RunRecord:
    """A straight run at 1 m a frame, 2 % too long, two frames lost."""
    truth = np.tile(np.eye(4), (frames, 1, 1))
    truth[:, 2, 3] = np.arange(frames)
    poses = truth.copy()
    poses[:, 2, 3] *= 1.02
    states = [TrackingState.INITIALISING] + [TrackingState.TRACKING] * (frames - 1)
    reasons = [""] * frames
    if frames > 8:
        states[6], states[7], states[8] = TrackingState.LOST, TrackingState.LOST, TrackingState.DEGRADED
        reasons[6] = reasons[7] = "12 matches, at least 20 are required"
    stages = [{"detect": 10.0}] + [{"detect": 10.0 + index, "pose": 2.0} for index in range(1, frames)]
    return RunRecord(
        source="data/street",
        preset="xfeat",
        refiner="none",
        device="cpu",
        mode="stereo" if metric else "mono",
        config=to_mapping(Config(preset="xfeat")),
        stamps_ns=[100_000_000 * index for index in range(frames)],
        poses=poses,
        states=states,
        reasons=reasons,
        stage_ms=stages,
        counts=[{"matches": 100, "inliers": 80}] * frames,
        seconds=8.0,
        metric=metric,
        truth=truth if with_truth else None,
    )


def test_summary_holds_what_the_design_names() -> None:
    summary = summarise(record())
    assert (summary["frames"], summary["lost"], summary["degraded"]) == (40, 2, 1)
    assert summary["reasons"] == {"12 matches, at least 20 are required": 2}
    assert summary["seconds"] == 8.0 and summary["fps"] == 5.0
    assert list(summary["stage_ms"]) == ["detect", "pose"]
    assert summary["stage_ms"]["detect"] == {"median": 29.5, "p95": pytest.approx(47.05)}
    assert summary["stage_ms"]["pose"] == {"median": 2.0, "p95": 2.0}
    assert 10 < summary["peak_rss_mb"] < 100_000
    assert (summary["device"], summary["preset"], summary["refiner"]) == ("cpu", "xfeat", "none")
    assert {"subpx_ros", "python", "numpy", "opencv"} <= set(summary["versions"])
    drift = summary["drift"]
    assert drift["lengths_m"] == [10, 20, 30] and drift["scale_aligned"] is False
    assert drift["per_length"][0]["t_percent"] == pytest.approx(2.2)  # 2 % of 11 m, over nominal 10 m
    assert drift["r_deg_per_100m"] == pytest.approx(0.0, abs=1e-9)
    assert summary["path_m"] == pytest.approx(39.0)


def test_a_run_without_scale_is_measured_in_the_scale_of_the_truth() -> None:
    summary = summarise(record(metric=False))
    assert summary["metric"] is False and summary["drift"]["scale_aligned"] is True
    assert summary["drift"]["t_percent"] == pytest.approx(0.0, abs=1e-9)
    assert summary["per_frame"]["rotation_deg_median"] == 0.0
    assert summary["per_frame"]["direction_deg_median"] == pytest.approx(0.0, abs=1e-9)


def test_a_run_without_truth_has_no_accuracy() -> None:
    assert not {"drift", "ate_m", "per_frame", "path_m"} & set(summarise(record(with_truth=False)))


@pytest.mark.parametrize("frames", [1, 2, 40])
@pytest.mark.parametrize("metric", [True, False])
@pytest.mark.parametrize("with_truth", [True, False])
def test_all_files_are_written_and_read_back(tmp_path: Path, frames: int, metric: bool, with_truth: bool) -> None:
    run = record(frames, metric, with_truth)
    summary = write_run(run, tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    drift = ["drift.png"] if summary.get("drift") else []
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES + drift)
    assert json.loads((out / "summary.json").read_text()) == summary
    np.testing.assert_allclose(read_trajectory(out / "poses.txt").poses, run.poses, atol=1e-8)
    assert read_trajectory(out / "trajectory.tum").stamps_ns == tuple(run.stamps_ns)
    assert to_mapping(load_config(file=out / "config.yaml")) == dict(run.config)
    picture = cv2.imread(str(out / "trajectory.png"))
    assert picture is not None and picture.shape == (700, 900, 3)


def test_figures_that_do_not_exist_are_null_and_json_is_strict(tmp_path: Path) -> None:
    run = replace(record(metric=False), poses=np.tile(np.eye(4), (40, 1, 1)), seconds=0.0)
    write_run(run, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert summary["drift"] is None and summary["fps"] is None and summary["ate_m"] is None
    assert summary["per_frame"]["direction_deg_median"] is None
    print_summary(summary)


def test_a_second_run_that_fails_leaves_no_summary(tmp_path: Path) -> None:
    write_run(record(), tmp_path)
    broken = replace(record(), config={"no yaml": object()})
    with pytest.raises(Exception, match="cannot represent"):
        write_run(broken, tmp_path)
    assert not {"summary.json", "drift.png"} & {path.name for path in tmp_path.iterdir()}


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot make the output folder"):
        write_run(record(), tmp_path / "file" / "out")
    with pytest.raises(DataError, match="cannot write"):
        write_text(tmp_path / "none" / "a.txt", "x")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        write_text(tmp_path / "folder.txt", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.txt"]


def test_records_with_unequal_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry per frame"):
        replace(record(), reasons=[""])
    with pytest.raises(ValueError, match="one entry per frame"):
        replace(record(), truth=np.tile(np.eye(4), (3, 1, 1)))


def test_tables_have_units(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    summary = write_run(record(), tmp_path)
    print_summary(summary)
    text = capsys.readouterr().out
    for piece in ("lost frames", "median (ms)", "translation (%)", "rotation (deg/100 m)", "10 m", "2.200", "ATE"):
        assert piece in text
    print_accuracy(evaluate(tmp_path / "poses.txt", tmp_path / "trajectory.tum"))
    assert "0.000" in capsys.readouterr().out
    print_summary(summarise(record(with_truth=False)))
    assert "drift" not in capsys.readouterr().out


def _colours(path: Path) -> set[tuple[int, ...]]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return {tuple(int(value) for value in colour) for colour in np.unique(picture.reshape(-1, 3), axis=0)[:, ::-1]}


def test_trajectory_picture_shows_truth_estimate_and_lost_frames(tmp_path: Path) -> None:
    run = record()
    truth = run.truth
    assert truth is not None
    lost = np.array([state is TrackingState.LOST for state in run.states])
    bent = run.poses.copy()
    bent[:, 0, 3] = np.linspace(0, 10, len(bent))
    plot_trajectory(tmp_path / "all.png", bent, truth, lost=lost)
    plot_trajectory(tmp_path / "estimate.png", bent)
    assert {BLUE, GREY, ORANGE} <= _colours(tmp_path / "all.png")
    assert BLUE in _colours(tmp_path / "estimate.png") and ORANGE not in _colours(tmp_path / "estimate.png")


def test_drift_picture_has_a_line_for_every_method(tmp_path: Path) -> None:
    drift = summarise(record())["drift"]
    plot_drift(tmp_path / "one.png", {"ours": drift})
    plot_drift(tmp_path / "two.png", {"ours": drift, "detected": drift | {"per_speed": []}}, {"detected": "#D55E00"})
    assert BLUE in _colours(tmp_path / "one.png") and ORANGE not in _colours(tmp_path / "one.png")
    assert {BLUE, ORANGE} <= _colours(tmp_path / "two.png")


def test_frames_picture_shows_matches_inliers_and_stages(tmp_path: Path) -> None:
    run = record()
    plot_frames(tmp_path / "frames.png", run.counts, run.stage_ms, np.zeros(40, dtype=bool))
    assert {BLUE, SKY} <= _colours(tmp_path / "frames.png")


def test_pictures_of_matches_and_offsets_come_with_what_they_show(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    places = np.random.default_rng(1).uniform(5, 50, (30, 2))
    matches = RefinedMatches(places, places, places, places + 0.4, np.ones(30, np.float32))
    example = MatchedFrames((image, image), matches, np.ones(30, dtype=bool), "frames 1 and 2")
    moves = np.random.default_rng(2).normal(0, 0.5, (500, 2))
    write_run(replace(record(), offsets=moves, example=example), tmp_path)
    assert BLUE in _colours(tmp_path / "offsets.png") and (tmp_path / "matches.png").is_file()
    write_run(record(), tmp_path)
    assert not (tmp_path / "offsets.png").exists() and not (tmp_path / "matches.png").exists(), "left by another run"


@pytest.mark.parametrize("count", [0, 1, 50])
@pytest.mark.parametrize("size", [(376, 1241), (300, 200)])
def test_match_picture(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    generator = np.random.default_rng(count)
    image = generator.integers(0, 256, size, dtype=np.uint8)
    keypoints = generator.uniform(0, 1, (count, 2)) * [size[1], size[0]]
    inliers = np.arange(count) % 2 == 0
    path = tmp_path / "matches.png"
    plot_matches(image, image, keypoints, keypoints + [3.0, 0.0], inliers, path, values=np.linspace(0, 1, count))
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape[0] >= min(2 * size[0], 300) and picture.shape[1] >= min(2 * size[1], size[1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["matches.png"]


def test_real_matches_between_images_of_two_sizes(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared_data("kitti03_stereo5")
    image = cv2.imread(str(folder / "image_0" / "000000.png"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    keypoints = np.array([[10.0, 10.0], [600.0, 200.0]])
    plot_matches(
        np.asarray(image, dtype=np.uint8),
        np.asarray(image[:200, :700], dtype=np.uint8),
        keypoints,
        keypoints,
        np.array([True, False]),
        tmp_path / "matches.png",
    )
    assert (tmp_path / "matches.png").stat().st_size > 100_000
