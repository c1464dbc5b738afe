"""One pair of images: exact geometry from rendered and warped views, real pairs, and the file that is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.config import PoseConfig, load_config
from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Camera, PoseStatus, Rig
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.geometry import angle_between, invert, rotation_angle, rotation_from_vector
from subpx_ros.pipeline import FrontEnd
from subpx_ros.two_view import TwoView, match_images, parse_cameras

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Intrinsics = tuple[float, float, float, float]

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
SHAPES = {"keypoints0": 2, "keypoints1": 2, "refined0": 2, "refined1": 2, "scores": 1, "inliers": 1}


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd(load_config({"preset": "sift", "device": "cpu", "refiner": "none"}))


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0), frames=2, rig=Rig(CAMERA))


@pytest.fixture(scope="module")
def pair(street: StreetSequence) -> tuple[Image, Image]:
    return street.frame(0).image, street.frame(1).image


def match(
    front_end: FrontEnd, images: tuple[Image, Image], cameras: tuple[Camera, Camera] = (CAMERA, CAMERA)
) -> TwoView:
    return match_images(front_end, images, cameras, PoseConfig())


def saved(result: TwoView, folder: Path) -> dict[str, NDArray[np.generic]]:
    """What the file holds, after a look at shapes and types."""
    result.save(folder / "pair.npz")
    assert [path.name for path in folder.iterdir()] == ["pair.npz"]
    arrays = dict(np.load(folder / "pair.npz"))
    assert set(arrays) == {*SHAPES, "R", "t", "status", "reason"}
    count = len(result.matches)
    for name, dimensions in SHAPES.items():
        assert arrays[name].shape == ((count, 2) if dimensions == 2 else (count,))
        assert np.all(np.isfinite(arrays[name]))
    assert arrays["R"].shape == (3, 3) and arrays["t"].shape == (3,)
    assert arrays["inliers"].dtype == np.bool_ and arrays["scores"].dtype == np.float32
    return arrays


def test_rotation_and_translation_map_the_first_camera_into_the_second(
    front_end: FrontEnd, street: StreetSequence, pair: tuple[Image, Image], tmp_path: Path
) -> None:
    arrays = saved(match(front_end, pair), tmp_path)
    assert arrays["status"] == "OK" and arrays["reason"] == ""
    T_1_0 = invert(street.poses[1]) @ street.poses[0]
    assert np.rad2deg(rotation_angle(np.asarray(arrays["R"]).T @ T_1_0[:3, :3])) < 0.3
    assert np.rad2deg(angle_between(np.asarray(arrays["t"]), T_1_0[:3, 3])) < 4.0
    assert np.linalg.norm(arrays["t"]) == pytest.approx(1.0, abs=1e-9)
    # The car drives forward: points come nearer, so that t points backward.
    assert arrays["t"][2] < -0.9


def test_inliers_of_a_rendered_pair_are_its_true_correspondences(
    front_end: FrontEnd, street: StreetSequence, pair: tuple[Image, Image]
) -> None:
    from subpx_ros.datasets.street import correspondences

    found = match(front_end, pair)
    truth = correspondences(street.view(0), street.view(1), found.matches.refined0)
    error = np.linalg.norm(truth.pixels - found.matches.refined1, axis=1)
    kept = found.pose.inliers & truth.visible
    assert np.count_nonzero(kept) > 50
    assert np.median(error[kept]) < 0.5


def test_a_turned_view_of_a_plane_matches_where_the_homography_says(
    front_end: FrontEnd, pair: tuple[Image, Image]
) -> None:
    """A camera that turns on the spot sees x1 = K R K^-1 x0: no parallax, and matches of known places."""
    rotation = rotation_from_vector(np.array([0.02, -0.05, 0.03]))
    homography = CAMERA.matrix @ rotation @ np.linalg.inv(CAMERA.matrix)
    turned = cv2.warpPerspective(pair[0], homography, (320, 160), flags=cv2.INTER_CUBIC)
    found = match(front_end, (pair[0], np.asarray(turned, dtype=np.uint8)))
    expected = cv2.perspectiveTransform(found.matches.refined0[None], homography)[0]
    error = np.linalg.norm(expected - found.matches.refined1, axis=1)
    assert len(error) > 100 and np.median(error) < 0.3
    assert found.pose.status is PoseStatus.DEGENERATE


def test_views_of_two_sizes_and_two_cameras(
    front_end: FrontEnd, street: StreetSequence, pair: tuple[Image, Image]
) -> None:
    cropped = Camera(CAMERA.fx, CAMERA.fy, CAMERA.cx - 20.0, CAMERA.cy - 10.0, 280, 140)
    second = np.ascontiguousarray(pair[1][10:150, 20:300])
    found = match(front_end, (pair[0], second), (CAMERA, cropped))
    T_0_1 = found.pose.T_reference_current
    assert T_0_1 is not None
    truth = invert(street.poses[0]) @ street.poses[1]
    assert np.rad2deg(rotation_angle(T_0_1[:3, :3].T @ truth[:3, :3])) < 0.3
    assert np.rad2deg(angle_between(T_0_1[:3, 3], truth[:3, 3])) < 4.0


@pytest.mark.parametrize(
    ("dark", "status"), [((True, False), "FEW_MATCHES"), ((False, True), "FEW_MATCHES"), ((True, True), "FEW_MATCHES")]
)
def test_black_images_are_a_named_failure(
    dark: tuple[bool, bool], status: str, front_end: FrontEnd, pair: tuple[Image, Image], tmp_path: Path
) -> None:
    first, second = (np.zeros_like(image) if is_dark else image for image, is_dark in zip(pair, dark, strict=True))
    arrays = saved(match(front_end, (first, second)), tmp_path)
    assert arrays["status"] == status and str(arrays["reason"])
    assert not arrays["R"].any() and not arrays["t"].any()
    assert len(arrays["scores"]) == 0


def test_identical_images_are_degenerate(front_end: FrontEnd, pair: tuple[Image, Image], tmp_path: Path) -> None:
    arrays = saved(match(front_end, (pair[0], pair[0])), tmp_path)
    assert arrays["status"] == "DEGENERATE" and "parallax" in str(arrays["reason"])
    assert len(arrays["scores"]) > 100
    assert np.array_equal(arrays["refined0"], arrays["refined1"])
    assert not arrays["R"].any() and not arrays["t"].any() and not arrays["inliers"].any()


def test_noise_against_noise_is_a_named_failure(front_end: FrontEnd) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (160, 320), dtype=np.uint8) for _ in range(2))
    found = match(front_end, (first, second))
    assert found.pose.status in (PoseStatus.FEW_MATCHES, PoseStatus.FEW_INLIERS)


def test_a_real_pair_agrees_with_its_homography(front_end: FrontEnd, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("homography_oxford_graf")
    first, second = (cv2.imread(str(folder / f"img{number}.png"), cv2.IMREAD_GRAYSCALE) for number in (1, 2))
    assert first is not None and second is not None
    images = np.asarray(first, dtype=np.uint8), np.asarray(second, dtype=np.uint8)
    found = match(front_end, images, parse_cameras(None, images))
    homography = np.loadtxt(folder / "H1to2p")
    expected = cv2.perspectiveTransform(found.matches.refined0[None], homography)[0]
    error = np.linalg.norm(expected - found.matches.refined1, axis=1)
    assert np.count_nonzero(error < 3.0) > 300
    assert np.mean(error < 3.0) > 0.7


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("100,110,50,40", (100, 110, 50, 40), (100, 110, 50, 40)),
        ("100,110,50,40,200,210,60,30", (100, 110, 50, 40), (200, 210, 60, 30)),
        (" 1e2, 110 ,50,40", (100, 110, 50, 40), (100, 110, 50, 40)),
    ],
)
def test_cameras_from_text(text: str, first: Intrinsics, second: Intrinsics) -> None:
    images = np.zeros((80, 100), np.uint8), np.zeros((60, 120), np.uint8)
    assert parse_cameras(text, images) == (Camera(*first, 100, 80), Camera(*second, 120, 60))


def test_without_text_a_camera_is_assumed_for_each_image() -> None:
    first, second = parse_cameras(None, (np.zeros((80, 100), np.uint8), np.zeros((200, 50), np.uint8)))
    assert (first.fx, first.cx, first.cy) == (120.0, 49.5, 39.5)
    assert (second.fx, second.cx, second.cy) == (240.0, 24.5, 99.5)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ConfigError),
        ("1,2,3", ConfigError),
        ("1,2,3,4,5", ConfigError),
        ("a,b,c,d", ConfigError),
        ("1;2;3;4", ConfigError),
        ("0,1,2,3", DataError),
        ("-5,1,2,3", DataError),
        ("nan,1,2,3", DataError),
        ("1,1,inf,3", DataError),
    ],
)
def test_texts_that_are_no_camera_are_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"--camera takes fx,fy,cx,cy|finite intrinsics"):
        parse_cameras(text, (np.zeros((8, 10), np.uint8), np.zeros((8, 10), np.uint8)))


def test_a_result_is_written_whole_or_not_at_all(
    front_end: FrontEnd, pair: tuple[Image, Image], tmp_path: Path
) -> None:
    found = match(front_end, (pair[0], pair[0]))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="cannot write"):
        found.save(tmp_path / "folder.npz")
    with pytest.raises(DataError, match="cannot write"):
        found.save(tmp_path / "absent" / "pair.npz")
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.npz"]
