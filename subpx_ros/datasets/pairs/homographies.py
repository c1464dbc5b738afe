"""Image pairs of planes with known homographies: HPatches and the sequences of Oxford.

HPatches (Balntas et al., CVPR 2017), hpatches-sequences-release:
  i_NAME/, v_NAME/    changes of illumination or viewpoint; 1.ppm to 6.ppm, and H_1_2 to H_1_6
Oxford (Mikolajczyk and Schmid, PAMI 2005), one folder or a folder of them:
  NAME/               img1 to img6 (.ppm, .pgm, .png, .jpg), and H1to2p to H1to6p
A homography is three rows of three numbers, from pixels of image 1 to pixels of image k.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.pairs.pair import PairSet, PairSource, ViewSource
from subpx_ros.datasets.text import parse_numbers, read_lines
from subpx_ros.datatypes import Array
from subpx_ros.errors import DataError

OVERSIZED = frozenset(
    {
        "i_contruction",
        "i_crownnight",
        "i_dc",
        "i_pencils",
        "i_whitebuilding",
        "v_artisans",
        "v_astronautis",
        "v_talent",
    }
)
"""Sequences of more than 1200x1600 px, which evaluations have left out since D2-Net (Dusmanu et al., CVPR 2019)."""
_KINDS = {"i": "illumination", "v": "viewpoint"}
_ENDINGS = (".ppm", ".pgm", ".png", ".jpg", ".jpeg")
_COUNT = 6


def read_hpatches(folder: Path) -> PairSet:
    """The pairs (1, k) of all sequences but the oversized ones, by name; 540 in the whole release.

    Raises:
        DataError: no sequence, a missing image or homography, or a bad number.
    """
    pairs = []
    for scene in sorted(folder.glob("[iv]_*")):
        if scene.is_dir() and scene.name not in OVERSIZED:
            pairs += _pairs(scene, "{k}", "H_1_{k}", _KINDS[scene.name[0]])
    if not pairs:
        raise DataError(f"{folder} needs sequences of HPatches (i_NAME/ and v_NAME/ with 1.ppm ... and H_1_2 ...)")
    return PairSet(folder.resolve().name, pairs)


def read_oxford(folder: Path) -> PairSet:
    """The pairs (1, k) of one sequence, or of all in a folder, by name.

    Raises:
        DataError: no sequence, a missing image or homography, or a bad number.
    """
    scenes = [folder] if (folder / "H1to2p").is_file() else sorted(path.parent for path in folder.glob("*/H1to2p"))
    pairs = []
    for scene in scenes:
        group = scene.name if len(scenes) > 1 else ""
        pairs += _pairs(scene, "img{k}", "H1to{k}p", group)
    if not pairs:
        raise DataError(f"{folder} needs sequences as Oxford's (img1.ppm ... and H1to2p ...)")
    return PairSet(folder.resolve().name, pairs)


def read_homography(path: Path) -> Array:
    """(3, 3) from three rows of three numbers. Raises DataError for anything else."""
    lines = read_lines(path)
    if len(lines) != 3:
        raise DataError(f"{path}: a homography is 3 rows of 3 numbers; got {len(lines)} rows")
    rows = [parse_numbers(line, 3, f"{path} line {number}") for number, line in lines]
    return check_homography(np.array(rows), str(path))


def check_homography(matrix: Array, where: str) -> Array:
    """The matrix with a last entry of 1. Raises DataError unless it can be inverted and keeps the origin finite."""
    if abs(matrix[2, 2]) < 1e-12 * np.abs(matrix).max() or np.linalg.matrix_rank(matrix) < 3:
        raise DataError(f"{where}: a homography that can be inverted is required; got {matrix.round(6).tolist()}")
    return np.asarray(matrix / matrix[2, 2])


def _pairs(scene: Path, image: str, homography: str, group: str) -> list[PairSource]:
    views = [_view(scene, image.format(k=k)) for k in range(1, _COUNT + 1)]
    return [
        PairSource(views[0], views[k - 1], H_1_0=read_homography(scene / homography.format(k=k)), group=group)
        for k in range(2, _COUNT + 1)
    ]


def _view(scene: Path, stem: str) -> ViewSource:
    found = [scene / f"{stem}{ending}" for ending in _ENDINGS if (scene / f"{stem}{ending}").is_file()]
    if not found:
        raise DataError(f"{scene} needs the image {stem} ({', '.join(_ENDINGS)}); it is missing: copy it again")
    return ViewSource(f"{scene.name}/{stem}", partial(read_grey, found[0]))
