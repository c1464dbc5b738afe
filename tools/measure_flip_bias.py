"""Measures what mirroring an image does to keypoints: the signed shift of every detector and refiner.

    python tools/measure_flip_bias.py [IMAGE ...]

A detector whose coordinates are right finds in the mirrored image the mirrored keypoints. Half of the mean signed
distance to them is the shift that its coordinates carry in the image's own axes. Networks are free to place keypoints
beside a structure as long as they always do, so their shift is a property of the weights; `zoom` tells whether it harms:
under a zoom a constant shift b of all keypoints would show as a residual of b (1 - zoom).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import load_config
from subpx_ros.console import table, track
from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datatypes import Features, RefinedMatches
from subpx_ros.pipeline import FrontEnd

ZOOM = 0.8
NEAR_PX = 1.5
LARGEST_SHIFT_PX = 6.0
SYSTEMS: dict[str, dict[str, Any]] = {
    "sift": {"preset": "sift", "refiner": "none"},
    "xfeat": {"preset": "xfeat", "refiner": "none"},
    "xfeat + keypt2subpx": {"preset": "xfeat", "refiner": "keypt2subpx"},
    "xfeat + subpx": {"preset": "xfeat", "refiner": "subpx"},
    "aliked-n16": {"preset": "aliked", "refiner": "none", "matching": {"matcher": "mutual_nn"}},
    "aliked-t16": {
        "preset": "aliked",
        "refiner": "none",
        "features": {"detector": "aliked-t16"},
        "matching": {"matcher": "mutual_nn"},
    },
    "aliked-n16 + keypt2subpx": {"preset": "aliked", "refiner": "keypt2subpx", "matching": {"matcher": "mutual_nn"}},
    "disk": {"preset": "disk", "refiner": "none", "matching": {"matcher": "mutual_nn"}},
    "orb": {"preset": "orb", "refiner": "none"},
}
Image = NDArray[np.uint8]


def photographs() -> dict[str, Image]:
    """Grey photographs that scikit-image ships."""
    from skimage import data

    colour = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}
    grey = {name: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8) for name, image in colour.items()}
    return grey | {name: getattr(data, name)() for name in ("camera", "brick")}


def mirrored(points: torch.Tensor, shape: tuple[int, ...], axis: int) -> torch.Tensor:
    """Keypoints (N, 2) of an image mirrored along the array axis, in the image's own coordinates."""
    points = points.clone()
    points[:, 1 - axis] = shape[axis] - 1 - points[:, 1 - axis]
    return points


def detector_shift(front_end: FrontEnd, image: Image, axis: int) -> float:
    """Shift in pixels along x (axis 1) or y (axis 0) that the detector's coordinates carry."""
    (here,) = front_end.detect([image])
    (there,) = front_end.detect([np.ascontiguousarray(np.flip(image, axis))])
    back = mirrored(there.keypoints, image.shape, axis)
    differences = (back[None] - here.keypoints[:, None]).reshape(-1, 2)
    common = _densest(differences[(differences.abs() < LARGEST_SHIFT_PX).all(dim=1)])
    distance = distances(here.keypoints + common, back)
    nearest, index = distance.min(dim=1)
    mutual = distance.argmin(dim=0)[index] == torch.arange(len(index))
    pairs = mutual & (nearest < NEAR_PX)
    return float((back[index] - here.keypoints)[pairs, 1 - axis].mean()) / -2.0


def distances(points0: torch.Tensor, points1: torch.Tensor) -> torch.Tensor:
    """(N, M) between points (N, 2) and (M, 2), without the shortcut that loses a tenth of a pixel."""
    return torch.cdist(points0, points1, compute_mode="donot_use_mm_for_euclid_dist")


def _densest(differences: torch.Tensor) -> torch.Tensor:
    """The shift (2,) that most differences (N, 2) agree on: a mean shift from a coarse vote."""
    cells = differences.round()
    values, counts = cells.unique(dim=0, return_counts=True)
    centre = values[counts.argmax()]
    for _ in range(10):
        centre = differences[(differences - centre).norm(dim=1) < NEAR_PX].mean(dim=0)
    return centre


def refiner_shift(front_end: FrontEnd, image: Image, axis: int) -> float:
    """The same of the refiner alone: equal keypoints and descriptors, mirrored patches. Of the second keypoints, which
    every refiner moves."""
    (here,) = front_end.detect([image])
    (there,) = front_end.detect([_zoomed(image)])
    matches = front_end.match(here, there)
    refined = front_end.refine(here, there, matches)
    flipped = front_end.refine(_mirror(here, axis), _mirror(there, axis), matches)
    size = image.shape[axis]
    back = size - 1 - flipped.refined1[:, 1 - axis]
    return float(np.mean(back - refined.refined1[:, 1 - axis])) / -2.0


def _mirror(features: Features, axis: int) -> Features:
    score_map = None if features.score_map is None else features.score_map.flip(axis)
    keypoints = mirrored(features.keypoints, features.image.shape, axis)
    return Features(keypoints, features.scores, features.descriptors, features.image.flip(axis), score_map)


def zoom_bias(front_end: FrontEnd, image: Image) -> NDArray[np.float64]:
    """(2,) the constant shift, pixels, that the geometry of a zoom contradicts."""
    (here,) = front_end.detect([image])
    (there,) = front_end.detect([_zoomed(image)])
    matches: RefinedMatches = front_end.refine(here, there, front_end.match(here, there))
    centre = (np.array(image.shape[::-1]) - 1) / 2
    residual = matches.refined1 - (ZOOM * (matches.refined0 - centre) + centre)
    return np.mean(residual[np.linalg.norm(residual, axis=1) < 2 * NEAR_PX], axis=0) / (1 - ZOOM)


def _zoomed(image: Image) -> Image:
    """The image shrunk about its centre, blurred first so that nothing aliases."""
    height, width = image.shape
    centre = (np.array([width, height]) - 1) / 2
    warp = np.column_stack([ZOOM * np.eye(2), (1 - ZOOM) * centre])
    blurred = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(1 / ZOOM**2 - 1))
    shrunk = cv2.warpAffine(blurred, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return shrunk.astype(np.uint8)


def measure(images: dict[str, Image]) -> list[tuple[str, ...]]:
    rows = []
    for name, settings in track(SYSTEMS.items(), "mirroring", len(SYSTEMS)):
        front_end = FrontEnd(load_config(settings))
        shift: Callable[[FrontEnd, Image, int], float] = detector_shift
        if front_end.refiner.name != "none":
            shift = refiner_shift
        along = np.array([[shift(front_end, image, axis) for axis in (1, 0)] for image in images.values()])
        zoom = np.array([zoom_bias(front_end, image) for image in images.values()])
        cells = [f"{along[:, i].mean():+.3f} ± {along[:, i].std():.3f}" for i in (0, 1)]
        error = zoom.std(axis=0) / np.sqrt(max(len(zoom) - 1, 1))
        cells += [f"{zoom[:, i].mean():+.2f} ± {error[i]:.2f}" for i in (0, 1)]
        rows.append((name, *cells))
    return rows


def main() -> None:
    images = {path: read_grey(Path(path)) for path in sys.argv[1:]} or photographs()
    columns = ("system", "shift x (px)", "shift y (px)", "zoom bias x (px)", "zoom bias y (px)")
    table(f"mirroring and zooming {len(images)} images", columns, measure(images))


if __name__ == "__main__":
    main()
