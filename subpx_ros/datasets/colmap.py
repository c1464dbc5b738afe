"""A COLMAP model in text form: cameras.txt and images.txt, with the images they are of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.text import parse_number, parse_numbers, pose_from_quaternion, read_lines
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert

_CENTRE = 0.5
"""COLMAP puts the centre of the first pixel at (0.5, 0.5), this package at (0, 0)."""
# Position of fx, fy, cx, cy, k1, k2 in the parameters of a model; None where it has none.
_MODELS: dict[str, tuple[int | None, ...]] = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2, None, None),
    "PINHOLE": (0, 1, 2, 3, None, None),
    "SIMPLE_RADIAL": (0, 0, 1, 2, 3, None),
    "RADIAL": (0, 0, 1, 2, 3, 4),
}
_ITERATIONS = 20


@dataclass(frozen=True)
class PosedImage:
    """One image of a model."""

    path: Path
    camera: Camera
    """Without its distortion."""
    radial: tuple[float, float]
    """k1, k2: a ray at radius r of the plane z = 1 is seen at r (1 + k1 r^2 + k2 r^4)."""
    T_world_camera: Array
    """(4, 4); the unit of length is the model's own."""

    def undistort(self, pixels: NDArray[np.floating]) -> Array:
        """Where the camera would see points (N, 2) of the image if it had no distortion."""
        return without_radial(pixels, self.camera, self.radial)


def without_radial(pixels: NDArray[np.floating], camera: Camera, radial: tuple[float, float]) -> Array:
    """Where the camera would see points (N, 2) of the image if it had no distortion k1, k2, as `PosedImage` means it."""
    seen = camera.normalise(pixels)
    rays = seen.copy()
    for _ in range(_ITERATIONS):
        squared = np.sum(rays**2, axis=1, keepdims=True)
        rays = seen / (1.0 + radial[0] * squared + radial[1] * squared**2)
    return rays * [camera.fx, camera.fy] + [camera.cx, camera.cy]


def read_model(folder: Path) -> list[PosedImage]:
    """The images of a folder with `images/` and a text model in any folder beside it, by name.

    Raises:
        DataError: no model, a damaged row, or a camera model with more than radial distortion.
    """
    models = sorted(folder.rglob("images.txt"))
    if not models:
        raise DataError(f"{folder} needs a COLMAP text model (images.txt, cameras.txt); there is none in it")
    cameras = _read_cameras(models[0].with_name("cameras.txt"))
    images = []
    # Every second row lists an image's points; where it is empty `read_lines` leaves it out, so rows are told apart
    # by their number of values: ten for an image, multiples of three for points.
    for number, line in read_lines(models[0]):
        tokens = line.split()
        if len(tokens) != 10:
            continue
        where = f"{models[0]} line {number}"
        values = [parse_number(token, where) for token in tokens[1:8]]
        quaternion = np.array([*values[1:4], values[0]])
        if tokens[8] not in cameras:
            raise DataError(f"{where}: camera {tokens[8][:20]} is not in cameras.txt")
        T_camera_world = pose_from_quaternion(np.array(values[4:]), quaternion, where)
        path = folder / "images" / tokens[9]
        # os.path's one also says no to a name that the file system cannot hold.
        if Path(tokens[9]).is_absolute() or ".." in Path(tokens[9]).parts or not os.path.isfile(path):
            raise DataError(f"{where}: image '{tokens[9][:60]}' is not in {folder / 'images'}")
        images.append(PosedImage(path, *cameras[tokens[8]], invert(T_camera_world)))
    if len(images) < 2:
        raise DataError(f"{models[0]}: at least 2 images are required; got {len(images)}")
    return sorted(images, key=lambda image: image.path.name)


def _read_cameras(path: Path) -> dict[str, tuple[Camera, tuple[float, float]]]:
    cameras = {}
    for number, line in read_lines(path):
        where = f"{path} line {number}"
        name, model, *values = [*line.split(), "", ""]
        if model not in _MODELS:
            raise DataError(f"{where}: camera model '{model[:30]}' is not known; known are {', '.join(_MODELS)}")
        count = 3 + max(place for place in _MODELS[model] if place is not None)
        width, height, *parameters = parse_numbers(" ".join(values), count, where).tolist()
        fx, fy, cx, cy, k1, k2 = (0.0 if place is None else parameters[place] for place in _MODELS[model])
        cameras[name] = (Camera(fx, fy, cx - _CENTRE, cy - _CENTRE, int(width), int(height)), (k1, k2))
    return cameras
