"""Image pairs with known geometry, as benchmarks take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.colmap import without_radial
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError

Image = NDArray[np.uint8]
CameraOf = Callable[[int, int], Camera]
"""The camera of an image, given its width and height."""


@dataclass(frozen=True)
class View:
    """One image of a pair."""

    name: str
    """The same for the same image in other pairs of its set."""
    image: Image
    """(H, W) uint8 grey."""
    camera: Camera | None = None
    """Without its distortion; None where only a homography is known."""
    radial: tuple[float, float] = (0.0, 0.0)
    """k1, k2: a ray at radius r of the plane z = 1 is seen at r (1 + k1 r^2 + k2 r^4)."""

    def undistort(self, pixels: Array) -> Array:
        """Where the camera would see points (N, 2) of the image if it had no distortion."""
        if self.camera is None or self.radial == (0.0, 0.0):
            return pixels
        return without_radial(pixels, self.camera, self.radial)

    def reduced(self, longest_px: int) -> View:
        """The view with a longer side of at most that; 0 leaves it as it is."""
        import cv2

        height, width = self.image.shape
        factor = longest_px / max(width, height)
        if longest_px == 0 or factor >= 1.0:
            return self
        size = max(1, round(factor * width)), max(1, round(factor * height))
        image = np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        return replace(self, image=image, camera=None if self.camera is None else self.camera.resized(*size))


@dataclass(frozen=True)
class ImagePair:
    """Two views of one scene."""

    name: str
    view0: View
    view1: View
    T_1_0: Array | None = None
    """(4, 4) maps points of camera 0 into camera 1; the unit of length is the set's own."""
    H_1_0: Array | None = None
    """(3, 3) maps pixels of image 0 to pixels of image 1."""
    group: str = ""
    """What tables tell apart within a set: a scene, or the kind of change."""

    def reduced(self, longest_px: int) -> ImagePair:
        """The pair with images whose longer side is at most that; 0 leaves it as it is."""
        view0, view1 = self.view0.reduced(longest_px), self.view1.reduced(longest_px)
        H_1_0 = self.H_1_0
        if H_1_0 is not None:
            H_1_0 = _resizing(self.view1, view1) @ H_1_0 @ np.linalg.inv(_resizing(self.view0, view0))
        return replace(self, view0=view0, view1=view1, H_1_0=H_1_0)


@dataclass(frozen=True)
class ViewSource:
    """Where a view comes from."""

    name: str
    read: Callable[[], Image]
    camera_of: CameraOf | None = None
    radial: tuple[float, float] = (0.0, 0.0)

    def view(self) -> View:
        """Raises DataError where the image cannot be read."""
        image = self.read()
        camera = None if self.camera_of is None else self.camera_of(image.shape[1], image.shape[0])
        return View(self.name, image, camera, self.radial)


@dataclass(frozen=True)
class PairSource:
    """A pair whose pixels have not been read."""

    view0: ViewSource
    view1: ViewSource
    T_1_0: Array | None = None
    H_1_0: Array | None = None
    group: str = ""

    @property
    def name(self) -> str:
        return f"{self.view0.name} {self.view1.name}"


class PairSet:
    """The pairs of a data set, by number; pixels are read when a pair is asked for."""

    def __init__(self, name: str, pairs: Sequence[PairSource]) -> None:
        """Raises DataError when there is no pair."""
        if not pairs:
            raise DataError(f"{name} has no pairs: a benchmark needs at least one")
        self.name = name
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def source(self, index: int) -> PairSource:
        """Pair number `index` without its pixels."""
        return self._pairs[index]

    def pair(self, index: int) -> ImagePair:
        """Pair number `index`. Raises DataError where an image is missing or damaged."""
        source = self._pairs[index]
        views = source.view0.view(), source.view1.view()
        return ImagePair(source.name, *views, source.T_1_0, source.H_1_0, source.group)


def camera_of_matrix(K: Array, where: str) -> CameraOf:
    """Makes the camera of K (3, 3), pixel centres at integers. Raises DataError now for a matrix that is none."""
    if not np.allclose(K[2], [0.0, 0.0, 1.0]) or abs(K[1, 0]) > 1e-6:
        raise DataError(f"{where}: intrinsics must be fx s cx 0 fy cy 0 0 1; got {K.round(3).tolist()}")
    camera = Camera(K[0, 0], K[1, 1], K[0, 2], K[1, 2], 1, 1)
    return lambda width, height: replace(camera, width=width, height=height)


def _resizing(before: View, after: View) -> Array:
    """(3, 3) from pixels of the image before to those after resizing; corners are at -1/2."""
    x, y = after.image.shape[1] / before.image.shape[1], after.image.shape[0] / before.image.shape[0]
    return np.array([[x, 0.0, 0.5 * x - 0.5], [0.0, y, 0.5 * y - 0.5], [0.0, 0.0, 1.0]])
