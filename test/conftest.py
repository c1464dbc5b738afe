"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# The same examples on every run and no time limit per example: a slow machine must not fail a test.
settings.register_profile("repository", deadline=None, derandomize=True, database=None)
settings.load_profile("repository")

# Each of several test processes has a ROS domain and a share of the cores of its own.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _PROCESSES > 1:
    _PROCESS = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    _DOMAIN = int(os.environ.get("ROS_DOMAIN_ID", os.getppid()))
    os.environ["ROS_DOMAIN_ID"] = str((_DOMAIN + _PROCESS * 101 // _PROCESSES) % 101 + 1)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // _PROCESSES)))

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _below(folder: str, name: str) -> Path:
    path = SHARED / folder / name
    if not path.exists():
        pytest.skip(f"needs {folder}/{name} of the shared folder beside the repository, which is not part of it")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("kitti06_stereo51")`: a folder of ../shared/data; skips the test where it is absent."""
    return lambda name: _below("data", name)


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str, str], Path]:
    """`shared_file("golden", "keypt2subpx_xfeat.npz")`: a file of ../shared; skips the test where it is absent."""
    return _below


@pytest.fixture(scope="session")
def tiny_image() -> Callable[[int, int, tuple[int, int]], NDArray[np.uint8]]:
    """`tiny_image(index, camera, size)`: noise that no other frame or camera shares."""

    def make(index: int, camera: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        return np.random.default_rng([index, camera]).integers(0, 256, (size[1], size[0]), dtype=np.uint8)

    return make


@pytest.fixture
def kitti_tree(tmp_path: Path, tiny_image: Callable[..., NDArray[np.uint8]]) -> Callable[..., Path]:
    """Makes a small KITTI sequence folder: `kitti_tree(frames=4, cameras=(0, 1), size=(32, 24))`."""

    def make(frames: int = 4, cameras: tuple[int, ...] = (0, 1), size: tuple[int, int] = (32, 24)) -> Path:
        folder = tmp_path / "sequence"
        for camera in cameras:
            (folder / f"image_{camera}").mkdir(parents=True)
            for index in range(frames):
                path = folder / f"image_{camera}" / f"{index:06d}.png"
                assert cv2.imwrite(str(path), tiny_image(index, camera, size))
        rows = {
            "P0": "50 0 15.5 0 0 50 11.5 0 0 0 1 0",
            "P1": "50 0 15.5 -25 0 50 11.5 0 0 0 1 0",
            "P2": "50 0 15.5 3 0 50 11.5 0 0 0 1 0",
            "P3": "50 0 15.5 -22 0 50 11.5 0 0 0 1 0",
            "Tr": "1 0 0 0 0 1 0 0 0 0 1 0",
        }
        (folder / "calib.txt").write_text("".join(f"{name}: {row}\n" for name, row in rows.items()))
        poses = [f"1 0 0 {0.5 * index} 0 1 0 0 0 0 1 {index}" for index in range(frames)]
        (folder / "poses.txt").write_text("\n".join(poses))
        return folder

    return make
