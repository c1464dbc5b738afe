"""Small data sets of image pairs in the layouts of the real ones, of three textured planes that SIFT can match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.geometry import rotation_from_vector, se3

SIZE = (320, 240)
K = np.array([[300.0, 0.0, 160.0], [0.0, 300.0, 120.0], [0.0, 0.0, 1.0]])
PLANES = ((10.0, 0.0), (5.0, 0.35), (2.5, 0.7))
"""Depth in metres, and the share of the height that the plane begins at: the near ones below the far ones."""


def texture(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (2 * SIZE[1], 2 * SIZE[0]), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0).astype(np.float64)
    return np.clip(128.0 + 4.0 * (blurred - 128.0), 0, 255).astype(np.uint8)


def camera_pose(index: int) -> Array:
    """T_world_camera of view `index`."""
    return se3(rotation_from_vector(np.array([0.0, 0.01 * index, 0.02 * index])), np.array([0.25, 0.05, 0.02]) * index)


def view(index: int) -> NDArray[np.uint8]:
    """What the camera at `camera_pose(index)` sees of the planes, which face the camera at pose 0."""
    inverse = np.linalg.inv(camera_pose(index))
    image = np.zeros(SIZE[::-1], dtype=np.uint8)
    for seed, (depth, begin) in enumerate(PLANES):
        H = K @ (inverse[:3, :3] + np.outer(inverse[:3, 3], [0.0, 0.0, 1.0]) / depth) @ np.linalg.inv(K)
        shift = np.array([[1.0, 0.0, -SIZE[0] / 2], [0.0, 1.0, -SIZE[1] / 2], [0.0, 0.0, 1.0]])
        seen = cv2.warpPerspective(texture(seed), H @ shift, SIZE)
        image[int(begin * SIZE[1]) :] = seen[int(begin * SIZE[1]) :]
    return image


def write_image(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # OpenCV writes coloured PPM only.
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if path.suffix == ".ppm" else image)


def row(matrix: Array) -> str:
    return " ".join(f"{value:.12g}" for value in matrix.ravel())


def motion(first: int, second: int) -> Array:
    """T_second_first."""
    result: Array = np.linalg.inv(camera_pose(second)) @ camera_pose(first)
    return result


def pair_list(folder: Path, views: int = 3) -> Path:
    """The layout of glue-factory: pairs_calibrated.txt, images in folders of scenes."""
    for index in range(views):
        write_image(folder / f"images/scene{index % 2}/{index}.png", view(index))
    lines = []
    for first in range(views - 1):
        T = motion(first, first + 1)
        names = " ".join(f"scene{index % 2}/{index}.png" for index in (first, first + 1))
        lines.append(f"{names} {row(K)} {row(K)} {row(T[:3, :3])} {row(T[:3, 3])}")
    (folder / "pairs_calibrated.txt").write_text("# pairs\n" + "\n".join(lines) + "\n")
    return folder


def objects(items: list[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def megadepth1500(folder: Path) -> Path:
    """Two scene files with one pair each, as LoFTR's; COLMAP's intrinsics."""
    colmap = K + [[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    for index in range(3):
        write_image(folder / f"Undistorted_SfM/0015/images/{index}.jpg", view(index))
    for name, pair in (("0015_0.1_0.3", (0, 1)), ("0015_0.3_0.5", (1, 2))):
        np.savez(
            folder / f"{name}.npz",
            image_paths=objects([f"Undistorted_SfM/0015/images/{index}.jpg" for index in range(3)]),
            depth_paths=objects([f"phoenix/S6/zl548/MegaDepth_v1/0015/dense0/depths/{index}.h5" for index in range(3)]),
            intrinsics=objects([colmap] * 3),
            poses=objects([np.linalg.inv(camera_pose(index)) for index in range(3)]),
            pair_infos=objects([(pair, 0.2, np.ones((4, 2)))]),
        )
    return folder


def scannet1500(folder: Path, **arrays: Any) -> Path:
    """Two pairs of one scan, as LoFTR's: test.npz, intrinsics.npz, color/ and pose/."""
    scan = folder / "test/scene0707_00"
    for index in range(3):
        write_image(scan / f"color/{15 * index}.jpg", view(index))
        (scan / "pose").mkdir(exist_ok=True)
        pose = "\n".join(row(line) for line in camera_pose(index))
        (scan / f"pose/{15 * index}.txt").write_text(pose + "\n")
    np.savez(folder / "test.npz", **({"name": np.array([[707, 0, 0, 15], [707, 0, 15, 30]], dtype=np.uint16)} | arrays))
    # Intrinsics are of images of 640x480, twice as large as these; corners of images, at -1/2, keep their places.
    doubled = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]])
    np.savez(folder / "intrinsics.npz", scene0707_00=doubled @ K)
    return folder


HOMOGRAPHIES = {
    k: np.array([[1.0, 0.02 * k, 3.0 * k], [-0.02 * k, 1.0, 2.0], [1e-5 * k, 0.0, 1.0]]) for k in range(2, 7)
}


def hpatches(folder: Path, scenes: tuple[str, ...] = ("i_one", "v_two")) -> Path:
    """Sequences of six images and their homographies."""
    for seed, scene in enumerate(scenes):
        base = cv2.resize(texture(10 + seed), SIZE)
        write_image(folder / scene / "1.ppm", base)
        for k, H in HOMOGRAPHIES.items():
            write_image(folder / scene / f"{k}.ppm", cv2.warpPerspective(base, H, SIZE, borderMode=cv2.BORDER_REFLECT))
            (folder / scene / f"H_1_{k}").write_text("\n".join(row(line) for line in H) + "\n")
    return folder


def oxford(folder: Path) -> Path:
    hpatches(folder, ("v_graf",))
    (folder / "v_graf").rename(folder / "graf")
    for k in range(1, 7):
        (folder / f"graf/{k}.ppm").rename(folder / f"graf/img{k}.ppm")
        if k > 1:
            (folder / f"graf/H_1_{k}").rename(folder / f"graf/H1to{k}p")
    return folder
