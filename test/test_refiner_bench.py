"""The refiner benchmark: its measures against values known beforehand, and a small run of the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from subpx_ros.datasets.colmap import read_model
from subpx_ros.errors import DataError
from subpx_ros.evaluation.pose_auc import area_under_curve, pose_error_deg
from subpx_ros.evaluation.refiner_bench import run_bench
from subpx_ros.evaluation.refiner_checks import EndPoints, calibration, without_smooth_offset
from subpx_ros.geometry import rotation_from_vector, se3


def test_the_area_under_the_curve_of_known_errors() -> None:
    # Recall rises to 1/2 at 2 deg and to 1 at 4 deg, in straight lines, and stays there to 5 deg.
    assert area_under_curve([4.0, 2.0], [5.0]) == pytest.approx([(0.5 * 2 * 0.5 + 2 * 0.75 + 1.0) / 5.0])
    assert area_under_curve([float("inf"), float("inf")]) == [0.0, 0.0, 0.0]
    assert area_under_curve([], [5.0]) == [0.0]


def test_the_pose_error_is_the_larger_of_two_angles() -> None:
    truth = se3(np.eye(3), np.array([1.0, 0.0, 0.0]))
    turned = se3(rotation_from_vector(np.array([0.0, np.radians(3.0), 0.0])), np.array([7.0, 0.0, 0.0]))
    assert pose_error_deg(turned, truth) == pytest.approx(3.0)
    aside = se3(np.eye(3), np.array([np.cos(0.1), np.sin(0.1), 0.0]))
    assert pose_error_deg(aside, truth) == pytest.approx(np.degrees(0.1))
    assert pose_error_deg(se3(np.eye(3), -truth[:3, 3]), truth) == pytest.approx(180.0)
    assert pose_error_deg(None, truth) == float("inf")


def test_a_true_covariance_is_called_calibrated_and_half_of_it_is_not() -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([[0.3, 0.1], [0.1, 0.2]])
    errors = rng.multivariate_normal([0.0, 0.0], covariance, 20000)
    covariances = np.broadcast_to(covariance, (20000, 2, 2))
    good, narrow = calibration(errors, covariances), calibration(errors, covariances / 2)
    assert good["percent_of_nominal_1"] == pytest.approx(100.0, abs=3.0)
    assert good["percent_of_nominal_2"] == pytest.approx(100.0, abs=1.0)
    # 1 - exp(-1/4) of a normal distribution lies inside the ellipse of half the covariance.
    assert narrow["percent_of_nominal_1"] == pytest.approx(100 * (1 - np.exp(-0.25)) / (1 - np.exp(-0.5)), abs=2.0)


def test_a_smooth_offset_is_removed_in_spite_of_wrong_matches() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 1.0, (2000, 2))
    offset = 0.35 + 0.2 * places[:, 0] - 0.3 * places[:, 1] ** 2
    noise = 0.1 * rng.standard_normal(2000)
    wrong = rng.uniform(size=2000) < 0.1
    residual = without_smooth_offset(places, offset + np.where(wrong, 1.5, noise))
    assert np.abs(residual - noise)[~wrong].max() < 0.05


def test_end_point_figures_are_relative_to_the_detected_points() -> None:
    vectors = {"detected": np.array([[3.0, 4.0], [0.0, 1.0]]), "ours": np.array([[0.0, 2.0], [0.0, 1.0]])}
    row = EndPoints(vectors, vectors, {}).row("ours")
    assert (row["mean_px"], row["ratio"], row["matches"]) == (1.5, 0.5, 2)


@pytest.fixture
def colmap_tree(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "images").mkdir(parents=True)
    (folder / "sparse").mkdir()
    (folder / "sparse" / "cameras.txt").write_text("# cameras\n1 SIMPLE_RADIAL 320 240 300 160 120 -0.1\n")
    rows = []
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 400), dtype=np.uint8), (0, 0), 1.5)
    for index in range(3):
        name = f"{index}.png"
        assert cv2.imwrite(str(folder / "images" / name), texture[:, 8 * index : 8 * index + 320])
        rows.append(f"{index + 1} 1 0 0 0 {-0.1 * index} 0 0 1 {name}\n{'1 2 -1 ' * (0 if index == 1 else 4)}\n")
    (folder / "sparse" / "images.txt").write_text("# images\n" + "".join(rows))
    return folder


def test_a_colmap_model_is_read_with_our_pixel_centres(colmap_tree: Path) -> None:
    images = read_model(colmap_tree)
    assert [image.path.name for image in images] == ["0.png", "1.png", "2.png"]
    assert (images[0].camera.cx, images[0].camera.cy) == (159.5, 119.5)
    assert np.allclose(images[2].T_world_camera[:3, 3], [0.2, 0.0, 0.0])


def test_distortion_is_undone(colmap_tree: Path) -> None:
    image = read_model(colmap_tree)[0]
    rays = np.array([[0.3, 0.2], [-0.5, 0.1], [0.0, 0.0]])
    distorted = rays * (1.0 - 0.1 * np.sum(rays**2, axis=1, keepdims=True))
    camera = image.camera
    scale, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
    assert np.allclose(image.undistort(distorted * scale + centre), rays * scale + centre, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("cameras.txt", "1 FISHEYE 320 240 300 160 120 0", "not known"),
        ("cameras.txt", "1 PINHOLE 320 240 300", "are required"),
        ("cameras.txt", "2 PINHOLE 320 240 300 300 160 120", "not in cameras.txt"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 absent.png", "is not in"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 ../0.png", "is not in"),
        ("images.txt", "1 9 0 0 0 0 0 0 1 0.png", "quaternion"),
        ("images.txt", "1 1 0 0 0 0 0 0 1 0.png", "at least 2 images"),
    ],
)
def test_broken_models_are_refused(colmap_tree: Path, name: str, text: str, what: str) -> None:
    (colmap_tree / "sparse" / name).write_text(text)
    with pytest.raises(DataError, match=what):
        read_model(colmap_tree)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="COLMAP text model"):
        read_model(tmp_path)


def test_a_small_run_measures_and_writes_everything(
    colmap_tree: Path, kitti_tree: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    kitti = kitti_tree(frames=2, size=(160, 96))
    result = run_bench(out, kitti, colmap_tree, "cpu", presets=("sift",), warps=3, street=0)
    assert json.loads((out / "refiner_bench.json").read_text()) == result
    assert {row["refiner"] for row in result["end_point"]} >= {"detected"}
    assert all(row["matches"] > 0 and row["mean_px"] < 3.0 for row in result["end_point"])
    assert result["end_point"][0]["ratio"] == 1.0
    assert {row["detector"] for row in result["pose"]} == {"sift"}
    assert all(row["pairs"] == 3 and 0.0 <= row["auc5"] <= 100.0 for row in result["pose"])
    for name in ("offsets.png", "patches_sift.png", "inliers.png"):
        assert cv2.imread(str(out / name)) is not None
    assert str(tmp_path) not in json.dumps(result)


def test_what_is_not_given_is_skipped_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_bench(tmp_path, device="cpu", presets=("sift",), warps=1, street=0)
    assert len([line for line in result["skipped"] if "--kitti" in line or "--pairs" in line]) == 2
    assert "skipped row residuals" in capsys.readouterr().err
