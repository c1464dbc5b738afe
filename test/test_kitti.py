"""KITTI sequence folders: what they give, and one clear line for each way in which they can be broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from subpx_ros.datasets import open_sequence
from subpx_ros.datasets.kitti import KittiSequence, read_calibration, read_kitti_poses
from subpx_ros.datasets.text import parse_stamp
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.geometry import invert, rotation_from_vector, se3

Tree = Callable[..., Path]
Shared = Callable[[str], Path]
Noise = Callable[[int, int, tuple[int, int]], NDArray[np.uint8]]


def test_stereo_folder_gives_frames_rig_stamps_and_truth(kitti_tree: Tree, tiny_image: Noise) -> None:
    sequence = open_sequence(str(kitti_tree()))

    assert len(sequence) == 4 and sequence.name == "sequence"
    assert sequence.rig.baseline_m == pytest.approx(0.5)
    assert (sequence.rig.left.cx, sequence.rig.left.width, sequence.rig.left.height) == (15.5, 32, 24)
    assert sequence.stamps_ns == (0, 103_700_000, 207_400_000, 311_100_000)
    assert sequence.truth is not None
    np.testing.assert_allclose(sequence.truth[3, :3, 3], [1.5, 0.0, 3.0])
    frame = sequence.frame(2)
    np.testing.assert_array_equal(frame.image, tiny_image(2, 0, (32, 24)))
    np.testing.assert_array_equal(frame.right_image, tiny_image(2, 1, (32, 24)))
    assert [each.stamp_ns for each in sequence] == list(sequence.stamps_ns)


def test_mode_mono_leaves_the_right_camera_out(kitti_tree: Tree) -> None:
    folder = kitti_tree()
    (folder / "image_1" / "000002.png").unlink()  # must not matter
    sequence = open_sequence(str(folder), "mono")
    assert not sequence.rig.stereo and sequence.frame(2).right_image is None


def test_mode_stereo_needs_two_cameras(kitti_tree: Tree) -> None:
    folder = str(kitti_tree(cameras=(0,)))
    assert not open_sequence(folder, "auto").rig.stereo
    with pytest.raises(DataError, match="mode stereo needs two cameras"):
        open_sequence(folder, "stereo")
    with pytest.raises(ConfigError, match="unknown mode 'sterio' .did you mean 'stereo'"):
        open_sequence(folder, "sterio")


def test_colour_pair_takes_its_own_cameras_and_moves_the_truth(kitti_tree: Tree) -> None:
    folder = kitti_tree(cameras=(2, 3))
    turn = se3(rotation_from_vector(np.array([0.0, 0.3, 0.0])), np.array([0.0, 0.0, 1.0]))
    grey_poses = [np.eye(4), turn, turn @ turn, turn @ turn @ turn]
    rows = [" ".join(f"{value:.17g}" for value in pose[:3].ravel()) for pose in grey_poses]
    (folder / "poses.txt").write_text("\n".join(rows))

    sequence = KittiSequence(folder)

    assert sequence.rig.baseline_m == pytest.approx(0.5)
    assert sequence.truth is not None
    T_grey_colour = se3(np.eye(3), np.array([-3 / 50, 0.0, 0.0]))
    np.testing.assert_allclose(sequence.truth[1], invert(T_grey_colour) @ turn @ T_grey_colour, atol=1e-12)


def test_colour_images_become_grey(kitti_tree: Tree) -> None:
    folder = kitti_tree(cameras=(2,))
    for path in (folder / "image_2").glob("*.png"):
        cv2.imwrite(str(path), np.full((24, 32, 3), (0, 0, 255), dtype=np.uint8))
    np.testing.assert_array_equal(KittiSequence(folder).frame(0).image, 76)  # 0.299 * 255


def test_times_are_rounded_from_their_decimal_digits(kitti_tree: Tree) -> None:
    folder = kitti_tree()
    (folder / "times.txt").write_text("0.000000e+00\r\n1.037875e-01\r\n2.0755555555e-01\r\n1234567890.123456789\r\n")
    assert KittiSequence(folder).stamps_ns == (0, 103_787_500, 207_555_556, 1_234_567_890_123_456_789)


def test_poses_of_the_official_tree_are_found(kitti_tree: Tree, tmp_path: Path) -> None:
    folder = kitti_tree()
    (tmp_path / "dataset" / "sequences").mkdir(parents=True)
    (tmp_path / "dataset" / "poses").mkdir()
    (folder / "poses.txt").rename(tmp_path / "dataset" / "poses" / "06.txt")
    moved = folder.rename(tmp_path / "dataset" / "sequences" / "06")
    sequence = KittiSequence(moved)
    assert sequence.truth is not None and sequence.truth[3, 2, 3] == 3.0


def test_window_has_its_own_first_frame(kitti_tree: Tree, tiny_image: Noise) -> None:
    folder = kitti_tree()
    sequence = open_sequence(str(folder), frames=(1, 3))
    assert len(sequence) == 2 and sequence.stamps_ns == (103_700_000, 207_400_000)
    assert sequence.truth is not None
    np.testing.assert_allclose(sequence.truth[0], np.eye(4))
    np.testing.assert_allclose(sequence.truth[1, :3, 3], [0.5, 0.0, 1.0])
    np.testing.assert_array_equal(sequence.frame(0).image, tiny_image(1, 0, (32, 24)))
    with pytest.raises(IndexError):
        sequence.frame(2)
    assert len(open_sequence(str(folder), frames=(None, None))) == 4
    assert len(open_sequence(str(folder), frames=(2, None))) == 2


@pytest.mark.parametrize("frames", [(2, 2), (3, 1), (0, 5), (4, None), (-1, 2), (None, 0), (None, -1)])
def test_window_outside_or_empty_is_refused(kitti_tree: Tree, frames: tuple[int | None, int | None]) -> None:
    with pytest.raises(DataError, match=r"--frames A:B needs 0 <= A < B <= 4.*; got"):
        open_sequence(str(kitti_tree()), frames=frames)


def _rewrite(path: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content

    def change(folder: Path) -> None:
        (folder / path).write_bytes(data)

    return change


def _replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return change


def _remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def _image(path: str, width: int, height: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        assert cv2.imwrite(str(folder / path), np.zeros((height, width), np.uint8))

    return change


def _rename(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / old).rename(folder / new)

    return change


IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0\n"

BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no calibration": (_remove("calib.txt"), r"calib.txt is required .*but is not there"),
    "row missing": (
        _replace("calib.txt", "P1:", "Q1:"),
        r"needs the row 'P1: 12 numbers'; its cameras are: P0, P2, P3",
    ),
    "eleven numbers": (_replace("calib.txt", "P0: 50 0", "P0: 50"), r"line 1 \(P0\): 12 numbers are required; got 11"),
    "not a number": (_replace("calib.txt", "P0: 50", "P0: nan"), r"finite numbers are required; got 'nan'"),
    "word in row": (_replace("calib.txt", "P1: 50", "P1: fx"), r"line 2 \(P1\): finite numbers are required; got 'fx'"),
    "row twice": (_replace("calib.txt", "Tr:", "P0:"), r"line 5: P0 comes a second time"),
    "no focal length": (_replace("calib.txt", "P0: 50", "P0: 0"), r"focal lengths fx, fy > 0"),
    "skew": (_replace("calib.txt", "P0: 50 0", "P0: 50 3"), r"projection of the form"),
    "swapped cameras": (_replace("calib.txt", "-25", "25"), r"positive baseline .*are left and right swapped"),
    "right not on the row": (_replace("calib.txt", "-25 0 50 11.5 0", "-25 0 50 11.5 9"), r"must lie on the x axis"),
    "not rectified": (_replace("calib.txt", "-25 0 50 11.5", "-25 0 50 12.5"), r"rectified to equal fx, fy and cy"),
    "calibration is binary": (_rewrite("calib.txt", b"\xff\xfe\x00"), r"text file"),
    "left images differ": (_image("image_0/000002.png", 30, 24), r"must have one size; .*32x24 px and .*30x24 px"),
    "right images differ": (_image("image_1/000000.png", 32, 20), r"must have one size; .*32x24 px and .*32x20 px"),
    "right image missing": (
        _remove("image_1/000001.png"),
        r"4 left and 3 right ones, and .*image_1/000001.png is missing",
    ),
    "left image missing": (
        _remove("image_0/000003.png"),
        r"3 left and 4 right ones, and .*image_0/000003.png is missing",
    ),
    "other name on the right": (
        _rename("image_1/000003.png", "image_1/000009.png"),
        r"4 left and 4 right ones, and .*image_0/000009.png is missing",
    ),
    "not an image": (_rewrite("image_0/000001.png", "hello"), r"000001.png: a PNG image is required"),
    "empty image": (_rewrite("image_0/000001.png", ""), r"000001.png: a PNG image is required"),
    "too few poses": (_rewrite("poses.txt", IDENTITY * 3), r"one pose per frame, 4 .*; got 3"),
    "too many poses": (_rewrite("poses.txt", IDENTITY * 5), r"one pose per frame, 4 .*; got 5"),
    "no poses": (_rewrite("poses.txt", "\n\n"), r"poses.txt is empty"),
    "short pose": (
        _rewrite("poses.txt", IDENTITY * 2 + "1 2 3\n" + IDENTITY),
        r"line 3: 12 numbers are required; got 3",
    ),
    "infinite pose": (_rewrite("poses.txt", "1 0 0 inf" + IDENTITY[7:] + IDENTITY * 3), r"line 1: finite .* 'inf'"),
    "no rotation": (
        _rewrite("poses.txt", IDENTITY + "2" + IDENTITY[1:] + IDENTITY * 2),
        r"line 2: .*must be a rotation",
    ),
    "mirrored": (_rewrite("poses.txt", "-1" + IDENTITY[1:] + IDENTITY * 3), r"line 1: .*mirrored"),
    "too few times": (_rewrite("times.txt", "0\n0.1\n0.2\n"), r"one time per frame, 4; got 3"),
    "times stand still": (_rewrite("times.txt", "0\n0.1\n0.1\n0.2\n"), r"must increase .*frame 2 has 100000000 ns"),
    "times go back": (_rewrite("times.txt", "0\n0.2\n0.1\n0.3\n"), r"must increase .*frame 2"),
    "negative time": (_rewrite("times.txt", "-1\n0.2\n0.3\n0.4\n"), r"line 1: a time must lie between 0 and"),
    "endless time": (_rewrite("times.txt", "0\n0.2\n0.3\n1e300\n"), r"line 4: a time must lie between 0 and"),
    "time is a word": (_rewrite("times.txt", "0\nnow\n0.3\n1\n"), r"line 2: finite numbers are required; got 'now'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folder_gives_one_clear_line(kitti_tree: Tree, name: str) -> None:
    folder = kitti_tree()
    spoil, message = BROKEN[name]
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        open_sequence(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["cut off", "bit flipped"])
def test_damaged_pixels_are_found_when_the_frame_is_asked_for(kitti_tree: Tree, spoil: str) -> None:
    folder = kitti_tree()
    path = folder / "image_0" / "000001.png"
    data = bytearray(path.read_bytes())
    if spoil == "cut off":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    sequence = open_sequence(str(folder))
    assert sequence.frame(0).image.shape == (24, 32)
    with pytest.raises(DataError, match=r"000001.png: the PNG image is (cut off|damaged)"):
        sequence.frame(1)


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"KITTI sequence folder .* rosbag2 .* 'demo'; '.*nowhere' does not exist"):
        open_sequence(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"is an empty folder"):
        open_sequence(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    for source in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(DataError, match=r"is something else"):
            open_sequence(str(source))


def test_folder_without_images(kitti_tree: Tree) -> None:
    folder = kitti_tree(cameras=(1,))
    with pytest.raises(DataError, match="needs a folder image_0"):
        open_sequence(str(folder))
    (folder / "image_0").mkdir()
    with pytest.raises(DataError, match="image_0 needs PNG images"):
        open_sequence(str(folder))


@fuzz()
@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(str.encode)
    | st.lists(
        st.sampled_from(["P0:", "P1: ", "1", "nan", "1e999", " ", "\n", "0.5", "-3", "_", "#", "\r\n"]), max_size=60
    ).map(lambda tokens: " ".join(tokens).encode())
)
def test_any_calibration_or_pose_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "file.txt"
    path.write_bytes(content)
    for read in (read_calibration, read_kitti_poses):
        try:
            result = read(path)
        except DataError as error:
            assert "\n" not in str(error)
        else:
            values = np.array(list(result.values())) if isinstance(result, dict) else result
            assert np.all(np.isfinite(values))


@given(st.integers(0, 2**63 - 10**9))
def test_stamps_written_in_full_come_back_exactly(stamp_ns: int) -> None:
    assert parse_stamp(f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}", "here") == stamp_ns


@fuzz()
@given(st.text(max_size=30))
def test_any_stamp_is_read_or_refused(token: str) -> None:
    try:
        assert 0 <= parse_stamp(token, "here") < 2**63
    except DataError:
        pass


@pytest.mark.parametrize(
    ("name", "frames", "stereo", "metres"),
    [("kitti06_stereo51", 51, True, 59.86), ("kitti00_mono160", 160, False, 117.2), ("kitti03_stereo5", 5, True, 3.85)],
)
def test_real_sequences(shared_data: Shared, name: str, frames: int, stereo: bool, metres: float) -> None:
    sequence = open_sequence(str(shared_data(name)))
    assert len(sequence) == frames and sequence.rig.stereo == stereo
    assert sequence.truth is not None
    steps = np.linalg.norm(np.diff(sequence.truth[:, :3, 3], axis=0), axis=1)
    assert steps.sum() == pytest.approx(metres, abs=0.05)
    assert sequence.frame(frames - 1).image.std() > 20
    if stereo:
        assert sequence.rig.baseline_m == pytest.approx(0.537, abs=1e-3)
