"""Rerun recordings, read back with Rerun's own reader; and what happens where the extra is absent."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from subpx_ros.cli import main
from subpx_ros.config import load_config
from subpx_ros.console import note
from subpx_ros.datasets import open_sequence
from subpx_ros.evaluation.rerun_recording import require_rerun
from subpx_ros.offline import run_recorded, run_sequence

FRAMES = 4


@pytest.mark.skipif(find_spec("rerun") is not None, reason="rerun-sdk is installed")
def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "demo", "--preset", "sift", "--frames", ":2", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--rerun", str(tmp_path / "run.rrd")]) == 2
    complaint = capfd.readouterr().err
    assert complaint.count("\n") == 1 and "pip install 'subpx_ros[rerun]'" in complaint
    assert not (tmp_path / "run.rrd").exists()


def test_a_recording_holds_cameras_landmarks_matches_and_paths(tmp_path: Path) -> None:
    chunk = pytest.importorskip("rerun.chunk", reason="the extra 'rerun' is not installed")
    sequence = open_sequence("demo", "stereo", (0, FRAMES))
    config = load_config({"preset": "sift", "device": "cpu", "threads": 1})
    path = tmp_path / "run.rrd"
    record = run_recorded(sequence, config, "demo", note, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.rrd"]

    rows: dict[str, int] = {}
    translations = []
    for each in chunk.RrdReader(str(path)).stream():
        rows[each.entity_path] = rows.get(each.entity_path, 0) + each.num_rows
        if each.entity_path == "/world/camera":
            table = each.to_record_batch().to_pydict()
            (column,) = (values for name, values in table.items() if "translation" in name)
            translations += list(zip(table["frame"], (value[0] for value in column), strict=True))
    image = "/world/camera/image"
    for entity in ("/world/camera", f"{image}/inliers", f"{image}/other_matches", f"{image}/offsets_x10", "/state"):
        assert rows[entity] == FRAMES
    assert rows["/counts/inliers"] == rows["/time_ms/total"] == FRAMES
    assert rows["/world/landmarks"] == FRAMES - 1, "the first frame has none"
    assert rows["/world/trajectory"] == rows["/world/truth"] == 1
    assert {image, "/world/camera/right/image"} <= set(rows)
    positions = np.array([value for _, value in sorted(translations)])
    np.testing.assert_allclose(positions, record.poses[:, :3, 3], atol=1e-5)


def test_a_run_is_the_same_with_and_without_a_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra 'rerun' is not installed")
    config = load_config({"preset": "sift", "refiner": "none", "device": "cpu", "threads": 1})
    sequence = open_sequence("demo", "mono", (0, 2))
    recorded = run_recorded(sequence, config, "demo", note, tmp_path / "run.rrd")
    np.testing.assert_array_equal(recorded.poses, run_sequence(sequence, config, "demo", note).poses)


def test_a_run_that_fails_leaves_no_recording(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra 'rerun' is not installed")
    require_rerun()
    sequence = open_sequence("demo", "mono", (0, 2))
    config = load_config({"preset": "sift", "features": {"detector": "nope"}})
    with pytest.raises(Exception, match="nope"):
        run_recorded(sequence, config, "demo", note, tmp_path / "run.rrd")
    assert list(tmp_path.iterdir()) == []
