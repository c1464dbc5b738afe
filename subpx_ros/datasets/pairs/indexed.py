"""MegaDepth-1500 and ScanNet-1500 in the index files that LoFTR (Sun et al., CVPR 2021) made usual.

MegaDepth-1500:
  0015_0.1_0.3.npz ...             five scene files (see datasets/megadepth.py), in the folder itself or in one whose
                                   name ends in scene_info; megadepth_test_1500.txt beside them may name which
  Undistorted_SfM/0015/images/...  as image_paths of the scene files say
ScanNet-1500:
  test.npz                         name (1500, 4): scene, its scan, numbers of the two images; and, if it is there,
                                   rel_pose (1500, 12): [R | t] with x1 = R x0 + t
  intrinsics.npz                   K (3, 3) per scene, of images of 640x480; or per scene intrinsic/intrinsic_color.txt
  scene0707_00/color/0.jpg ...     in the folder itself, or in test/ or scans_test/
  scene0707_00/pose/0.txt ...      T_world_camera (4, 4); not needed where there is rel_pose
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.megadepth import read_scene
from subpx_ros.datasets.pairs.pair import CameraOf, PairSet, PairSource, ViewSource, camera_of_matrix
from subpx_ros.datasets.scene_info import read_scene_arrays
from subpx_ros.datasets.text import parse_numbers, pose_from_row, read_lines
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert

MEGADEPTH_LIST = "megadepth_test_1500.txt"
SCANNET_INDEX = "test.npz"
_SCANNET_FOLDERS = (".", "test", "scans_test")
_INTRINSICS_SIZE = (640, 480)


def megadepth_files(folder: Path) -> list[Path]:
    """The scene files of a folder; none where it is no MegaDepth-1500."""
    for place in (folder, *sorted(folder.glob("*scene_info"))):
        listed = place / MEGADEPTH_LIST
        if listed.is_file():
            return [place / f"{Path(line).name.removesuffix('.npz')}.npz" for _, line in read_lines(listed)]
        files = [path for path in sorted(place.glob("*.npz")) if path.name not in (SCANNET_INDEX, "intrinsics.npz")]
        if files:
            return files
    return []


def read_megadepth1500(folder: Path) -> PairSet:
    """All pairs of all scene files, in their order.

    Raises:
        DataError: a missing or damaged scene file, or an image that is not there.
    """
    files = megadepth_files(folder)
    if not files:
        raise DataError(
            f"{folder} needs the scene files of MegaDepth-1500 (0015_0.1_0.3.npz ...), there or in scene_info/"
        )
    pairs = []
    for path in files:
        scene = read_scene(path)
        for first, second in scene.pairs.tolist():
            views = []
            for number in (first, second):
                image = folder / scene.images[number]
                if not image.is_file():
                    raise DataError(f"{path}: the image {scene.images[number]} is not in {folder}")
                views.append(ViewSource(scene.images[number], partial(read_grey, image), partial(scene.camera, number)))
            T_1_0 = scene.poses[second] @ invert(scene.poses[first])
            pairs.append(PairSource(views[0], views[1], T_1_0=T_1_0, group=path.stem.split("_")[0]))
    return PairSet(folder.resolve().name, pairs)


def read_scannet1500(folder: Path) -> PairSet:
    """The pairs of test.npz, in its order.

    Raises:
        DataError: a missing or damaged file, or a bad number.
    """
    arrays = read_scene_arrays(folder / SCANNET_INDEX)
    names = arrays.get("name")
    if names is None or names.ndim != 2 or names.shape[1] != 4 or not np.issubdtype(names.dtype, np.integer):
        raise DataError(f"{folder / SCANNET_INDEX} needs the array 'name' (N, 4) of whole numbers")
    motions = arrays.get("rel_pose")
    if motions is not None and motions.shape != (len(names), 12):
        raise DataError(
            f"{folder / SCANNET_INDEX}: rel_pose needs 12 numbers per pair, ({len(names)}, 12); got {motions.shape}"
        )
    scenes = _Scans(folder)
    pairs = []
    for row, (scene, scan, first, second) in enumerate(names.tolist()):
        name = f"scene{scene:04d}_{scan:02d}"
        if motions is None:
            T_1_0 = invert(scenes.pose(name, second)) @ scenes.pose(name, first)
        else:
            numbers = motions[row].astype(np.float64)
            T_1_0 = pose_from_row(numbers, f"{folder / SCANNET_INDEX}: rel_pose of pair {row}")
        pairs.append(PairSource(scenes.view(name, first), scenes.view(name, second), T_1_0=T_1_0))
    return PairSet(folder.resolve().name, pairs)


class _Scans:
    """The scenes' folders of ScanNet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / "intrinsics.npz"
        self._intrinsics = read_scene_arrays(path) if path.exists() else None
        self._cameras: dict[str, CameraOf] = {}

    def view(self, scene: str, number: int) -> ViewSource:
        image = self._scene(scene) / "color" / f"{number}.jpg"
        if not image.is_file():
            raise DataError(f"{image} is required by {SCANNET_INDEX} but is not there")
        if scene not in self._cameras:
            self._cameras[scene] = self._camera_of(scene)
        return ViewSource(f"{scene}/{number}", partial(read_grey, image), self._cameras[scene])

    def pose(self, scene: str, number: int) -> Array:
        path = self._scene(scene) / "pose" / f"{number}.txt"
        return pose_from_row(_matrix4(path)[:3].ravel(), str(path))

    def _scene(self, scene: str) -> Path:
        places = [self._folder / place / scene for place in _SCANNET_FOLDERS]
        found = [place for place in places if place.is_dir()]
        if not found:
            raise DataError(f"{self._folder} needs the folder {scene}, there or in test/ or scans_test/")
        return found[0]

    def _camera_of(self, scene: str) -> CameraOf:
        if self._intrinsics is None:
            path = self._scene(scene) / "intrinsic" / "intrinsic_color.txt"
            return camera_of_matrix(_matrix4(path)[:3, :3], str(path))
        where = f"{self._folder / 'intrinsics.npz'}, {scene}"
        K = self._intrinsics.get(scene)
        if K is None or np.size(K) != 9 or not np.all(np.isfinite(K)):
            raise DataError(f"{where}: 9 finite numbers are required")
        return camera_of_matrix(np.asarray(K, dtype=np.float64).reshape(3, 3), where)(*_INTRINSICS_SIZE).resized


def _matrix4(path: Path) -> Array:
    lines = read_lines(path)
    if len(lines) != 4:
        raise DataError(f"{path}: 4 rows of 4 numbers are required; got {len(lines)} rows")
    return np.array([parse_numbers(line, 4, f"{path} line {number}") for number, line in lines])
