"""One training pair: two images, what is known of their geometry, and where a point of the first is in the second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.street import View, correspondences
from subpx_ros.datatypes import Array, Camera
from subpx_ros.errors import DataError
from subpx_ros.geometry import essential_matrix, homogeneous, invert, transform_points

_DEPTH_STEP = 0.05
"""Neighbouring pixels whose depths differ by more than this share lie on two surfaces."""
_OCCLUSION = 0.05
"""A point farther than what camera 1 sees there by more than this share is hidden."""


@dataclass(frozen=True)
class TrainingPair:
    """Two views of one scene. At least one of T_0_1, homography is known."""

    name: str
    """Says where the pair comes from, for manifests and messages."""
    image0: NDArray[np.uint8]
    """(H, W) grey."""
    image1: NDArray[np.uint8]
    """(H, W) grey, of a size of its own."""
    camera0: Camera
    camera1: Camera
    T_0_1: Array | None = None
    """(4, 4): points of camera 1 in camera 0; metres where the source is metric."""
    depth0: NDArray[np.float32] | None = None
    """(H, W) z of image0 in the unit of T_0_1; 0, inf or NaN where it is not known."""
    depth1: NDArray[np.float32] | None = None
    """The same of image1, to tell what is hidden from it."""
    homography: Array | None = None
    """(3, 3), pixel of image0 to pixel of image1, for a flat scene or a pure rotation."""
    views: tuple[View, View] | None = None
    """The two ideal views of a rendered street."""
    exact: bool = True
    """Whether `transfer` is good to a hundredth of a pixel; false for depth that was measured."""

    def __post_init__(self) -> None:
        _check_image(self.name, "image0", self.image0, self.camera0)
        _check_image(self.name, "image1", self.image1, self.camera1)
        for field, matrix, size in (("T_0_1", self.T_0_1, 4), ("homography", self.homography, 3)):
            if matrix is not None and (matrix.shape != (size, size) or not np.all(np.isfinite(matrix))):
                raise DataError(f"{self.name}: {field} must be a finite {size}x{size} matrix; got {matrix.shape}")
        if self.T_0_1 is None and self.homography is None:
            raise DataError(f"{self.name}: a training pair needs a relative pose or a homography; got neither")
        for field, depth, image in (("depth0", self.depth0, self.image0), ("depth1", self.depth1, self.image1)):
            if depth is not None and depth.shape != image.shape:
                raise DataError(f"{self.name}: {field} must have its image's size {image.shape}; got {depth.shape}")

    @property
    def essential(self) -> Array | None:
        """E (3, 3) with x1' E x0 = 0 for normalised coordinates; None without a pose or without translation."""
        if self.T_0_1 is None or np.linalg.norm(self.T_0_1[:3, 3]) < 1e-9:
            return None
        return essential_matrix(self.T_0_1)


def transfer(pair: TrainingPair, pixels0: NDArray[np.floating]) -> tuple[Array, NDArray[np.bool_]]:
    """Where pixels (N, 2) of image0, between pixel centres too, are in image1.

    Args:
        pair: one whose homography, street views, or depth and pose are known.
        pixels0: (N, 2)

    Returns:
        Pixels of image1 (N, 2), NaN where nothing is known, and (N,) whether the position is known, inside of image1
        and, as far as the pair can tell, not hidden there.
    """
    pixels0 = np.asarray(pixels0, dtype=np.float64).reshape(-1, 2)
    if pair.views is not None:
        followed = correspondences(*pair.views, pixels0)
        return followed.pixels, followed.visible
    if pair.homography is not None:
        return _through_homography(pair, pair.homography, pixels0)
    if pair.depth0 is not None and pair.T_0_1 is not None:
        return _through_depth(pair, pair.depth0, pair.T_0_1, pixels0)
    return np.full_like(pixels0, np.nan), np.zeros(len(pixels0), dtype=bool)


def inverse_depth_at(depth: NDArray[np.float32], pixels: Array) -> Array:
    """1 / z (N,) at positions (N, 2); 0 where a neighbour is unknown, across a step in depth and outside.

    On a plane inverse depth is linear in the image, so that its bilinear interpolation is exact there.
    """
    height, width = depth.shape
    inside = np.all((pixels >= 0.0) & (pixels <= [width - 1, height - 1]), axis=1)
    place = np.where(inside[:, None], pixels, 0.0)
    x, y = np.floor(place).astype(np.intp).T
    share_x, share_y = place[:, 0] - x, place[:, 1] - y
    right, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
    corners = np.stack([depth[row, column] for row in (y, below) for column in (x, right)]).astype(np.float64)
    known = inside & np.all(np.isfinite(corners) & (corners > 0.0), axis=0)
    inverse = 1.0 / np.where(known, corners, 1.0)
    known &= inverse.max(axis=0) <= (1.0 + _DEPTH_STEP) * inverse.min(axis=0)
    upper = (1.0 - share_x) * inverse[0] + share_x * inverse[1]
    lower = (1.0 - share_x) * inverse[2] + share_x * inverse[3]
    return np.where(known, (1.0 - share_y) * upper + share_y * lower, 0.0)


def inside_image(pixels: Array, camera: Camera) -> NDArray[np.bool_]:
    """(N,) which pixels (N, 2), NaN allowed, lie between the centres of the outermost pixels."""
    return np.all((pixels >= 0.0) & (pixels <= [camera.width - 1, camera.height - 1]), axis=1)


def _through_homography(pair: TrainingPair, homography: Array, pixels0: Array) -> tuple[Array, NDArray[np.bool_]]:
    moved = homogeneous(pixels0) @ homography.T
    # The sign of the third coordinate at image0's centre is that of the points in front of camera 1.
    centre = np.array([(pair.camera0.width - 1) / 2.0, (pair.camera0.height - 1) / 2.0, 1.0])
    scale = moved[:, 2] * np.sign(homography[2] @ centre)
    ahead = scale > 1e-9
    pixels1 = np.full_like(pixels0, np.nan)
    pixels1[ahead] = moved[ahead, :2] / moved[ahead, 2:]
    return pixels1, ahead & inside_image(pixels1, pair.camera1)


def _through_depth(
    pair: TrainingPair, depth0: NDArray[np.float32], T_0_1: Array, pixels0: Array
) -> tuple[Array, NDArray[np.bool_]]:
    inverse0 = inverse_depth_at(depth0, pixels0)
    known = inverse0 > 0.0
    rays = homogeneous(pair.camera0.normalise(pixels0))
    points1 = transform_points(invert(T_0_1), rays / np.where(known, inverse0, 1.0)[:, None])
    ahead = known & (points1[:, 2] > 1e-6)
    pixels1 = np.full_like(pixels0, np.nan)
    pixels1[ahead] = pair.camera1.project(points1[ahead])
    valid = ahead & inside_image(pixels1, pair.camera1)
    if pair.depth1 is not None:
        seen = inverse_depth_at(pair.depth1, pixels1)
        valid &= (seen > 0.0) & (points1[:, 2] * seen <= 1.0 + _OCCLUSION)
    return pixels1, valid


def _check_image(name: str, field: str, image: NDArray[np.uint8], camera: Camera) -> None:
    expected = (camera.height, camera.width)
    if image.dtype != np.uint8 or image.shape != expected:
        raise DataError(
            f"{name}: {field} must be grey uint8 of {expected[1]}x{expected[0]} as its camera says; got {image.dtype} "
            f"with shape {image.shape}"
        )
