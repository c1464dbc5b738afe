"""KITTI raw, EuRoC and TUM RGB-D: what the loaders give, exact truth, and one clear line for what is broken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sequence_trees as trees
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from lenses import picture
from numpy.typing import NDArray
from test_undistortion import grey, keypoint_offsets

from subpx_ros.cli import main
from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datasets.stamps import Track
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datasets.unrectified import Optics, rectified_cameras
from subpx_ros.datatypes import Array, Camera, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.undistortion import rectified

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
BASELINE_M = 0.4
T_BODY_LEFT = se3(
    trees.BODY_FROM_CAMERA @ rotation_from_vector(np.array([0.02, -0.01, 0.015])), np.array([0.1, 0.2, 0.3])
)
T_LEFT_RIGHT = se3(rotation_from_vector(np.array([0.008, -0.02, 0.01])), np.array([BASELINE_M, 0.004, -0.003]))
FRAMES = 3


def pose(x: float, y: float, z: float, *rotation: float) -> Array:
    return se3(rotation_from_vector(np.array(rotation)), np.array([x, y, z]))


def relative(poses: list[Array]) -> Array:
    """By numpy's own inverse."""
    return np.array([np.linalg.inv(poses[0]) @ each for each in poses])


def truth_of(sequence: Sequence) -> Array:
    assert sequence.truth is not None
    return sequence.truth


def drive() -> list[Array]:
    """Of a car in axes east, north, up: it turns left while it goes uphill."""
    return [
        pose(12.0, 7.0, 110.0, 0.0, 0.0, 0.9),
        pose(12.6, 7.8, 110.1, 0.01, -0.02, 0.92),
        pose(13.1, 8.6, 110.15, 0.02, -0.03, 0.97),
    ]


# --- KITTI raw


def test_kitti_raw_gives_frames_rig_stamps_and_the_truth_of_the_left_camera(tmp_path: Path) -> None:
    folder = trees.kitti_raw(tmp_path / "2011_09_26", drive())
    sequence = open_sequence(str(folder))
    assert len(sequence) == 3 and sequence.name == "2011_09_26_drive_0001_sync"
    assert sequence.rig.baseline_m == pytest.approx(0.5)
    assert (sequence.rig.left.fx, sequence.rig.left.cx, sequence.rig.left.width) == (50.0, 15.5, 32)
    # 2011-09-26 13:02:25 UTC
    assert sequence.stamps_ns == tuple(1_317_042_145_000_000_000 + n * 100_000_000 + 64_389_445 for n in range(3))
    frame = sequence.frame(1)
    np.testing.assert_array_equal(frame.image, trees.noise(1, 0))
    np.testing.assert_array_equal(frame.right_image, trees.noise(1, 1))
    T_camera_imu = se3(trees.R_RECT, np.zeros(3)) @ trees.T_CAM_VELO @ trees.T_VELO_IMU
    expected = relative([each @ np.linalg.inv(T_camera_imu) for each in drive()])
    # Moving by a metre changes the scale of the map by less than a millionth.
    np.testing.assert_allclose(truth_of(sequence), expected, atol=5e-6)


def test_kitti_raw_of_a_day_with_one_drive_and_of_the_colour_cameras(tmp_path: Path) -> None:
    day = tmp_path / "2011_09_26"
    trees.kitti_raw(day, drive(), cameras=("02", "03"))
    sequence = open_sequence(str(day), "mono")
    assert sequence.truth is not None and not sequence.rig.stereo
    T_grey_colour = se3(np.eye(3), np.array([-0.06, 0.0, 0.0]))
    T_camera_imu = np.linalg.inv(T_grey_colour) @ se3(trees.R_RECT, np.zeros(3)) @ trees.T_CAM_VELO @ trees.T_VELO_IMU
    np.testing.assert_allclose(
        truth_of(sequence), relative([each @ np.linalg.inv(T_camera_imu) for each in drive()]), atol=5e-6
    )
    (day / "2011_09_26_drive_0002_sync").mkdir()
    with pytest.raises(DataError, match=r"holds 2 drives, name one of them: 2011_09_26_drive_0001_sync, .*_0002_sync"):
        open_sequence(str(day))


def test_kitti_raw_without_inertial_navigation_has_no_truth(tmp_path: Path) -> None:
    folder = trees.kitti_raw(tmp_path / "2011_09_26", drive())
    for path in (folder / "oxts" / "data").iterdir():
        path.unlink()
    (folder / "oxts" / "data").rmdir()
    (folder / "oxts").rmdir()
    (folder.parent / "calib_imu_to_velo.txt").unlink()  # must not matter
    assert open_sequence(str(folder)).truth is None


# --- EuRoC


def flight(after_ns: int) -> Array:
    """T_world_body of a body that flies straight on and turns at constant speed."""
    seconds = after_ns * 1e-9
    return pose(1.0 + 2.0 * seconds, -0.5 * seconds, 0.3, 0.0, 0.0, 0.4 * seconds)


def test_euroc_leaves_out_what_has_no_truth_and_interpolates_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Tracked from 20 to 180 ms every 7 ms, frames every 50 ms: the first and the last two lie outside.
    truth = [(ns, flight(ns)) for ns in range(20_000_000, 180_000_000, 7_000_000)]
    folder = trees.euroc(tmp_path / "MH_01_easy", [T_BODY_LEFT], frames=6, truth=truth)
    sequence = open_sequence(str(folder / "mav0"))
    assert sequence.name == "MH_01_easy" and not sequence.rig.stereo
    stamps = [trees.FIRST_STAMP_NS + 50_000_000 * index for index in (1, 2, 3)]
    assert list(sequence.stamps_ns) == stamps
    assert "MH_01_easy: 3 of 6 frames before or after the ground truth are left out" in capsys.readouterr().err
    expected = relative([flight(50_000_000 * index) @ T_BODY_LEFT for index in (1, 2, 3)])
    np.testing.assert_allclose(truth_of(sequence), expected, atol=1e-9)


def test_euroc_without_a_partner_or_with_a_gap_in_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gap = [(ns, flight(ns)) for ns in (0, 300_000_000)]
    folder = trees.euroc(tmp_path / "V1_01", [T_BODY_LEFT, T_BODY_LEFT @ T_LEFT_RIGHT], truth=gap)
    listed = folder / "mav0" / "cam1" / "data.csv"
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[:3]))
    sequence = open_sequence(str(folder))
    assert len(sequence) == 2 and sequence.rig.stereo
    assert sequence.truth is None
    assert "the ground truth pauses for 0.30 s at frame 1 and is not used" in capsys.readouterr().err


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    rig = Rig(CAMERA, CAMERA, BASELINE_M)
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=rig)


@pytest.fixture(scope="module")
def flown(street: StreetSequence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street as two distorting cameras that are turned against each other see it."""
    T_world_left = street.poses

    def images(index: int, camera: int) -> trees.Image:
        T = T_world_left[index] @ (T_LEFT_RIGHT if camera else np.eye(4))
        return grey(picture(street.street, T, CAMERA, trees.LENSES[camera]))

    truth = [(50_000_000 * index, T @ np.linalg.inv(T_BODY_LEFT)) for index, T in enumerate(T_world_left)]
    size = (CAMERA.width, CAMERA.height)
    bodies = [T_BODY_LEFT, T_BODY_LEFT @ T_LEFT_RIGHT]
    return trees.euroc(tmp_path_factory.mktemp("euroc") / "street", bodies, FRAMES, images, size, trees.LENSES, truth)


def test_euroc_is_rectified_to_what_an_ideal_pair_sees_along_the_truth(street: StreetSequence, flown: Path) -> None:
    sequence = open_sequence(str(flown))
    rig, frame = sequence.rig, sequence.frame(1)
    assert rig.right == rig.left and rig.baseline_m == pytest.approx(np.linalg.norm(T_LEFT_RIGHT[:3, 3]))
    # The rectified camera looks along the mean of both, its rows along the baseline; same place as the left one.
    x = T_LEFT_RIGHT[:3, 3] / np.linalg.norm(T_LEFT_RIGHT[:3, 3])
    y = np.cross(np.array([0.0, 0.0, 1.0]) + T_LEFT_RIGHT[:3, 2], x)
    y /= np.linalg.norm(y)
    T_left_rectified = se3(np.column_stack([x, y, np.cross(x, y)]), np.zeros(3))
    T_world_rectified = street.poses @ T_left_rectified
    np.testing.assert_allclose(truth_of(sequence), relative(list(T_world_rectified)), atol=1e-7)
    assert frame.right_image is not None and rig.baseline_m is not None
    for image, shift in ((frame.image, 0.0), (frame.right_image, rig.baseline_m)):
        T = T_world_rectified[1] @ se3(np.eye(3), np.array([shift, 0.0, 0.0]))
        ideal = grey(street.street.render(rig.left, T).image)
        offsets = keypoint_offsets(ideal, image)
        assert len(offsets) > 150
        assert np.abs(np.mean(offsets, axis=0)).max() < 0.03
        assert np.median(np.linalg.norm(offsets, axis=1)) < 0.2


# --- TUM RGB-D


def test_tum_pairs_images_with_depth_and_interpolates_the_truth(tmp_path: Path) -> None:
    depth = np.full((24, 32), 7500, np.uint16)
    depth[3, 5], depth[4, 5] = 0, 1
    truth = [(after, flight(round(after * 1e9))) for after in np.arange(-0.01, 0.1, 0.01)]
    folder = trees.tum(tmp_path / "office", depth=lambda index: depth, truth=truth)
    sequence = open_sequence(str(folder))
    assert sequence.rig == Rig(Camera(50.0, 50.0, 15.5, 11.5, 32, 24), depth=True)
    assert sequence.stamps_ns == tuple(1_305_031_102_000_000_000 + 31_250_000 * n for n in range(3)), "as in the names"
    frame = sequence.frame(2)
    np.testing.assert_array_equal(frame.image, trees.noise(2, 0))
    assert frame.depth is not None and np.isnan(frame.depth[3, 5])
    assert frame.depth[4, 5] == pytest.approx(0.0002) and frame.depth[0, 0] == pytest.approx(1.5)
    np.testing.assert_allclose(truth_of(sequence), relative([flight(31_250_000 * n) for n in range(3)]), atol=1e-9)
    assert open_sequence(str(folder), "mono").frame(0).depth is None


def test_tum_images_without_depth_nearby_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = trees.tum(tmp_path / "office", frames=5)
    listed = folder / "depth.txt"
    listed.write_text("".join(line for n, line in enumerate(listed.read_text().splitlines(keepends=True)) if n != 5))
    sequence = open_sequence(str(folder))
    assert len(sequence) == 4 and sequence.truth is None
    assert "office: 1 images without a partner of matching stamp are left out" in capsys.readouterr().err
    np.testing.assert_array_equal(sequence.frame(2).image, trees.noise(3, 0))


@pytest.mark.parametrize(
    ("name", "focal_px"), [("rgbd_dataset_freiburg1_xyz", 517), ("freiburg2_desk", 520), ("rgbd_freiburg3_long", 535)]
)
def test_tum_takes_the_published_camera_of_its_name(tmp_path: Path, name: str, focal_px: float) -> None:
    images = lambda index, camera: np.full((480, 640, 3), 40 + index, np.uint8)
    folder = trees.tum(tmp_path / name, 2, images, None, calibration="")
    sequence = open_sequence(str(folder))
    # The corners of these lenses see up to 7 % less than their middle promises.
    assert sequence.rig.left.fx == pytest.approx(focal_px, rel=0.08) and not sequence.rig.depth
    assert sequence.frame(1).image.min() == 41
    if "3" in name:
        assert (sequence.rig.left.fx, sequence.rig.left.fy, sequence.rig.left.cx) == (535.4, 539.2, 320.1)


# --- rectified cameras


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
@pytest.mark.parametrize("T_left_right", [None, T_LEFT_RIGHT], ids=["one camera", "pair"])
def test_rectified_cameras_see_what_all_lenses_saw_and_no_less(model: str, T_left_right: Array | None) -> None:
    optics = [Optics((230.0, 232.0, 158.0, 81.0), model, (-0.2, 0.05, 0.0, 0.0))] * (1 if T_left_right is None else 2)
    cameras, rotation = rectified_cameras(optics, (320, 160), T_left_right, "here")
    white = np.full((160, 320), 200, np.uint8)
    frame = cameras.frame(0, [white] * len(optics))
    assert frame.image.min() == 200
    assert frame.right_image is None or frame.right_image.min() == 200
    if T_left_right is None:
        np.testing.assert_array_equal(rotation, np.eye(3))
    wider = dataclasses.replace(frame.rig.left, fx=0.97 * frame.rig.left.fx, fy=0.97 * frame.rig.left.fy)
    assert min(rectified(white, lens, wider).min() for lens in cameras.lenses if lens is not None) < 200


@pytest.mark.parametrize(
    ("T_left_right", "message"),
    [
        (pose(-0.1, 0, 0, 0, 0, 0), r"must lie to the right .*are left and right swapped"),
        (pose(0, 0.1, 0, 0, 0, 0), r"must lie to the right"),
        (pose(0.1, 0, 0, 0, 3.1, 0), r"must lie to the right of the left one and look the same way"),
        (pose(0.1, 0, 0, 0, 1.2, 0), r"must share a view of 6 to 157 degrees"),
    ],
)
def test_pairs_that_cannot_be_rectified(T_left_right: Array, message: str) -> None:
    optics = [Optics((230.0, 230.0, 159.5, 79.5), "plumb_bob", (-0.2, 0.05, 0.0, 0.0))] * 2
    with pytest.raises(DataError, match=message):
        rectified_cameras(optics, (320, 160), T_left_right, "here")


@given(st.integers(0, 10**9), st.integers(1, 10**8), st.integers(0, 10**8))
def test_interpolated_poses_lie_on_the_way(start: int, length: int, after: int) -> None:
    after = min(after, length)
    track = Track((start, start + length), np.array([flight(start), flight(start + length)]))
    poses = track.at([start + after], "here")
    assert poses is not None
    np.testing.assert_allclose(poses[0], flight(start + after), atol=1e-7)


# --- the command line


def as_kitti_raw(street: StreetSequence, folder: Path) -> Path:
    T_imu_camera = np.linalg.inv(se3(trees.R_RECT, np.zeros(3)) @ trees.T_CAM_VELO @ trees.T_VELO_IMU)
    frames = [street.frame(index) for index in range(FRAMES)]

    def images(index: int, camera: int) -> trees.Image:
        image = frames[index].right_image if camera else frames[index].image
        assert image is not None
        return image

    # The street's axes are those of a camera; the car's world has z upwards.
    poses = [se3(trees.BODY_FROM_CAMERA, np.zeros(3)) @ T @ np.linalg.inv(T_imu_camera) for T in street.poses]
    return trees.kitti_raw(
        folder / "2011_09_26", poses, images, K=CAMERA.matrix.ravel().tolist(), baseline_m=BASELINE_M
    )


def as_tum(street: StreetSequence, folder: Path) -> Path:
    def depth(index: int) -> NDArray[np.uint16]:
        metres = street.view(index).depth
        return np.where(np.isfinite(metres) & (metres < 13.0), np.round(5000.0 * metres), 0).astype(np.uint16)

    truth = [(index / 32, T) for index, T in enumerate(street.poses)]
    calibration = f"{CAMERA.fx} {CAMERA.fy} {CAMERA.cx} {CAMERA.cy}"
    return trees.tum(folder / "tum", FRAMES, lambda i, camera: street.frame(i).image, depth, truth, calibration)


@pytest.mark.parametrize(("layout", "mode"), [("kitti-raw", "stereo"), ("euroc", "stereo"), ("tum", "rgbd")])
def test_run_follows_the_street_in_every_layout(
    street: StreetSequence, flown: Path, layout: str, mode: str, tmp_path: Path
) -> None:
    folders = {"kitti-raw": as_kitti_raw, "euroc": lambda *_: flown, "tum": as_tum}
    folder, out = folders[layout](street, tmp_path), tmp_path / "out"
    options = ["--preset", "sift", "--refiner", "none", "--device", "cpu"]
    assert main(["run", str(folder), "--out", str(out), *options]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["mode"] == mode and summary["lost"] == 0 and summary["frames"] == FRAMES
    assert summary["path_m"] > 0.5
    assert summary["ate_m"] < 0.01 * summary["path_m"]
    assert summary["rpe"]["r_deg_rmse"] < 0.2


# --- what is broken

Change = Callable[[Path], None]


def replace(path: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new, 1))

    return change


def write(path: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / path).write_text(content)

    return change


def remove(path: str) -> Change:
    return lambda folder: (folder / path).unlink()


def last_line_away(path: str) -> Change:
    def change(folder: Path) -> None:
        lines = (folder / path).read_text().splitlines(keepends=True)
        (folder / path).write_text("".join(lines[:-1]))

    return change


DRIVE = "2011_09_26_drive_0001_sync"
OXTS = f"{DRIVE}/oxts/data/0000000001.txt"
BROKEN_RAW: dict[str, tuple[Change, str]] = {
    "no calibration": (remove("calib_cam_to_cam.txt"), r"calib_cam_to_cam.txt is required but is not there"),
    "no imu calibration": (remove("calib_imu_to_velo.txt"), r"calib_imu_to_velo.txt is required"),
    "row missing": (replace("calib_cam_to_cam.txt", "P_rect_01", "Q"), r"needs the row 'P_rect_01: 12 numbers'"),
    "bad number": (replace("calib_cam_to_cam.txt", "P_rect_00: 50", "P_rect_00: x"), r"P_rect_00.: finite .*got 'x'"),
    "no rotation": (
        write("calib_velo_to_cam.txt", f"R: {'1 ' * 9}\nT: 0 0 0"),
        r"velo_to_cam.txt: .*must be a rotation",
    ),
    "no colon": (write("calib_velo_to_cam.txt", "hello"), r"line 1: rows 'NAME: values' are required; got 'hello'"),
    "right image missing": (
        remove(f"{DRIVE}/image_01/data/0000000001.png"),
        r"image_01/data/0000000001.png is missing",
    ),
    "time missing": (last_line_away(f"{DRIVE}/image_00/timestamps.txt"), r"needs one time per frame, 3; got 2"),
    "no times": (remove(f"{DRIVE}/image_00/timestamps.txt"), r"timestamps.txt is required"),
    "bad time": (replace(f"{DRIVE}/image_00/timestamps.txt", "09-26 ", "13-26 "), r"line 1: a time as .* is required"),
    "times stand still": (replace(f"{DRIVE}/image_00/timestamps.txt", ".164", ".064"), r"times must increase"),
    "oxts missing": (remove(OXTS), r"needs one file per frame, 3; got 2"),
    "oxts cut off": (write(OXTS, "49.0 8.0 110.0"), r"0000000001.txt: 30 numbers are required; got 3"),
    "oxts is empty": (write(OXTS, ""), r"0000000001.txt needs one line of 30 numbers; got 0 lines"),
    "oxts is no place": (write(OXTS, "95 " + "0 " * 29), r"latitude, longitude .* are required; got \[95"),
    "no image": (write(f"{DRIVE}/image_00/data/0000000002.png", "hello"), r"0000000002.png: a PNG image is required"),
}
CAM0, CAM1, GT = "mav0/cam0", "mav0/cam1", "mav0/state_groundtruth_estimate0/data.csv"
BROKEN_EUROC: dict[str, tuple[Change, str]] = {
    "no list": (remove(f"{CAM0}/data.csv"), r"cam0/data.csv is required .*but is not there"),
    "empty list": (write(f"{CAM0}/data.csv", "#timestamp [ns],filename\n"), r"names no image"),
    "image missing": (remove(f"{CAM1}/data/{trees.FIRST_STAMP_NS}.png"), r"line 2: the image .* is missing"),
    "no file name": (write(f"{CAM0}/data.csv", "123"), r"line 1: 'stamp in ns,file name' is required; got '123'"),
    "leaves the folder": (write(f"{CAM0}/data.csv", "123,../x.png"), r"'stamp in ns,file name' is required"),
    "stamp is a word": (
        replace(f"{CAM0}/data.csv", f"{trees.FIRST_STAMP_NS},", "now,"),
        r"whole nanoseconds .*got 'now'",
    ),
    "no calibration": (remove(f"{CAM1}/sensor.yaml"), r"sensor.yaml, the camera's calibration, cannot be read"),
    "nested": (replace(f"{CAM0}/sensor.yaml", "[50.0", "[[50.0]"), r"intrinsics with 4 numbers is required"),
    "no YAML": (write(f"{CAM0}/sensor.yaml", "a: [1"), r"no YAML file"),
    "empty calibration": (write(f"{CAM0}/sensor.yaml", ""), r"calibration of a camera is required"),
    "no intrinsics": (replace(f"{CAM0}/sensor.yaml", "intrinsics", "x"), r"intrinsics with 4 numbers is required"),
    "three intrinsics": (replace(f"{CAM0}/sensor.yaml", "[50.0, ", "["), r"intrinsics: 4 numbers are required; got 3"),
    "bad number": (replace(f"{CAM0}/sensor.yaml", "[50.0", "[.nan"), r"intrinsics: finite numbers .*got 'nan'"),
    "negative focal length": (replace(f"{CAM0}/sensor.yaml", "[50.0", "[-50.0"), r"focal lengths fx, fy > 0"),
    "omni": (replace(f"{CAM0}/sensor.yaml", "pinhole", "omni"), r"camera_model must be pinhole"),
    "other lens": (
        replace(f"{CAM0}/sensor.yaml", "radial-tangential", "fov"),
        r"distortion_model must be one of radial-tangential",
    ),
    "other size": (replace(f"{CAM0}/sensor.yaml", "[32,", "[64,"), r"resolution must be that of the images, 32x24"),
    "no extrinsics": (replace(f"{CAM0}/sensor.yaml", "T_BS", "T"), r"data with 16 numbers is required"),
    "swapped": (lambda folder: swap(folder / CAM0, folder / CAM1), r"are left and right swapped"),
    "short truth": (write(GT, "1403636579763555584,1,2,3"), r"line 1: a stamp and at least 7 numbers .*; got 3"),
    "truth is a word": (write(GT, "1403636579763555584,1,2,x,1,0,0,0"), r"finite numbers are required; got 'x'"),
    "truth of another day": (write(GT, "1,0,0,0,1,0,0,0\n2,0,0,0,1,0,0,0"), r"no image lies within the time"),
    "truth goes back": (write(GT, "2,0,0,0,1,0,0,0\n1,0,0,0,1,0,0,0"), r"times must increase"),
    "empty truth": (write(GT, "# nothing"), r"data.csv is empty"),
}
BROKEN_TUM: dict[str, tuple[Change, str]] = {
    "image missing": (remove("rgb/1305031102.031250.png"), r"rgb.txt line 5: the image rgb/.*031250.png is missing"),
    "depth missing": (remove("depth/1305031102.004000.png"), r"depth.txt line 4: the image depth/.* is missing"),
    "no images": (write("rgb.txt", "# nothing\n"), r"rgb.txt names no image"),
    "no file name": (write("rgb.txt", "1305031102.0"), r"'seconds file name' is required"),
    "leaves the folder": (write("rgb.txt", "1 ../x.png"), r"the file below .*; got '1 ../x.png'"),
    "time is a word": (replace("rgb.txt", "1305031102.000000 ", "now "), r"line 4: finite numbers .*got 'now'"),
    "time comes twice": (replace("rgb.txt", "\n1305031102.031250 ", "\n1305031102.0 "), r"comes a second time"),
    "times go back": (replace("rgb.txt", "\n1305031102.031250 ", "\n1305031101.0 "), r"times must increase"),
    "no calibration": (remove("calibration.txt"), r"needs calibration.txt with 'fx fy cx cy'"),
    "calibration cut off": (write("calibration.txt", "50 50 15.5"), r"one line 'fx fy cx cy' is required"),
    "calibration is a word": (write("calibration.txt", "50 50 15.5 cy"), r"finite numbers are required; got 'cy'"),
    "no focal length": (write("calibration.txt", "0 50 15.5 11.5"), r"focal lengths fx, fy > 0"),
    "telescope": (write("calibration.txt", "5000 5000 15.5 11.5 0.1 0 0 0"), r"must share a view of 6 to 157 degrees"),
    "short truth": (write("groundtruth.txt", "1305031102.0 1 2 3"), r"line 1: 7 numbers are required; got 3"),
    "no quaternion": (write("groundtruth.txt", "1305031102 0 0 0 0 0 0 0"), r"a quaternion of length 1"),
    "empty truth": (write("groundtruth.txt", ""), r"groundtruth.txt is empty"),
}


def swap(first: Path, second: Path) -> None:
    first.rename(first.with_name("other"))
    second.rename(first)
    first.with_name("other").rename(second)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_sequence(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BROKEN_RAW)
def test_broken_kitti_raw_gives_one_clear_line(tmp_path: Path, name: str) -> None:
    drive_folder = trees.kitti_raw(tmp_path / "2011_09_26", drive())
    spoil, message = BROKEN_RAW[name]
    spoil(drive_folder.parent)
    refused(drive_folder, message)


@pytest.mark.parametrize("name", BROKEN_EUROC)
def test_broken_euroc_gives_one_clear_line(tmp_path: Path, name: str) -> None:
    truth = [(ns, flight(ns)) for ns in range(0, 200_000_000, 50_000_000)]
    bodies = [T_BODY_LEFT, T_BODY_LEFT @ T_LEFT_RIGHT]
    folder = trees.euroc(tmp_path / "V1_01", bodies, truth=truth)
    assert len(open_sequence(str(folder))) == 4
    spoil, message = BROKEN_EUROC[name]
    spoil(folder)
    refused(folder, message)


@pytest.mark.parametrize("name", BROKEN_TUM)
def test_broken_tum_gives_one_clear_line(tmp_path: Path, name: str) -> None:
    truth = [(n / 32, flight(n)) for n in range(4)]
    folder = trees.tum(tmp_path / "office", truth=truth)
    spoil, message = BROKEN_TUM[name]
    spoil(folder)
    refused(folder, message)


def test_damaged_depth_is_found_when_the_frame_is_asked_for(tmp_path: Path) -> None:
    folder = trees.tum(tmp_path / "office")
    path = folder / "depth" / "1305031102.004000.png"
    path.write_bytes(path.read_bytes()[:-20])
    sequence = open_sequence(str(folder))
    with pytest.raises(DataError, match="cut off"):
        sequence.frame(0)
    trees.write_png(path, np.zeros((24, 32), np.uint8))
    with pytest.raises(DataError, match="a grey PNG of 16 bits is required"):
        sequence.frame(0)


def test_kitti_raw_that_is_not_synchronised_is_refused(tmp_path: Path) -> None:
    folder = trees.kitti_raw(tmp_path / "2011_09_26", drive())
    refused(folder.rename(folder.with_name("2011_09_26_drive_0001_extract")), "not synchronised and not rectified")


@fuzz(60)
@given(
    st.sampled_from([("tum", "rgb.txt"), ("tum", "groundtruth.txt"), ("tum", "calibration.txt")])
    | st.sampled_from([("euroc", "mav0/cam0/sensor.yaml"), ("euroc", "mav0/cam0/data.csv"), ("euroc", GT)])
    | st.sampled_from([("raw", "calib_cam_to_cam.txt"), ("raw", OXTS), ("raw", f"{DRIVE}/image_00/timestamps.txt")]),
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from(["0", "1", "-1", "1e99", "nan", ",", ":", "[", "]", "R", "T", "intrinsics", "\n", "#", "{"]),
        max_size=50,
    ).map(lambda tokens: " ".join(tokens).encode()),
)
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, str], content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "2011_09_26"
    if place[0] == "tum":
        trees.tum(folder, frames=2, truth=[(0.0, np.eye(4)), (1.0, np.eye(4))])
    elif place[0] == "euroc":
        trees.euroc(folder, [T_BODY_LEFT], 2, truth=[(0, np.eye(4))])
    else:
        trees.kitti_raw(folder, drive()[:2], cameras=("00",))
    (folder / place[1]).write_bytes(content)
    try:
        sequence: Sequence = open_sequence(str(folder))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(sequence) >= 1
        assert sequence.truth is None or np.all(np.isfinite(sequence.truth))
