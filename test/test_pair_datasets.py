"""Data sets of image pairs: small trees of the real layouts, and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pair_trees as trees
import pytest
from pair_trees import HOMOGRAPHIES, SIZE, K

from subpx_ros.datasets.pairs import LAYOUTS, open_pairs
from subpx_ros.datasets.pairs.homographies import OVERSIZED
from subpx_ros.datasets.pairs.pair import ImagePair, View
from subpx_ros.datatypes import Camera
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.geometry import homogeneous


def cameras(pair: ImagePair) -> tuple[Camera, Camera]:
    camera0, camera1 = pair.view0.camera, pair.view1.camera
    assert camera0 is not None
    assert camera1 is not None
    return camera0, camera1


def motion(pair: ImagePair) -> Any:
    assert pair.T_1_0 is not None
    return pair.T_1_0


def check_posed(pair: ImagePair, first: int, second: int) -> None:
    """The pair is that of the tree: pixels, intrinsics and motion."""
    assert np.abs(pair.view0.image.astype(float) - trees.view(first)).mean() < 5.0
    assert np.abs(pair.view1.image.astype(float) - trees.view(second)).mean() < 5.0
    for camera in cameras(pair):
        assert np.allclose(camera.matrix, K)
        assert (camera.width, camera.height) == SIZE
    assert np.allclose(motion(pair), trees.motion(first, second), atol=1e-6)
    assert pair.H_1_0 is None


@pytest.mark.parametrize("make", [trees.pair_list, trees.megadepth1500, trees.scannet1500])
def test_posed_layouts_are_recognised_and_read(make: Callable[[Path], Path], tmp_path: Path) -> None:
    pairs = open_pairs(str(make(tmp_path)))
    assert len(pairs) == 2
    check_posed(pairs.pair(0), 0, 1)
    check_posed(pairs.pair(1), 1, 2)
    assert pairs.pair(1).name == pairs.source(1).name
    assert pairs.pair(0).view1.name == pairs.pair(1).view0.name, "one name for one image, as features are kept by it"


def test_groups_are_scenes(tmp_path: Path) -> None:
    assert open_pairs(str(trees.pair_list(tmp_path / "a"))).pair(0).group == "scene0"
    assert open_pairs(str(trees.megadepth1500(tmp_path / "b"))).pair(0).group == "0015"


@pytest.mark.parametrize("kind", ["T", "superglue", "H"])
def test_lists_come_in_several_kinds(kind: str, tmp_path: Path) -> None:
    trees.pair_list(tmp_path)
    matrices = f"{trees.row(K)} {trees.row(K)} {trees.row(trees.motion(0, 1))}"
    lines = {"T": matrices, "superglue": f"0 0 {matrices}", "H": trees.row(2.0 * HOMOGRAPHIES[2])}
    path = tmp_path / "images/mine.txt"
    path.write_text(f"scene0/0.png scene1/1.png {lines[kind]}\n")
    pair = open_pairs(str(path)).pair(0)
    if kind == "H":
        assert pair.H_1_0 is not None
        assert np.allclose(pair.H_1_0, HOMOGRAPHIES[2])
        assert pair.view0.camera is None
    else:
        check_posed(pair, 0, 1)


def test_scannet_with_given_motions_and_colour_intrinsics(tmp_path: Path) -> None:
    motions = np.array([trees.motion(0, 1)[:3].ravel(), trees.motion(1, 2)[:3].ravel()])
    trees.scannet1500(tmp_path, rel_pose=motions)
    (tmp_path / "intrinsics.npz").unlink()
    (tmp_path / "test").rename(tmp_path / "scans_test")
    intrinsic = tmp_path / "scans_test/scene0707_00/intrinsic"
    intrinsic.mkdir()
    wide = np.eye(4)
    wide[:3, :3] = K
    (intrinsic / "intrinsic_color.txt").write_text("\n".join(trees.row(line) for line in wide))
    for pose in (tmp_path / "scans_test/scene0707_00/pose").iterdir():
        pose.unlink()
    check_posed(open_pairs(str(tmp_path)).pair(1), 1, 2)


def test_megadepth_may_name_its_scene_files(tmp_path: Path) -> None:
    trees.megadepth1500(tmp_path)
    (tmp_path / "scene_info").mkdir()
    for name in ("0015_0.1_0.3.npz", "0015_0.3_0.5.npz"):
        (tmp_path / name).rename(tmp_path / "scene_info" / name)
    (tmp_path / "scene_info/megadepth_test_1500.txt").write_text("0015_0.3_0.5\n")
    pairs = open_pairs(str(tmp_path))
    assert len(pairs) == 1
    check_posed(pairs.pair(0), 1, 2)


def test_hpatches_are_recognised_and_read(tmp_path: Path) -> None:
    pairs = open_pairs(str(trees.hpatches(tmp_path, ("i_one", "v_two", min(OVERSIZED)))))
    assert len(pairs) == 10, "the oversized sequence is left out"
    pair = pairs.pair(7)
    assert (pair.name, pair.group) == ("v_two/1 v_two/4", "viewpoint")
    assert pair.H_1_0 is not None
    assert np.allclose(pair.H_1_0, HOMOGRAPHIES[4])
    assert pairs.pair(0).group == "illumination"


def test_oxford_sequences_alone_or_in_a_folder(tmp_path: Path) -> None:
    trees.oxford(tmp_path)
    for data in (tmp_path, tmp_path / "graf"):
        pairs = open_pairs(str(data))
        assert len(pairs) == 5
        assert pairs.pair(4).name == "graf/img1 graf/img6"
        assert np.allclose(pairs.pair(4).H_1_0, HOMOGRAPHIES[6])  # type: ignore[arg-type]


def test_recordings_give_frames_with_a_gap(kitti_tree: Callable[..., Path]) -> None:
    pairs = open_pairs(str(kitti_tree(frames=5)), gap=2)
    assert [pairs.source(index).name for index in range(len(pairs))] == [
        "000000 000002",
        "000001 000003",
        "000002 000004",
    ]
    T_1_0 = motion(pairs.pair(1))
    assert np.allclose(T_1_0[:3, 3], [-1.0, 0.0, -2.0])
    assert cameras(pairs.pair(0))[0].fx == 50.0


def test_a_recording_that_stands_still_has_no_pairs(kitti_tree: Callable[..., Path]) -> None:
    folder = kitti_tree(frames=3)
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    with pytest.raises(DataError, match="no pairs"):
        open_pairs(str(folder), gap=1)


def test_reduced_pairs_keep_their_geometry(tmp_path: Path) -> None:
    pair = open_pairs(str(trees.hpatches(tmp_path))).pair(0)
    small = pair.reduced(160)
    assert small.view0.image.shape == (120, 160)
    point = np.array([[100.0, 60.0]])
    mapped = homogeneous(point) @ HOMOGRAPHIES[2].T
    halved = homogeneous((point + 0.5) / 2.0 - 0.5) @ small.H_1_0.T  # type: ignore[union-attr]
    assert np.allclose(halved[:, :2] / halved[:, 2:], (mapped[:, :2] / mapped[:, 2:] + 0.5) / 2.0 - 0.5)
    assert pair.reduced(0).view0 is pair.view0
    assert pair.reduced(320).view0 is pair.view0


def test_reduced_views_keep_camera_and_distortion() -> None:
    camera = Camera(300.0, 300.0, 160.0, 120.0, *SIZE)
    view = View("a", np.zeros(SIZE[::-1], dtype=np.uint8), camera, (-0.1, 0.01))
    small = view.reduced(80)
    assert small.camera == camera.resized(80, 60)
    whole = view.undistort(np.array([[10.0, 20.0]]))
    assert np.allclose(small.undistort(np.array([[10.5, 20.5]]) / 4.0 - 0.5), (whole + 0.5) / 4.0 - 0.5)
    assert not np.allclose(whole, [[10.0, 20.0]])


def scan(folder: Path) -> Path:
    return folder / "test/scene0707_00"


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    ("make", "damage", "what"),
    [
        (
            trees.pair_list,
            lambda f: append(f / "pairs_calibrated.txt", "scene0/0.png"),
            "line 4: two images and 9, 30, 34",
        ),
        (trees.pair_list, lambda f: append(f / "pairs_calibrated.txt", "a b" + " 1" * 29), "got 29 numbers"),
        (trees.pair_list, lambda f: append(f / "pairs_calibrated.txt", "a b" + " nan" * 30), "finite numbers"),
        (
            trees.pair_list,
            lambda f: append(f / "pairs_calibrated.txt", "a b" + " 1" * 9),
            "homography that can be inverted",
        ),
        (trees.pair_list, lambda f: append(f / "pairs_calibrated.txt", "a b 1 0" + " 1" * 34), "upright"),
        (trees.pair_list, lambda f: (f / "images/scene1/1.png").unlink(), "line 2: the image 'scene1/1.png'"),
        (trees.pair_list, lambda f: append(f / "pairs_calibrated.txt", f"../a b {trees.row(K)}"), "stay below"),
        (
            trees.pair_list,
            lambda f: append(f / "pairs_calibrated.txt", "scene0/0.png scene1/1.png" + " 1" * 30),
            "intrinsics must be",
        ),
        (
            trees.pair_list,
            lambda f: append(
                f / "pairs_calibrated.txt", f"scene0/0.png scene1/1.png {trees.row(K)} {trees.row(K)}" + " 1" * 12
            ),
            "must be a rotation",
        ),
        (trees.pair_list, lambda f: (f / "pairs_calibrated.txt").write_text("# none\n"), "has no pairs"),
        (trees.pair_list, lambda f: (f / "images/scene0/0.png").write_bytes(b"\x89PNG\r\n\x1a\n"), "PNG"),
        (trees.megadepth1500, lambda f: (f / "Undistorted_SfM/0015/images/1.jpg").unlink(), "images/1.jpg is not in"),
        (trees.megadepth1500, lambda f: (f / "0015_0.3_0.5.npz").write_bytes(b"PK"), "no scene_info npz"),
        (trees.megadepth1500, lambda f: np.savez(f / "0015_0.3_0.5.npz", a=1), "image_paths"),
        (
            trees.megadepth1500,
            lambda f: (f / "megadepth_test_1500.txt").write_text("0015_0.1_0.3\n0022_0.1_0.3\n"),
            "0022_0.1_0.3",
        ),
        (trees.scannet1500, lambda f: np.savez(f / "test.npz", name=np.zeros((2, 3), int)), "'name'"),
        (trees.scannet1500, lambda f: np.savez(f / "test.npz", name=np.zeros((2, 4))), "whole numbers"),
        (
            trees.scannet1500,
            lambda f: trees.scannet1500(f, rel_pose=np.zeros((1, 12))),
            "12 numbers per pair",
        ),
        (
            trees.scannet1500,
            lambda f: trees.scannet1500(f, rel_pose=np.full((2, 12), np.nan)),
            "must be a rotation",
        ),
        (trees.scannet1500, lambda f: (scan(f) / "color/15.jpg").unlink(), "is required by test.npz"),
        (trees.scannet1500, lambda f: (scan(f) / "pose/15.txt").unlink(), "cannot read"),
        (trees.scannet1500, lambda f: (scan(f) / "pose/15.txt").write_text("1 0 0 0\n"), "4 rows of 4"),
        (
            trees.scannet1500,
            lambda f: (scan(f) / "pose/15.txt").write_text("-inf -inf -inf -inf\n" * 4),
            "finite numbers",
        ),
        (trees.scannet1500, lambda f: np.savez(f / "intrinsics.npz", scene0708_00=K), "9 finite numbers"),
        (trees.scannet1500, lambda f: (f / "intrinsics.npz").unlink(), "intrinsic_color.txt"),
        (trees.scannet1500, lambda f: scan(f).rename(f / "elsewhere"), "needs the folder scene0707_00"),
        (trees.hpatches, lambda f: (f / "v_two/3.ppm").unlink(), "needs the image 3"),
        (trees.hpatches, lambda f: (f / "v_two/H_1_5").unlink(), "cannot read"),
        (trees.hpatches, lambda f: (f / "i_one/H_1_2").write_text("1 0 0\n0 1 0\n"), "3 rows of 3"),
        (trees.hpatches, lambda f: (f / "i_one/H_1_2").write_text("1 0 0\n0 1\n0 0 1\n"), "3 numbers are required"),
        (trees.hpatches, lambda f: (f / "i_one/H_1_2").write_text("1 0 0\n0 x 0\n0 0 1\n"), "finite numbers"),
        (trees.hpatches, lambda f: (f / "i_one/H_1_2").write_text("1 0 0\n2 0 0\n0 0 1\n"), "can be inverted"),
        (
            trees.hpatches,
            lambda f: (f / "i_one/2.ppm").write_bytes(b"P6\n1"),
            r"a PNG or JPEG image is required.*got 4 bytes",
        ),
        (trees.oxford, lambda f: (f / "graf/img6.ppm").unlink(), "needs the image img6"),
        (trees.oxford, lambda f: (f / "graf/H1to4p").unlink(), "cannot read"),
    ],
)
def test_broken_trees_are_refused(
    make: Callable[..., Path], damage: Callable[[Path], Any], what: str, tmp_path: Path
) -> None:
    data = make(tmp_path)
    damage(data)
    with pytest.raises(DataError, match=what):
        pairs = open_pairs(str(data))
        for index in range(len(pairs)):
            pairs.pair(index)


def test_recordings_without_truth_or_frames_are_refused(kitti_tree: Callable[..., Path]) -> None:
    folder = kitti_tree(frames=3)
    with pytest.raises(DataError, match="smaller --gap"):
        open_pairs(str(folder), gap=3)
    (folder / "poses.txt").unlink()
    with pytest.raises(DataError, match="no true poses"):
        open_pairs(str(folder), gap=1)


def test_colmap_images_must_have_their_cameras_size(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(2):
        assert cv2.imwrite(str(tmp_path / f"images/{index}.png"), np.zeros((60, 80), dtype=np.uint8))
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 81 60 50 50 40 30\n")
    rows = [f"{index + 1} 1 0 0 0 {index} 0 0 1 {index}.png\n\n" for index in range(2)]
    (tmp_path / "images.txt").write_text("".join(rows))
    with pytest.raises(DataError, match=r"0\.png has 80x60 px, its camera in the model 81x60"):
        open_pairs(str(tmp_path)).pair(0)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "sequence"])
def test_an_empty_folder_is_of_no_layout(layout: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need"):
        open_pairs(str(tmp_path), layout)
    with pytest.raises(DataError, match="a source must be"):
        open_pairs(str(tmp_path))


def test_unknown_layouts_and_no_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'hpatches'"):
        open_pairs(str(tmp_path), "hpatch")
    with pytest.raises(DataError, match="--data"):
        open_pairs("")


def test_the_photographs_at_hand(shared_data: Callable[[str], Path]) -> None:
    pairs = open_pairs(str(shared_data("pairs_lund_door12")))
    assert len(pairs) == 66
    pair = pairs.pair(0)
    assert pair.view0.image.shape == (1936, 1296)
    assert pair.view0.radial != (0.0, 0.0)


def test_the_homographies_at_hand(shared_data: Callable[[str], Path]) -> None:
    pairs = open_pairs(str(shared_data("homography_oxford_graf")))
    assert len(pairs) == 5
    pair = pairs.pair(0)
    assert pair.H_1_0 is not None
    warped = cv2.warpPerspective(pair.view0.image, pair.H_1_0, SIZE_OF_GRAF).astype(float)
    seen = cv2.warpPerspective(np.ones(SIZE_OF_GRAF[::-1]), pair.H_1_0, SIZE_OF_GRAF) > 0.99
    likeness = np.corrcoef(warped[seen], pair.view1.image[seen].astype(float))[0, 1]
    assert likeness > 0.7, "H maps the first image onto the second, not back"


SIZE_OF_GRAF = (800, 640)
