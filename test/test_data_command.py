"""`subpx data list | check`: the table of data sets, and checks of every layout, complete and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pair_trees
import pytest
import sequence_trees

from subpx_ros.cli import main
from subpx_ros.datasets import LAYOUTS
from subpx_ros.datasets.catalogue import CATALOGUE, PAIRS, RECORDING
from subpx_ros.datasets.check import Finding, check_data
from subpx_ros.datasets.pairs import LAYOUTS as PAIR_LAYOUTS

Run = Callable[..., tuple[int, str, str]]
POSES = [np.eye(4), np.eye(4), np.eye(4)]
for _number, _pose in enumerate(POSES):
    _pose[0, 3] = _number


@pytest.fixture
def data(capfd: pytest.CaptureFixture[str]) -> Run:
    """`data("check", path)`: exit code, text on stdout, text on stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["data", *map(str, arguments)])
        captured = capfd.readouterr()
        return code, " ".join(captured.out.split()), captured.err

    return run


def recordings(folder: Path) -> dict[str, Path]:
    """A complete one of every layout that a folder can have."""
    truth = [(0.1 * number - 0.05, pose) for number, pose in enumerate(POSES)]
    return {
        "kitti-raw": sequence_trees.kitti_raw(folder / "2011_09_26", POSES),
        "euroc": sequence_trees.euroc(folder / "MH_01", [np.eye(4)], truth=[(0, POSES[0]), (150_000_000, POSES[1])]),
        "tum": sequence_trees.tum(folder / "desk", truth=truth),
    }


def test_list_tells_of_every_layout_what_where_licence_and_files(data: Run) -> None:
    assert {each.name for each in CATALOGUE if each.kind == RECORDING} == set(LAYOUTS)
    assert {each.name for each in CATALOGUE if each.kind == PAIRS} == set(PAIR_LAYOUTS) - {"sequence"}
    code, out, err = data("list")
    assert code == 0 and err == ""
    for each in CATALOGUE:
        for text in (each.title, each.source, each.licence, *each.layout):
            assert " ".join(text.split()) in out
    code, out, _ = data("list", "euroc")
    assert code == 0 and "sensor.yaml" in out and "HPatches" not in out
    code, out, err = data("list", "eurok")
    assert code == 2 and out == "" and "unknown data set 'eurok' (did you mean 'euroc'?)" in err


@pytest.mark.parametrize(
    ("layout", "content"),
    [
        ("kitti-raw", "3 frames, stereo, 32x24 px, 0.2 s, true poses over 2.0 m"),
        ("euroc", "4 frames, mono, 32x24 px, 0.2 s, true poses over 1.0 m"),
        ("tum", "4 frames, rgbd, 32x24 px, 0.1 s, true poses over 0.9 m"),
    ],
)
def test_content_of_recordings(tmp_path: Path, layout: str, content: str) -> None:
    path = recordings(tmp_path)[layout]
    assert check_data(path, True, lambda *_: None) == [Finding(path, layout, content)]


@pytest.mark.parametrize(
    ("make", "layout", "content"),
    [
        (pair_trees.pair_list, "list", "2 pairs of 3 images, true poses"),
        (pair_trees.hpatches, "hpatches", "10 pairs of 12 images, homographies"),
        (pair_trees.oxford, "oxford", "5 pairs of 6 images, homographies"),
        (pair_trees.megadepth1500, "megadepth1500", "2 pairs of 3 images, true poses"),
        (pair_trees.scannet1500, "scannet1500", "2 pairs of 3 images, true poses"),
    ],
)
def test_content_of_pairs(tmp_path: Path, make: Callable[[Path], Path], layout: str, content: str) -> None:
    path = make(tmp_path / "d")
    read: list[tuple[int, int]] = []
    (finding,) = check_data(path, True, lambda name, done, total: read.append((done, total)))
    assert (finding.layout, finding.content, finding.fault) == (layout, content, "")
    images = int(content.split()[3])
    assert read == [(count, images) for count in range(1, images + 1)]


def test_check_of_a_kitti_folder_and_of_a_file(data: Run, kitti_tree: Callable[..., Path]) -> None:
    folder = kitti_tree()
    code, out, _ = data("check", folder)
    assert code == 0 and "4 frames, stereo" in out
    (folder / "poses.txt").unlink()
    code, out, _ = data("check", folder)
    assert code == 0 and "no true poses" in out
    bag = folder.parent / "drive"
    assert main(["bag", str(folder), str(bag)]) == 0
    (storage,) = bag.glob("*.mcap")
    for path in (bag, storage):
        code, out, _ = data("check", path)
        assert code == 0 and "│ rosbag │" in out


def test_check_of_a_folder_finds_all_below_and_names_what_is_broken(data: Run, tmp_path: Path) -> None:
    made = recordings(tmp_path / "recordings")
    pair_trees.oxford(tmp_path / "pairs" / "graf")
    (tmp_path / "notes.txt").write_text("not a list of pairs")
    code, out, err = data("check", tmp_path)
    assert code == 0 and err == ""
    assert all(f"│ {layout} │" in out for layout in (*made, "oxford"))
    (made["tum"] / "depth.txt").write_text("1 nowhere.png\n")
    (made["kitti-raw"].parent / "calib_velo_to_cam.txt").unlink()
    code, out, err = data("check", tmp_path)
    assert code == 2 and "│ euroc │" in out and "│ tum │" not in out
    first, last = err.splitlines()
    assert "calib_velo_to_cam.txt is required" in first
    assert last.startswith("subpx: tum: ") and "the image nowhere.png is missing" in last
    assert last.endswith("(2 of 4 broken)")


def test_check_reads_every_image_unless_told_not_to(data: Run, tmp_path: Path) -> None:
    folder = sequence_trees.tum(tmp_path / "desk")
    path = folder / "rgb" / "1305031102.093750.png"
    path.write_bytes(path.read_bytes()[:-20])
    code, out, err = data("check", folder)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert err.startswith("subpx: tum: ") and "093750.png: the PNG image is cut off" in err
    assert data("check", folder, "--no-images")[0] == 0
    oxford = pair_trees.oxford(tmp_path / "graf")
    image = next(oxford.rglob("img4.*"))
    image.write_bytes(b"P6")
    code, _, err = data("check", oxford)
    assert code == 2 and image.name in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "does not exist"), ("empty", "holds no data set that is known")]
)
def test_check_of_nothing_is_one_line(data: Run, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty" / "below").mkdir(parents=True)
    code, out, err = data("check", tmp_path / name)
    assert code == 2 and out == "" and message in err and len(err.splitlines()) == 1
