"""The command line: what it writes, its exit codes, and one line on stderr for whatever is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from subpx_ros import __version__
from subpx_ros.cli import main
from subpx_ros.config import load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence, write_kitti_sequence
from subpx_ros.datatypes import Camera, Rig
from subpx_ros.settings import to_mapping

RUN_FILES = ["config.yaml", "frames.png", "poses.txt", "summary.json", "trajectory.png", "trajectory.tum"]
SIFT = ["--preset", "sift", "--device", "cpu"]
CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)

Tree = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.delenv("SUBPX_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KITTI folder of four rendered stereo frames, 320x160."""
    folder = tmp_path_factory.mktemp("street") / "sequence"
    config = StreetConfig(seed=3, length_m=50.0, speed_m=0.5)
    write_kitti_sequence(StreetSequence(config, frames=4, rig=Rig(CAMERA, CAMERA, 0.5)), folder)
    return folder


@pytest.fixture
def images(street: Path) -> tuple[Path, Path]:
    return street / "image_0" / "000000.png", street / "image_0" / "000001.png"


@pytest.fixture
def fails(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`fails(arguments)` is the one line on stderr of a command that must end with exit code 2."""

    def run(*arguments: object) -> str:
        capfd.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        captured = capfd.readouterr()
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("subpx: ") and "Traceback" not in lines[0]
        assert captured.out == ""
        return lines[0]

    return run


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"subpx_ros {__version__}"


@pytest.mark.parametrize(
    "command", [[], ["run"], ["match"], ["bag"], ["replay"], ["eval"], ["weights"], ["weights", "get"]]
)
def test_help_names_the_commands_options(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    captured = capsys.readouterr()
    assert "Usage: subpx" in captured.out and captured.err == ""
    if command in (["run"], ["match"]):
        for option in ("--out", "--preset", "--refiner", "--device", "--config"):
            assert option in captured.out


def test_run_writes_all_that_the_design_names(street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    assert main(["run", str(street), "--out", str(out), *SIFT]) == 0
    assert files_in(out) == sorted([*RUN_FILES, "matches.png", "offsets.png"])
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames"], summary["lost"], summary["mode"]) == (4, 0, "stereo")
    assert (summary["preset"], summary["refiner"], summary["device"]) == ("sift", "subpx", "cpu")
    poses = np.loadtxt(out / "poses.txt")
    truth = np.loadtxt(street / "poses.txt")
    assert poses.shape == (4, 12) and np.allclose(poses[0], np.eye(4)[:3].ravel())
    assert np.abs(poses - truth).max() < 0.05
    assert str(out) in capsys.readouterr().out
    config = load_config(file=out / "config.yaml")
    assert config == load_config({"preset": "sift", "device": "cpu"})


def test_run_again_with_its_own_configuration_gives_the_same_poses(street: Path, tmp_path: Path) -> None:
    assert main(["run", str(street), "--out", str(tmp_path / "a"), *SIFT, "--frames", ":3"]) == 0
    again = ["--config", str(tmp_path / "a" / "config.yaml"), "--frames", ":3"]
    assert main(["run", str(street), "--out", str(tmp_path / "b"), *again]) == 0
    assert (tmp_path / "a" / "poses.txt").read_bytes() == (tmp_path / "b" / "poses.txt").read_bytes()


@pytest.mark.parametrize(("frames", "count"), [("1:3", 2), (":2", 2), ("2:", 2), (":", 4)])
def test_run_takes_a_window_of_frames(frames: str, count: int, street: Path, tmp_path: Path) -> None:
    assert main(["run", str(street), "--out", str(tmp_path / "out"), *SIFT, "--mode", "mono", "--frames", frames]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["frames"], summary["mode"], summary["metric"]) == (count, "mono", False)


def test_run_of_noise_is_lost_and_done(kitti_tree: Tree, tmp_path: Path) -> None:
    """A KITTI folder of 32x24 pixels of noise: nothing to track, but no defect and no bad input either."""
    assert main(["run", str(kitti_tree()), "--out", str(tmp_path / "out"), *SIFT]) == 0
    assert files_in(tmp_path / "out") == RUN_FILES
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["lost"] == 3
    assert all("needed to begin" in reason for reason in summary["reasons"])
    assert np.array_equal(np.loadtxt(tmp_path / "out" / "poses.txt"), np.tile(np.eye(4)[:3].ravel(), (4, 1)))


def test_command_line_beats_file_beats_preset(street: Path, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("preset: sift\nmode: stereo\ndevice: cpu\nfeatures: {max_keypoints: 300}\n")
    out = tmp_path / "out"
    assert main(["run", str(street), "--out", str(out), "--config", str(file), "--mode", "mono", "--frames", ":2"]) == 0
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert (written["mode"], written["preset"], written["features"]["max_keypoints"]) == ("mono", "sift", 300)
    assert written["features"]["detector"] == "sift"


def remove_calibration(folder: Path) -> None:
    (folder / "calib.txt").unlink()


def remove_right_row(folder: Path) -> None:
    rewrite(folder / "calib.txt", lambda data: b"\n".join(row for row in data.split(b"\n") if b"P1" not in row))


def swap_cameras(folder: Path) -> None:
    rewrite(folder / "calib.txt", lambda data: data.replace(b"-25", b"25"))


def not_a_number(folder: Path) -> None:
    rewrite(folder / "calib.txt", lambda data: data.replace(b"15.5", b"nan", 1))


def two_sizes(folder: Path) -> None:
    assert cv2.imwrite(str(folder / "image_0" / "000002.png"), np.zeros((24, 40), np.uint8))


def missing_right_image(folder: Path) -> None:
    (folder / "image_1" / "000003.png").unlink()


def unreadable_header(folder: Path) -> None:
    (folder / "image_0" / "000001.png").write_bytes(b"no PNG at all")


def empty_image(folder: Path) -> None:
    (folder / "image_0" / "000001.png").write_bytes(b"")


def wrong_number_of_poses(folder: Path) -> None:
    rewrite(folder / "poses.txt", lambda data: data.rsplit(b"\n", 1)[0])


def broken_pose(folder: Path) -> None:
    rewrite(folder / "poses.txt", lambda data: b"2" + data[1:])


def wrong_number_of_times(folder: Path) -> None:
    (folder / "times.txt").write_text("0.0\n0.1\n")


def times_backwards(folder: Path) -> None:
    (folder / "times.txt").write_text("0.0\n0.1\n0.3\n0.2\n")


def no_images(folder: Path) -> None:
    for path in (folder / "image_0").iterdir():
        path.unlink()


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (remove_calibration, r"calib\.txt is required"),
    (remove_right_row, "needs the row 'P1"),
    (swap_cameras, "positive baseline"),
    (not_a_number, "finite numbers are required"),
    (two_sizes, r"one size.*32x24.*40x24"),
    (missing_right_image, r"000003\.png is missing"),
    (unreadable_header, r"000001\.png: a PNG image is required"),
    (empty_image, r"000001\.png: a PNG image is required"),
    (wrong_number_of_poses, "one pose per frame, 4 .* got 3"),
    (broken_pose, "must be a rotation"),
    (wrong_number_of_times, "one time per frame, 4; got 2"),
    (times_backwards, "must increase"),
    (no_images, "needs PNG images"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE, ids=lambda value: getattr(value, "__name__", ""))
def test_damaged_kitti_folders_are_one_line(
    damage: Callable[[Path], None], message: str, kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]
) -> None:
    source = kitti_tree()
    damage(source)
    line = fails("run", source, "--out", tmp_path / "out", *SIFT)
    assert re.search(message, line), line
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("index", [0, 2])
def test_an_image_cut_off_in_the_middle_of_a_run_leaves_no_result(
    index: int, kitti_tree: Tree, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = kitti_tree()
    rewrite(source / "image_1" / f"00000{index}.png", lambda data: data[:200])
    assert main(["run", str(source), "--out", str(tmp_path / "out"), *SIFT]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("subpx: ") and f"00000{index}.png: the PNG image is cut off after 200 bytes" in last
    assert files_in(tmp_path / "out") == []


def test_a_failed_run_does_not_touch_an_earlier_one(
    street: Path, kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(street), "--out", str(out), *SIFT, "--frames", ":2"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    source = kitti_tree()
    remove_calibration(source)
    fails("run", source, "--out", out, *SIFT)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "does not exist"),
        (lambda folder: folder, "an empty folder"),
        (lambda folder: folder / "photo.png", "is something else"),
        (lambda folder: folder / "cut.mcap", r"cut\.mcap"),
    ],
    ids=["absent", "empty", "a file", "a cut-off bag"],
)
def test_sources_that_are_none(
    make: Callable[[Path], Path], message: str, tmp_path: Path, fails: Callable[..., str]
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    source = make(folder)
    if source.suffix:
        source.write_bytes(b"\x89MCAP0\r\n\x01\x01")
    for arguments in (["run", source, "--out", tmp_path / "out", *SIFT], ["bag", source, tmp_path / "out"]):
        line = fails(*arguments)
        assert re.search(message, line), line
        assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "shift"], r"unknown preset 'shift' \(did you mean 'sift'\?\).*xfeat, aliked, .*sift"),
        (["--mode", "both"], "setting 'mode' takes one of auto, mono, stereo, rgbd; got 'both'"),
        (["--refiner", "magic"], "setting 'refiner' takes one of auto, none, keypt2subpx, subpx; got 'magic'"),
        (["--device", "tpu"], "setting 'device' takes one of auto, cpu, cuda; got 'tpu'"),
        (["--refiner", "keypt2subpx", *SIFT], "no published Keypt2Subpx checkpoint fits the detector sift"),
        (["--config", "absent.yaml"], "cannot read the configuration file absent.yaml"),
        (["--frames", "3"], "--frames takes A:B"),
        (["--frames", "a:b"], "--frames takes A:B"),
        (["--frames", "-1:3"], "--frames takes A:B"),
        (["--frames", "0:1:2"], "--frames takes A:B"),
        (["--frames", "0:٣"], "--frames takes A:B"),
        (["--frames", "9" * 5000 + ":"], "--frames"),
        (["--frames", "2:2"], "--frames A:B needs 0 <= A < B <= 4"),
        (["--frames", "3:1"], "--frames A:B needs 0 <= A < B <= 4"),
        (["--frames", "0:5"], "--frames A:B needs 0 <= A < B <= 4"),
        (["--frames", ""], "--frames takes A:B"),
        (["--nonsense"], "(?i)no such option.*--nonsense.*subpx --help"),
        (["surplus"], "(?i)unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_bad_options_are_one_line(
    options: list[str], message: str, kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]
) -> None:
    line = fails("run", kitti_tree(), "--out", tmp_path / "out", *(options if "sift" in options else [*SIFT, *options]))
    assert re.search(message, line), line
    assert files_in(tmp_path / "out") == []


def test_stereo_of_one_camera_is_refused(kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]) -> None:
    line = fails("run", kitti_tree(cameras=(0,)), "--out", tmp_path / "out", *SIFT, "--mode", "stereo")
    assert "mode stereo needs two cameras" in line


@pytest.mark.parametrize(
    "content", ["pose: {min_inlier: 3}", "preset: [sift]", "- 1", "a: [", "pose: {seed: -1}", "features: {detector: x}"]
)
def test_bad_configuration_files_are_one_line(
    content: str, kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    fails("run", kitti_tree(), "--out", tmp_path / "out", "--device", "cpu", "--config", file)
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("arguments", [["run"], ["run", "x"], ["nonsense"], ["match", "a.png"], ["eval", "a"]], ids=str)
def test_incomplete_commands_are_one_line(arguments: list[str], fails: Callable[..., str]) -> None:
    assert "subpx --help" in fails(*arguments)


def test_an_output_folder_that_is_a_file_is_refused(
    kitti_tree: Tree, tmp_path: Path, fails: Callable[..., str]
) -> None:
    (tmp_path / "out").write_text("keep me")
    assert "cannot make the output folder" in fails("run", kitti_tree(), "--out", tmp_path / "out", *SIFT)
    assert (tmp_path / "out").read_text() == "keep me"


def test_match_writes_the_file_and_the_picture(images: tuple[Path, Path], tmp_path: Path) -> None:
    out, plot = tmp_path / "new" / "pair.npz", tmp_path / "plots" / "pair.png"
    options = ["--out", str(out), "--plot", str(plot), "--camera", "230,230,159.5,79.5", *SIFT]
    assert main(["match", *map(str, images), *options]) == 0
    arrays = np.load(out)
    assert str(arrays["status"]) == "OK" and arrays["inliers"].sum() > 30
    assert arrays["t"][2] < -0.9, "x1 = R x0 + t of a car that drives forward"
    assert np.allclose(arrays["R"] @ arrays["R"].T, np.eye(3), atol=1e-9)
    picture = cv2.imread(str(plot))
    assert picture is not None and picture.std() > 5
    assert files_in(out.parent) == ["pair.npz"] and files_in(plot.parent) == ["pair.png"]


def test_match_without_a_camera_says_what_it_assumes(
    images: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["match", *map(str, images), "--out", str(tmp_path / "pair.npz"), *SIFT]) == 0
    assert "assuming a focal length of 384 px" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("second", "status"), [("black", "FEW_MATCHES"), ("same", "DEGENERATE"), ("small", "FEW_MATCHES")]
)
def test_match_without_a_pose_is_done_with_a_named_status(
    second: str, status: str, images: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels: NDArray[np.uint8] = np.zeros((9, 17) if second == "small" else (160, 320), np.uint8)
    other = images[0] if second == "same" else tmp_path / "other.png"
    if second != "same":
        assert cv2.imwrite(str(other), pixels)
    out = tmp_path / "pair.npz"
    assert main(["match", str(images[0]), str(other), "--out", str(out), *SIFT]) == 0
    assert str(np.load(out)["status"]) == status
    assert status.replace("_", " ").lower() in capsys.readouterr().out.replace("_", " ").lower()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the image"),
        (b"", "got no data"),
        (b"no image", "a PNG or JPEG image is required"),
        (b"cut", "cut off"),
        (b"one bit", "damaged"),
    ],
    ids=["missing", "empty", "text", "cut off", "one bit"],
)
def test_images_that_cannot_be_read_are_one_line(
    content: bytes | None, message: str, images: tuple[Path, Path], tmp_path: Path, fails: Callable[..., str]
) -> None:
    whole = images[1].read_bytes()
    damaged = {b"cut": whole[: len(whole) // 2], b"one bit": whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:]}
    bad = tmp_path / "bad.png"
    if content is not None:
        bad.write_bytes(damaged.get(content, content))
    for pair in ((images[0], bad), (bad, images[0])):
        line = fails("match", *pair, "--out", tmp_path / "pair.npz", *SIFT)
        assert "bad.png" in line and message in line
        assert not (tmp_path / "pair.npz").exists()


@pytest.mark.parametrize("camera", ["1,2,3", "a,b,c,d", "0,0,0,0", "nan,1,2,3", "1,2,3,4,5,6,7,8,9"])
def test_a_bad_camera_is_one_line(
    camera: str, images: tuple[Path, Path], tmp_path: Path, fails: Callable[..., str]
) -> None:
    fails("match", *images, "--out", tmp_path / "pair.npz", "--camera", camera, *SIFT)
    assert not (tmp_path / "pair.npz").exists()


def test_weights_list_names_all_and_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "k2s_xfeat_pretrained.pth").write_bytes(b"damaged")
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path))
    assert main(["weights", "list"]) == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert "damaged" in rows["keypt2subpx-xfeat"]
    assert "not on this machine" in rows["xfeat"] and "Apache-2.0" in rows["xfeat"]


def test_weights_verify_good_absent_damaged_unknown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fails: Callable[..., str],
    shared_file: Callable[[str, str], Path],
) -> None:
    published = shared_file("weights", "k2s_xfeat_pretrained.pth")
    (tmp_path / published.name).write_bytes(published.read_bytes())
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path))
    assert main(["weights", "verify", "keypt2subpx-xfeat", "xfeat"]) == 0
    good, absent = capfd.readouterr().out.splitlines()
    assert good.startswith("keypt2subpx-xfeat: good, ") and absent == "xfeat: not on this machine"
    rewrite(tmp_path / published.name, lambda data: data[:-1])
    assert "is not keypt2subpx-xfeat as published" in fails("weights", "verify", "keypt2subpx-xfeat")
    assert "unknown checkpoint 'xfeta'" in fails("weights", "verify", "xfeta")


def test_an_interrupt_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subpx_ros.weights.find", interrupted)
    assert main(["weights", "verify", "xfeat"]) == 130
    assert "Traceback" not in capfd.readouterr().err


def test_a_defect_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(name: str) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("subpx_ros.weights.find", defective)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        main(["weights", "verify", "xfeat"])


def test_the_program_ends_with_the_exit_code(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    command = [
        sys.executable,
        "-m",
        "subpx_ros.cli",
        "run",
        str(tmp_path / "absent"),
        "--out",
        str(tmp_path / "out"),
        *SIFT,
    ]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "does not exist" in done.stderr


def test_settings_written_by_hand_from_the_defaults_are_taken(tmp_path: Path, street: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(to_mapping(load_config({"preset": "sift", "device": "cpu"}))))
    assert main(["run", str(street), "--out", str(tmp_path / "out"), "--config", str(file), "--frames", ":2"]) == 0
