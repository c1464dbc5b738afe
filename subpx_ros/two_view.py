"""One image pair: matches, refinement and relative pose. The core of `subpx match`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.config import PoseConfig
from subpx_ros.datatypes import Camera, RefinedMatches, RelativePose
from subpx_ros.errors import ConfigError
from subpx_ros.geometry import invert
from subpx_ros.output import written_beside
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import estimate_mono

_ASSUMED_FOCAL_LENGTH = 1.2
"""Times the longer side of the image: a common phone or web camera."""


@dataclass(frozen=True)
class TwoView:
    """What a pair of images gave."""

    matches: RefinedMatches
    pose: RelativePose
    """T_0_1: the second camera in the first, translation of unit length."""

    def save(self, path: Path) -> None:
        """Write the arrays that `subpx match` promises, complete or not at all.

        keypoints0, keypoints1, refined0, refined1 (M, 2), scores (M,), inliers (M,), R (3, 3) and t (3,) with
        x1 = R x0 + t, status and reason. Without a pose R and t are all zero, which is no rotation.
        """
        rotation, translation = np.zeros((3, 3)), np.zeros(3)
        if self.pose.T_reference_current is not None:
            T_1_0 = invert(self.pose.T_reference_current)
            rotation, translation = T_1_0[:3, :3], T_1_0[:3, 3]
        with written_beside(path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                keypoints0=self.matches.detected0,
                keypoints1=self.matches.detected1,
                refined0=self.matches.refined0,
                refined1=self.matches.refined1,
                scores=self.matches.scores,
                inliers=self.pose.inliers,
                R=rotation,
                t=translation,
                status=self.pose.status.name,
                reason=self.pose.reason,
            )


def match_images(
    front_end: FrontEnd,
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    cameras: tuple[Camera, Camera],
    config: PoseConfig,
) -> TwoView:
    """Match and refine two grey images (H, W) uint8, of sizes that may differ, and find their relative pose."""
    features0, features1 = (front_end.detect([image])[0] for image in images)
    matches = front_end.refine(features0, features1, front_end.match(features0, features1))
    pose = estimate_mono(matches.refined0, matches.refined1, *cameras, config, matches.covariance1)
    return TwoView(matches, pose)


def parse_cameras(text: str | None, images: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> tuple[Camera, Camera]:
    """Cameras from 'fx,fy,cx,cy' for both images, or from eight such numbers for each; assumed ones without text.

    Raises:
        ConfigError: another count, or something that is no number.
        DataError: numbers that make no camera.
    """
    sizes = [(image.shape[1], image.shape[0]) for image in images]
    if text is None:
        first, second = (_assumed_camera(width, height) for width, height in sizes)
        return first, second
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 8):
        raise ConfigError(f"--camera takes fx,fy,cx,cy in pixels, once or for each image; got '{text}'")
    return _camera(numbers[:4], *sizes[0]), _camera(numbers[-4:], *sizes[1])


def _camera(numbers: list[float], width: int, height: int) -> Camera:
    fx, fy, cx, cy = numbers
    return Camera(fx, fy, cx, cy, width, height)


def _assumed_camera(width: int, height: int) -> Camera:
    focal_length = _ASSUMED_FOCAL_LENGTH * max(width, height)
    return Camera(focal_length, focal_length, (width - 1) / 2.0, (height - 1) / 2.0, width, height)
