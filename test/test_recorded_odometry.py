"""Another odometry from a file or a bag, for one camera's metres: `subpx run --scale-from`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from subpx_ros.cli import main
from subpx_ros.datasets import open_sequence
from subpx_ros.datasets.bag_writer import write_bag
from subpx_ros.datasets.street import StreetConfig, StreetSequence, write_kitti_sequence
from subpx_ros.datatypes import Camera, Rig
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.evaluation.trajectories import write_kitti, write_tum
from subpx_ros.frames import T_BODY_OPTICAL, base_from_optical, odom_from_camera_path
from subpx_ros.geometry import invert
from subpx_ros.recorded_odometry import recorded_odometry

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
FRAMES = 6
PLACE = "0.9 -0.2 1.4 0.02 0.1 0.3"
SIFT = ["--preset", "sift", "--device", "cpu", "--refiner", "none", "--mode", "mono"]


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=Rig(CAMERA, CAMERA, 0.5))


@pytest.fixture(scope="module")
def folder(street: StreetSequence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("street") / "sequence"
    write_kitti_sequence(street, made)
    return made


@pytest.fixture(scope="module")
def bag(street: StreetSequence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bags") / "street"
    write_bag(street, made)
    return made


@pytest.fixture(scope="module")
def wheels(street: StreetSequence, folder: Path) -> Path:
    """Poses of a robot whose camera sits at PLACE."""
    assert street.truth is not None
    path = folder / "wheels.tum"
    stamps = open_sequence(str(folder)).stamps_ns
    write_tum(path, stamps, odom_from_camera_path(street.truth, base_from_optical(PLACE)))
    return path


def test_a_file_holds_the_way_of_the_robot(street: StreetSequence, folder: Path, wheels: Path) -> None:
    assert street.truth is not None
    sequence = open_sequence(str(folder), "mono")
    other = recorded_odometry(str(wheels), str(folder), sequence, PLACE)
    assert other.mount is not None
    np.testing.assert_allclose(other.mount, base_from_optical(PLACE))
    travel = other.travel(sequence.stamps_ns[1], sequence.stamps_ns[4])
    step = invert(street.truth[1]) @ street.truth[4]
    expected = odom_from_camera_path(step, other.mount)[:3, 3]
    assert travel.displacement is not None
    np.testing.assert_allclose(travel.displacement, expected, atol=1e-9)
    unplaced = recorded_odometry(str(wheels), str(folder), sequence, None)
    assert unplaced.mount is not None
    np.testing.assert_array_equal(unplaced.mount, T_BODY_OPTICAL)


def test_a_topic_of_the_bag_comes_with_the_cameras_place(street: StreetSequence, bag: Path) -> None:
    assert street.truth is not None
    sequence = open_sequence(str(bag), "mono")
    other = recorded_odometry("/ground_truth/odom", str(bag), sequence, None)
    assert other.mount is not None
    np.testing.assert_allclose(other.mount, T_BODY_OPTICAL, atol=1e-12)
    travel = other.travel(sequence.stamps_ns[0], sequence.stamps_ns[-1])
    assert travel.metres == pytest.approx(float(np.linalg.norm(street.truth[-1, :3, 3])), rel=1e-9)


def test_what_cannot_be_used_is_named(folder: Path, bag: Path, wheels: Path, tmp_path: Path) -> None:
    mono = open_sequence(str(folder), "mono")
    with pytest.raises(ConfigError, match="add --mode mono"):
        recorded_odometry(str(wheels), str(folder), open_sequence(str(folder)), None)
    with pytest.raises(ConfigError, match="six finite numbers"):
        recorded_odometry(str(wheels), str(folder), mono, "1 2")
    with pytest.raises(DataError, match="a topic where the images come from a bag"):
        recorded_odometry("/wheel_odom", str(folder), mono, None)
    with pytest.raises(DataError, match="has no odometry on /wheel_odom; it has some on: /ground_truth/odom"):
        recorded_odometry("/wheel_odom", str(bag), mono, None)
    rows = tmp_path / "rows.txt"
    write_kitti(rows, np.tile(np.eye(4), (3, 1, 1)))
    with pytest.raises(DataError, match="KITTI rows have none"):
        recorded_odometry(str(rows), str(folder), mono, None)
    later = tmp_path / "later.tum"
    write_tum(later, [10**18, 10**18 + 1], np.tile(np.eye(4), (2, 1, 1)))
    with pytest.raises(DataError, match="of the time of the images"):
        recorded_odometry(str(later), str(folder), mono, None)


def test_subpx_run_is_in_metres_with_it(folder: Path, wheels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--scale-from", str(wheels), "--camera-in-base", PLACE]
    assert main(["run", str(folder), "--out", str(out), *SIFT, *given]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metric"] and (summary["lost"], summary["degraded"]) == (0, 0)
    assert summary["ate_m"] < 0.03 * summary["path_m"]


def test_the_setting_alone_is_not_enough(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wheels.yaml"
    file.write_text("odometry: {wheel_odometry: true}\n")
    assert main(["run", str(folder), "--out", str(tmp_path / "out"), *SIFT, "--config", str(file)]) == 2
    assert "needs another odometry: 'subpx run --scale-from FILE_OR_TOPIC'" in capfd.readouterr().err
