"""The photographs that warps are made of: those of a folder, or those inside scikit-image in two sets without overlap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.street.photographs import PHOTOGRAPHS as STREET_PHOTOGRAPHS
from subpx_ros.errors import DataError

Image = NDArray[np.float32]

TRAINING = {
    **{name: STREET_PHOTOGRAPHS[name] for name in STREET_PHOTOGRAPHS},
    "immunohistochemistry": "Human colonic glands, C. Decaestecker, CMMI; no known copyright restrictions",
    "hubble_deep_field": "NASA, ESA; public domain",
}
"""Name in skimage.data and source of the photographs to train on; the rendered street is made of them too."""

HELD_BACK = {
    "clock": "Stefan van der Walt; public domain",
    "coins": "Brooklyn Museum; no known copyright restrictions",
    "moon": "NASA; public domain",
    "page": "scikit-image",
    "stereo_motorcycle": "D. Scharstein et al., Middlebury stereo 2014",
    "text": "Wikipedia; public domain",
}
"""The photographs for measuring: neither trained on nor part of the rendered street."""

SETS = {"training": TRAINING, "held_back": HELD_BACK}
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_LEAST_SIDE = 64


@dataclass(frozen=True)
class Photograph:
    """One photograph, read when it is needed."""

    name: str
    licence: str
    path: Path | None
    """None for those of scikit-image."""

    def read(self) -> Image:
        """(H, W) float32 grey in [0, 1]. Raises DataError where it cannot be read or is smaller than 64x64."""
        image = _read_bundled(self.name) if self.path is None else read_grey(self.path).astype(np.float32) / 255.0
        if min(image.shape) < _LEAST_SIDE:
            raise DataError(
                f"photograph {self.name}: at least {_LEAST_SIDE}x{_LEAST_SIDE} px are required; got "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        return image


def photographs_of(folder: Path | None, bundled_set: str) -> list[Photograph]:
    """The photographs of a folder and the folders in it, by name; without a folder those of a set of scikit-image.

    Raises:
        DataError: no such folder, or no image in it.
    """
    if folder is None:
        return [Photograph(name, licence, None) for name, licence in sorted(SETS[bundled_set].items())]
    if not folder.is_dir():
        raise DataError(f"a folder of photographs is required; {folder} is none")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise DataError(f"{folder} needs photographs ({', '.join(sorted(_SUFFIXES))}); it has none")
    return [Photograph(str(path.relative_to(folder)), "as the folder's", path) for path in paths]


@cache
def _read_bundled(name: str) -> Image:
    import cv2
    from skimage import data

    try:
        loaded = getattr(data, name)()
    except Exception as error:  # skimage raises what its downloader raises, which differs between its versions
        reason = " ".join(str(error).split())
        raise DataError(f"the photograph '{name}' of scikit-image cannot be read ({reason}): reinstall it") from error
    pixels = np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    return np.array(grey, dtype=np.float32) / np.float32(255.0)
