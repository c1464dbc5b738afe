"""Trajectory files and quaternions: what is written comes back, what is no trajectory is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from subpx_ros.errors import DataError
from subpx_ros.evaluation.compare import evaluate
from subpx_ros.evaluation.trajectories import read_trajectory, write_kitti, write_tum
from subpx_ros.frames import (
    camera_path_from_odom,
    odom_from_camera_path,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from subpx_ros.geometry import rotation_from_vector, se3

Array = NDArray[np.float64]
component = st.floats(-1.0, 1.0)


def drive(count: int) -> Array:
    pose, poses = np.eye(4), []
    for _ in range(count):
        poses.append(pose)
        pose = pose @ se3(rotation_from_vector(np.array([0.01, 0.05, -0.02])), np.array([0.1, 0.0, 1.0]))
    return np.array(poses)


@given(st.tuples(component, component, component, component))
@example((1.0, 0.0, 0.0, 0.0))
@example((0.0, 1.0, 0.0, 0.0))
@example((0.0, 0.0, 1.0, 0.0))
@example((0.0, 0.0, 0.0, 1.0))
@example((1.0, 1.0, 0.0, 1e-9))
@example((0.0, 1e-8, 1.0, -1e-12))
@example((0.5, 0.5, 0.5, 0.5))
def test_quaternions_and_rotations_are_the_same_for_all_rotations(quaternion: tuple[float, ...]) -> None:
    unit = np.array(quaternion)
    if np.linalg.norm(unit) < 1e-3:
        unit = np.array([0.0, 0.0, 0.0, 1.0])
    unit = unit / np.linalg.norm(unit)
    rotation = rotation_from_quaternion(unit)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)
    found = quaternion_from_rotation(rotation)
    assert found[3] >= 0.0
    np.testing.assert_allclose(rotation_from_quaternion(found), rotation, atol=1e-14)
    assert abs(abs(found @ unit) - 1.0) < 1e-14


def test_quaternion_of_a_known_turn() -> None:
    turn = rotation_from_vector(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quaternion_from_rotation(turn), [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def test_forward_left_up_of_the_robot() -> None:
    camera = se3(np.eye(3), np.array([0.0, 0.0, 2.0]))  # the optical z axis is the robot's forward axis
    np.testing.assert_allclose(odom_from_camera_path(camera[None])[0, :3, 3], [2.0, 0.0, 0.0])
    poses = drive(7)
    np.testing.assert_allclose(camera_path_from_odom(odom_from_camera_path(poses)), poses, atol=1e-14)


def test_kitti_rows_come_back(tmp_path: Path) -> None:
    poses = drive(30)
    write_kitti(tmp_path / "poses.txt", poses)
    read = read_trajectory(tmp_path / "poses.txt")
    assert read.stamps_ns is None and len(read) == 30
    np.testing.assert_allclose(read.poses, poses, rtol=0, atol=1e-8)
    assert [path.name for path in tmp_path.iterdir()] == ["poses.txt"]


def test_tum_rows_come_back_with_exact_stamps(tmp_path: Path) -> None:
    stamps = (0, 1, 999_999_999, 1_000_000_000, 1_317_384_506_400_000_123)
    poses = drive(5)
    write_tum(tmp_path / "trajectory.tum", stamps, poses)
    lines = (tmp_path / "trajectory.tum").read_text().splitlines()
    assert lines[0] == "0.000000000 0 0 0 0 0 0 1" and lines[4].startswith("1317384506.400000123 ")
    read = read_trajectory(tmp_path / "trajectory.tum")
    assert read.stamps_ns == stamps
    np.testing.assert_allclose(read.poses, poses, atol=1e-10)


def test_comments_blank_lines_and_a_missing_last_newline_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "trajectory.tum"
    path.write_text("# stamp tx ty tz qx qy qz qw\r\n\r\n1.5 0 0 1 0 0 0 1\r\n2.5 0 0 2 0 0 0 1")
    assert read_trajectory(path).stamps_ns == (1_500_000_000, 2_500_000_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a trajectory needs 12 numbers"),
        ("1 2 3\n", r"line 1: a trajectory needs 12 numbers .* or 8 .*; got 3"),
        ("# x\n\n0 0 0 0 0 0 0 1\n1 0 0 0 0 0 1\n", "line 4: 8 numbers are required, as on the first line; got 7"),
        ("0 0 0 0 0 0 0 1\n1 0 0 x 0 0 0 1\n", "line 2: finite numbers are required; got 'x'"),
        ("0 0 0 0 0 0 0 0.5\n", "line 1: a quaternion of length 1 .* is 0.5"),
        ("0 0 0 0 0 0 0 1\n0 0 0 0 0 0 0 1\n", "times must increase"),
        ("0 0 0 1e200 0 0 0 1\n", "line 1: a position within 1e.08 m is required"),
        ("0 0 0 0 1e200 0 0 1\n", "line 1: a quaternion of length 1"),
        ("0 0 nan 0 0 0 0 1\n", "got 'nan'"),
        ("1 0 0 0 0 1 0 0 0 0 2 0\n", "line 1: the first 3 columns must be a rotation"),
    ],
)
def test_files_that_are_no_trajectory(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trajectory.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_trajectory(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read .*none.txt: No such file"):
        read_trajectory(tmp_path / "none.txt")


tokens = st.sampled_from(
    ["0", "1", "-1", "0.5", "1e999", "nan", "1_0", "#", "x", "\n", "\n", "0 0 0 0 0 0 0 1\n", "\x00"]
)


@fuzz()
@given(st.binary(max_size=200) | st.lists(tokens, max_size=60).map(lambda words: " ".join(words).encode()))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "trajectory.txt"
    path.write_bytes(content)
    try:
        trajectory = read_trajectory(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(trajectory) >= 1 and np.all(np.isfinite(trajectory.poses))


def test_evaluation_by_index(tmp_path: Path) -> None:
    truth = drive(60)
    estimate = truth.copy()
    estimate[:, :3, 3] *= 1.02
    write_kitti(tmp_path / "truth.txt", truth)
    write_kitti(tmp_path / "estimate.txt", estimate)
    result = evaluate(tmp_path / "estimate.txt", tmp_path / "truth.txt", tmp_path / "out")
    assert result["frames"] == 60 and result["association"] == "index"
    assert 1.5 < result["drift"]["t_percent"] < 2.3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["evaluation.json", "trajectory.png"]
    aligned = evaluate(tmp_path / "estimate.txt", tmp_path / "truth.txt", align_scale=True)
    assert aligned["drift"]["t_percent"] < 1e-4


def test_evaluation_by_stamps_uses_the_frames_in_common(tmp_path: Path) -> None:
    truth = drive(60)
    stamps = [100_000_000 * index for index in range(60)]
    write_tum(tmp_path / "truth.tum", stamps, truth)
    # The estimate starts later, skips a frame, and its clock is 4 ms off; one of its frames has no partner.
    kept = [*range(5, 20), *range(21, 60)]
    shifted = [stamps[index] + 4_000_000 for index in kept] + [7_000_000_000]
    write_tum(tmp_path / "estimate.tum", shifted, np.concatenate([truth[kept], truth[:1]]))
    result = evaluate(tmp_path / "estimate.tum", tmp_path / "truth.tum")
    assert result["frames"] == len(kept) and result["association"] == "stamps"
    assert result["drift"]["t_percent"] < 1e-6 and result["ate_m"] < 1e-6


def test_a_true_frame_is_used_once(tmp_path: Path) -> None:
    truth = drive(3)
    write_tum(tmp_path / "truth.tum", [0, 10**8, 2 * 10**8], truth)
    write_tum(tmp_path / "estimate.tum", [0, 5 * 10**6, 10**8, 2 * 10**8], truth[[0, 0, 1, 2]])
    assert evaluate(tmp_path / "estimate.tum", tmp_path / "truth.tum")["frames"] == 3


def test_trajectories_that_do_not_belong_together(tmp_path: Path) -> None:
    write_kitti(tmp_path / "three.txt", drive(3))
    write_kitti(tmp_path / "four.txt", drive(4))
    with pytest.raises(DataError, match=r"need equal counts; .*three.txt has 3 poses and .*four.txt has 4"):
        evaluate(tmp_path / "three.txt", tmp_path / "four.txt")
    write_tum(tmp_path / "a.tum", [0, 10**8, 2 * 10**8], drive(3))
    write_tum(tmp_path / "b.tum", [10**12, 10**12 + 1], drive(2))
    with pytest.raises(DataError, match="need at least 2 frames in common .*; they have 0"):
        evaluate(tmp_path / "a.tum", tmp_path / "b.tum")
    write_kitti(tmp_path / "one.txt", drive(1))
    with pytest.raises(DataError, match="need at least 2 frames in common .*; they have 1"):
        evaluate(tmp_path / "one.txt", tmp_path / "one.txt")
    assert evaluate(tmp_path / "a.tum", tmp_path / "three.txt")["association"] == "index"


def test_real_poses_against_themselves(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("kitti_poses") / "04.txt"
    result = evaluate(path, path)
    assert result["drift"]["t_percent"] < 1e-9 and result["drift"]["lengths_m"] == [100, 200, 300]
