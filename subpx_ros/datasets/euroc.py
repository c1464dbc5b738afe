"""A recording in the ASL layout of EuRoC (Burri et al., IJRR 2016), rectified by its own calibration.

mav0/
  cam0/data.csv                                rows 'stamp in ns,file name'; cam1: the right camera
  cam0/data/1403636579763555584.png ...
  cam0/sensor.yaml                             resolution, intrinsics, distortion, T_BS: the camera in the body
  state_groundtruth_estimate0/data.csv         optional, rows 'stamp in ns,px,py,pz,qw,qx,qy,qz,...': T_world_body
Frames before or after the ground truth are left out; in between it is interpolated to the stamps of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.datasets.image_folders import common_size
from subpx_ros.datasets.listed import ListedSequence
from subpx_ros.datasets.sequence import check_increasing
from subpx_ros.datasets.stamps import Track
from subpx_ros.datasets.text import MAX_STAMP_NS, parse_numbers, pose_from_quaternion, pose_from_row, read_lines
from subpx_ros.datasets.unrectified import Optics, rectified_cameras
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert, se3

_TRUTH = "state_groundtruth_estimate0"
_MOST_YAML_BYTES = 2**16
_MODELS = {"radial-tangential": "plumb_bob", "radtan": "plumb_bob", "equidistant": "equidistant"}
"""EuRoC's and Kalibr's names of what sensor_msgs/CameraInfo calls otherwise."""


class EurocSequence(ListedSequence):
    """Frames of a recording. Headers of all images are checked when it is opened, pixels when asked for."""

    def __init__(self, folder: Path, mode: str = "auto") -> None:
        """Opens the folder that holds mav0, or mav0; mode "mono" leaves the right camera out.

        Raises:
            DataError: anything that is missing, damaged or inconsistent, one line that says what to do.
        """
        root = folder if folder.name == "mav0" else folder / "mav0"
        cameras = [root / "cam0"]
        if mode != "mono" and (root / "cam1").is_dir():
            cameras.append(root / "cam1")
        images = [_read_images(camera) for camera in cameras]
        size = common_size([path for each in images for path in each.values()])
        calibrated = [_read_camera(camera / "sensor.yaml", size) for camera in cameras]
        optics, T_body_camera = [each[0] for each in calibrated], [each[1] for each in calibrated]
        T_left_right = invert(T_body_camera[0]) @ T_body_camera[1] if len(cameras) == 2 else None
        rectified, R_rectified_left = rectified_cameras(optics, size, T_left_right, str(root))
        T_body_rectified = T_body_camera[0] @ se3(R_rectified_left.T, np.zeros(3))
        track = _read_track(root / _TRUTH / "data.csv") if (root / _TRUTH).is_dir() else None
        super().__init__(root.resolve().parent.name, rectified, images, track, T_body_rectified)


def is_euroc(folder: Path) -> bool:
    """Whether the folder is, or holds, a mav0."""
    return (folder / "mav0").is_dir() or (folder.name == "mav0" and (folder / "cam0").is_dir())


def _read_images(camera: Path) -> dict[int, Path]:
    """Image files by their stamps, in the order of time."""
    path = camera / "data.csv"
    if not path.is_file():
        raise DataError(f"{path} is required (rows 'stamp in ns,file name') but is not there")
    images: dict[int, Path] = {}
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        stamp, _, name = (part.strip() for part in line.partition(","))
        if not name or Path(name).name != name:
            raise DataError(f"{where}: 'stamp in ns,file name' is required; got '{line[:60]}'")
        image = camera / "data" / name
        if not image.is_file():
            raise DataError(f"{where}: the image {image} is missing: copy it again")
        stamp_ns = _stamp(stamp, where)
        if stamp_ns in images:
            raise DataError(f"{where}: the stamp {stamp_ns} comes a second time: keep one image per stamp")
        images[stamp_ns] = image
    if not images:
        raise DataError(f"{path} names no image: rows 'stamp in ns,file name' are required")
    check_increasing(tuple(images), str(path))
    return images


def _read_yaml(path: Path) -> Mapping[str, Any]:
    """The table of a file."""
    import yaml

    try:
        if path.stat().st_size > _MOST_YAML_BYTES:
            raise DataError(f"{path} has more than {_MOST_YAML_BYTES >> 10} KiB: a camera's calibration was expected")
        sensor = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}, the camera's calibration, cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, ArithmeticError):
        # Beside its own errors PyYAML lets those of malformed scalars out.
        raise DataError(f"{path} is no YAML file that can be read: copy it again") from None
    if not isinstance(sensor, dict):
        raise DataError(f"{path}: the calibration of a camera is required (intrinsics: [...], ...)")
    return sensor


def _read_camera(path: Path, size: tuple[int, int]) -> tuple[Optics, Array]:
    """How a camera sees, and T_body_camera (4, 4)."""
    sensor = _read_yaml(path)
    if sensor.get("camera_model", "pinhole") != "pinhole":
        raise DataError(f"{path}: camera_model must be pinhole; got another one")
    resolution = _numbers(sensor, "resolution", 2, path)
    if tuple(resolution.tolist()) != size:
        raise DataError(
            f"{path}: resolution must be that of the images, {size[0]}x{size[1]}; got {resolution.tolist()}"
        )
    fx, fy, cx, cy = _numbers(sensor, "intrinsics", 4, path).tolist()
    name = sensor.get("distortion_model")
    if not isinstance(name, str) or name not in _MODELS:
        raise DataError(f"{path}: distortion_model must be one of {', '.join(_MODELS)}; got another one, or none")
    optics = Optics(
        (fx, fy, cx, cy), _MODELS[name], tuple(_numbers(sensor, "distortion_coefficients", 4, path).tolist())
    )
    extrinsics = sensor.get("T_BS")
    T_BS = _numbers(extrinsics if isinstance(extrinsics, dict) else {}, "data", 16, path)
    return optics, pose_from_row(T_BS[:12], f"{path}, T_BS")


def _numbers(table: Mapping[str, Any], name: str, count: int, path: Path) -> Array:
    values = table.get(name)
    # YAML 1.1 takes 1e-05 for text.
    if not isinstance(values, list) or not all(type(value) in (int, float, str) for value in values):
        raise DataError(f"{path}: {name} with {count} numbers is required")
    return parse_numbers(" ".join(map(str, values)), count, f"{path}, {name}")


def _read_track(path: Path) -> Track:
    """Of the body."""
    stamps, poses = [], []
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        stamp, *values = (part.strip() for part in line.split(","))
        if len(values) < 7:
            raise DataError(
                f"{where}: a stamp and at least 7 numbers are required (p, q as w x y z); got {len(values)}"
            )
        x, y, z, qw, qx, qy, qz = parse_numbers(" ".join(values[:7]), 7, where)
        stamps.append(_stamp(stamp, where))
        poses.append(pose_from_quaternion(np.array([x, y, z]), np.array([qx, qy, qz, qw]), where))
    if not stamps:
        raise DataError(f"{path} is empty: rows 'stamp in ns,px,py,pz,qw,qx,qy,qz' are required")
    check_increasing(tuple(stamps), str(path))
    return Track(tuple(stamps), np.array(poses))


def _stamp(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or int(text) > MAX_STAMP_NS:
        raise DataError(f"{where}: a stamp in whole nanoseconds is required; got '{text[:40]}'")
    return int(text)
