"""Sources of pairs: warps with exact ground truth, RGB-D, KITTI and MegaDepth trees, whole and broken."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.datasets.scene_info import read_scene_arrays
from subpx_ros.errors import DataError
from subpx_ros.geometry import sampson_distance
from subpx_ros.training.config import (
    DataConfig,
    KittiSourceConfig,
    MegaDepthSourceConfig,
    RgbdSourceConfig,
    WarpsSourceConfig,
)
from subpx_ros.training.pairs import transfer
from subpx_ros.training.sources import create_source
from subpx_ros.training.sources.photographs import HELD_BACK, TRAINING
from subpx_ros.training.sources.photometry import motion_kernel
from subpx_ros.training.sources.warps import render_plane

CLEAN: dict[str, Any] = {
    "max_noise": 0.0, "max_gain": 0.0, "max_gamma": 1.0, "max_blur_px": 0.0, "max_motion_blur_px": 0.0,
    "min_jpeg_quality": 100,
}  # fmt: skip


def blob_centre(image: NDArray[Any]) -> tuple[float, float]:
    """Centre of gravity (x, y) of what is brighter than the ground."""
    weights = image.astype(np.float64) - np.median(image)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return float((weights * x).sum() / weights.sum()), float((weights * y).sum() / weights.sum())


def blob(x: float, y: float, size: tuple[int, int] = (200, 200)) -> NDArray[np.float32]:
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2)).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 0.75, 1.6, 2.0])
def test_rendering_keeps_pixel_centres_at_every_scale(scale: float) -> None:
    photograph = blob(100.3, 90.7)
    shift = np.array([[scale, 0.0, 31.4], [0.0, scale, 27.9], [0.0, 0.0, 1.0]])
    view = render_plane(photograph, shift, 120, 120)
    expected = (np.array([100.3, 90.7]) - [31.4, 27.9]) / scale
    assert np.allclose(blob_centre(view), expected, atol=0.01)


def test_doubled_pixels_are_means_of_four() -> None:
    """The centre of a pixel twice as wide lies between the centres of the small ones, half a pixel off."""
    ramp = np.tile(np.linspace(0.0, 1.0, 64, dtype=np.float32), (64, 1))
    double = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]])
    view = render_plane(ramp, double, 32, 32)
    assert np.abs(view[4:-4, 4:-4] - ramp.reshape(32, 2, 32, 2).mean(axis=(1, 3))[4:-4, 4:-4]).max() < 1e-4


def test_warped_blobs_lie_where_the_ground_truth_says(tmp_path: Path) -> None:
    image = np.rint(20 + 200 * blob(260.0, 190.0, (400, 520))).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "blob.png"), image)
    config = WarpsSourceConfig(
        pairs=6, folder=str(tmp_path), width=320, height=240, max_shift=0.05, max_tilt_deg=10, **CLEAN
    )
    source = create_source(DataConfig(warps=config))
    for index in range(6):
        made = source.pair(index)
        centre0, centre1 = blob_centre(made.image0), blob_centre(made.image1)
        moved, valid = transfer(made, np.array([centre0]))
        assert valid.all()
        # Perspective moves a centre of gravity by some hundredths of a pixel; half a pixel would show.
        assert np.linalg.norm(moved[0] - centre1) < 0.08


def test_pose_and_homography_of_a_warp_agree() -> None:
    source = create_source(DataConfig(warps=WarpsSourceConfig(pairs=3)))
    for index in range(3):
        made = source.pair(index)
        pixels0 = np.random.default_rng(0).uniform(0, 300, (100, 2))
        pixels1, valid = transfer(made, pixels0)
        assert made.essential is not None
        rays = made.camera0.normalise(pixels0[valid]), made.camera1.normalise(pixels1[valid])
        assert np.abs(sampson_distance(made.essential, *rays)).max() < 1e-9


def test_the_faults_of_images_do_not_move_them(tmp_path: Path) -> None:
    image = np.rint(20 + 200 * blob(260.0, 190.0, (400, 520))).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "blob.png"), image)
    folder: dict[str, Any] = {"pairs": 4, "folder": str(tmp_path), "width": 320, "height": 240, "max_shift": 0.0}
    faults = {"max_blur_px": 2.0, "max_motion_blur_px": 8.0}
    clean = create_source(DataConfig(warps=WarpsSourceConfig(**(folder | CLEAN))))
    blurred = create_source(DataConfig(warps=WarpsSourceConfig(**(folder | CLEAN | faults))))
    for index in range(4):
        pictures = clean.pair(index).image0, blurred.pair(index).image0
        assert not np.array_equal(*pictures)
        assert np.allclose(blob_centre(pictures[0]), blob_centre(pictures[1]), atol=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 2.9])
def test_motion_blur_is_centred(angle: float) -> None:
    kernel = motion_kernel(5.3, angle)
    middle = (kernel.shape[0] - 1) / 2
    y, x = np.mgrid[0 : kernel.shape[0], 0 : kernel.shape[1]]
    assert abs(float((kernel * (x - middle)).sum())) < 1e-6
    assert abs(float((kernel * (y - middle)).sum())) < 1e-6
    assert float(kernel.sum()) == pytest.approx(1.0)


def test_pairs_are_the_same_in_any_order() -> None:
    config = DataConfig(warps=WarpsSourceConfig(pairs=3, width=96, height=64))
    first, second = create_source(config), create_source(config)
    second.pair(0)
    assert np.array_equal(first.pair(2).image1, second.pair(2).image1)
    other = create_source(DataConfig(warps=WarpsSourceConfig(pairs=3, width=96, height=64, seed=5)))
    assert not np.array_equal(first.pair(2).image1, other.pair(2).image1)


def test_held_back_photographs_are_not_trained_on() -> None:
    assert not set(TRAINING) & set(HELD_BACK)


def test_warps_need_photographs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs photographs"):
        create_source(DataConfig(warps=WarpsSourceConfig(pairs=1, folder=str(tmp_path))))
    with pytest.raises(DataError, match="is none"):
        create_source(DataConfig(warps=WarpsSourceConfig(pairs=1, folder=str(tmp_path / "absent"))))
    with pytest.raises(DataError, match="at least one source"):
        create_source(DataConfig())


def test_kitti_pairs_carry_the_motion_of_the_poses(kitti_tree: Callable[..., Path]) -> None:
    source = create_source(DataConfig(kitti=KittiSourceConfig(pairs=10, folder=str(kitti_tree()), gap=1)))
    assert len(source) == 3
    T_0_1 = source.pair(0).T_0_1
    assert T_0_1 is not None
    assert np.allclose(T_0_1[:3, 3], [0.5, 0.0, 1.0])


def test_kitti_without_poses_is_refused(kitti_tree: Callable[..., Path]) -> None:
    folder = kitti_tree()
    (folder / "poses.txt").unlink()
    with pytest.raises(DataError, match=r"no poses\.txt"):
        create_source(DataConfig(kitti=KittiSourceConfig(pairs=1, folder=str(folder))))


@pytest.fixture
def rgbd_tree(tmp_path: Path) -> Path:
    for name in ("images", "depth"):
        (tmp_path / name).mkdir()
    (tmp_path / "K.txt").write_text("50 0 19.5\n0 50 14.5\n0 0 1\n")
    rows = []
    for index in range(3):
        image = np.random.default_rng(index).integers(0, 256, (30, 40), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), image)
        assert cv2.imwrite(str(tmp_path / "depth" / f"{index}.png"), np.full((30, 40), 2000, dtype=np.uint16))
        rows.append(f"{index}.png 1 0 0 {0.2 * index} 0 1 0 0 0 0 1 0 0 0 0 1")
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    return tmp_path


def rgbd(folder: Path) -> DataConfig:
    return DataConfig(rgbd=RgbdSourceConfig(pairs=5, folder=str(folder), gap=1))


def test_rgbd_pairs_follow_depth_in_millimetres(rgbd_tree: Path) -> None:
    source = create_source(rgbd(rgbd_tree))
    assert len(source) == 2
    made = source.pair(0)
    pixels1, valid = transfer(made, np.array([[20.0, 10.0]]))
    assert np.allclose(pixels1, [[15.0, 10.0]]), "50 px * 0.2 m / 2 m"
    assert valid.all()
    assert not made.exact


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda folder: (folder / "K.txt").write_text("50 0 19.5\n"), "3 rows"),
        (lambda folder: (folder / "poses.txt").write_text("0.png 1 2 3\n"), "16 numbers"),
        (lambda folder: (folder / "poses.txt").write_text("../0.png" + " 1" * 16), "file name"),
        (
            lambda folder: (folder / "poses.txt").write_text("0.png 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"),
            "at least 2 frames",
        ),
        (lambda folder: cv2.imwrite(str(folder / "depth/0.png"), np.zeros((30, 40), np.uint8)), "16-bit"),
        (lambda folder: cv2.imwrite(str(folder / "depth/0.png"), np.zeros((20, 40), np.uint16)), "its image's size"),
        (lambda folder: (folder / "images/1.png").unlink(), "cannot read"),
    ],
)
def test_broken_rgbd_folders_are_refused(rgbd_tree: Path, damage: Callable[[Path], Any], what: str) -> None:
    damage(rgbd_tree)
    with pytest.raises(DataError, match=what):
        source = create_source(rgbd(rgbd_tree))
        for index in range(len(source)):
            source.pair(index)


def objects(items: list[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def scene() -> dict[str, Any]:
    """Three images, the second of which the reconstruction dropped, in the layout of published scene files."""
    K = np.array([[100.0, 0.0, 40.0], [0.0, 100.0, 30.0], [0.0, 0.0, 1.0]])
    T = np.eye(4)
    T[0, 3] = -0.4  # T_camera_world: the camera stands at x = 0.4
    return {
        "image_paths": objects(["Undistorted/0.jpg", None, "Undistorted/2.jpg"]),
        "depth_paths": objects(["depths/0.npz", None, "depths/2.npz"]),
        "intrinsics": objects([K, None, K]),
        "poses": objects([np.eye(4), None, T]),
        "pair_infos": objects([((0, 2), 0.5, np.ones((4, 2))), ((2, 0), 0.05, np.ones((4, 2)))]),
    }


@pytest.fixture
def megadepth_tree(tmp_path: Path) -> Path:
    for name in ("Undistorted", "depths", "scene_info"):
        (tmp_path / name).mkdir()
    for index in (0, 2):
        image = np.random.default_rng(index).integers(0, 256, (60, 80), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f"Undistorted/{index}.jpg"), image)
        np.savez(tmp_path / f"depths/{index}.npz", depth=np.full((60, 80), 4.0, dtype=np.float32))
    np.savez(tmp_path / "scene_info/0001.npz", **scene())
    return tmp_path


def megadepth(root: Path, **settings: Any) -> DataConfig:
    given: dict[str, Any] = {"pairs": 9, "root": str(root), "max_side": 80}
    return DataConfig(megadepth=MegaDepthSourceConfig(**(given | settings)))


def test_megadepth_pairs_are_read_with_depth_and_pose(megadepth_tree: Path) -> None:
    source = create_source(megadepth(megadepth_tree))
    assert len(source) == 1, "the other pair overlaps too little"
    made = source.pair(0)
    assert (made.camera0.cx, made.camera0.cy) == (39.5, 29.5), "COLMAP's pixel centres are at one half"
    pixels1, valid = transfer(made, np.array([[50.0, 20.0]]))
    assert np.allclose(pixels1, [[40.0, 20.0]]), "100 px * 0.4 / 4"
    assert valid.all()


def test_megadepth_images_are_resized_with_their_cameras(megadepth_tree: Path) -> None:
    made = create_source(megadepth(megadepth_tree, max_side=64)).pair(0)
    assert made.image0.shape == (48, 64)
    assert made.camera0.cx == pytest.approx(0.8 * 40.0 - 0.5)
    pixels1, _ = transfer(made, np.array([[0.8 * 50.5 - 0.5, 0.8 * 20.5 - 0.5]]))
    assert np.allclose(pixels1, [[0.8 * 40.5 - 0.5, 0.8 * 20.5 - 0.5]])


def test_megadepth_depth_in_hdf5(megadepth_tree: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for index in (0, 2):
        with h5py.File(megadepth_tree / f"depths/{index}.h5", "w") as file:
            file["depth"] = np.full((60, 80), 2.0, dtype=np.float32)
    arrays = scene() | {"depth_paths": objects(["depths/0.h5", None, "depths/2.h5"])}
    np.savez(megadepth_tree / "scene_info/0001.npz", **arrays)
    depth0 = create_source(megadepth(megadepth_tree)).pair(0).depth0
    assert depth0 is not None
    assert np.all(depth0 == 2.0)


def test_megadepth_overlap_matrices_are_read_too(megadepth_tree: Path) -> None:
    arrays = scene()
    del arrays["pair_infos"]
    np.savez(megadepth_tree / "scene_info/0001.npz", overlap_matrix=0.3 * np.eye(3)[[2, 1, 0]], **arrays)
    assert create_source(megadepth(megadepth_tree)).pair(0).name.endswith("image 0 to 2")


class Evil:
    """What a hostile file would have NumPy run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_pickles_in_scene_files_are_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    np.savez(tmp_path / "evil.npz", image_paths=objects([Evil(mark)]))
    with pytest.raises(DataError, match="which no array of numbers and texts needs"):
        read_scene_arrays(tmp_path / "evil.npz")
    assert not mark.exists()
    with np.load(tmp_path / "evil.npz", allow_pickle=True) as archive:
        archive["image_paths"]
    assert mark.exists(), "the file does what it is feared to do"


def test_a_bare_pickle_is_no_scene(tmp_path: Path) -> None:
    (tmp_path / "scene.npz").write_bytes(pickle.dumps({"image_paths": []}))
    with pytest.raises(DataError, match="no scene_info npz"):
        read_scene_arrays(tmp_path / "scene.npz")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"poses": None}, "'poses'"),
        ({"pair_infos": None}, "pair_infos or overlap_matrix"),
        ({"pair_infos": objects([((0, 7), 0.5)])}, "0 to 2"),
        ({"pair_infos": objects([((0, 1), 0.5)])}, "pairs must name images"),
        ({"pair_infos": objects([((0, 2), 0.9)])}, "overlap between"),
        ({"image_paths": objects(["/etc/hosts", None, "b"])}, "relative to the root"),
        ({"image_paths": objects(["../a", None, "b"])}, "relative to the root"),
        ({"intrinsics": objects([np.eye(2), None, np.eye(3)])}, "3x3"),
        ({"intrinsics": objects([np.eye(3)])}, "one entry per image"),
    ],
)
def test_broken_scenes_are_refused(megadepth_tree: Path, changes: dict[str, Any], what: str) -> None:
    arrays = {name: array for name, array in (scene() | changes).items() if array is not None}
    np.savez(megadepth_tree / "scene_info/0001.npz", **arrays)
    with pytest.raises(DataError, match=what):
        create_source(megadepth(megadepth_tree))


def test_missing_depth_is_named(megadepth_tree: Path) -> None:
    (megadepth_tree / "depths/0.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="'depth' is required"):
        create_source(megadepth(megadepth_tree)).pair(0)
