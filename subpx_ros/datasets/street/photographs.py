"""The photographs that every texture is made of: from scikit-image's wheel, CC0 or in the public domain."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from subpx_ros.errors import DataError

Image = NDArray[np.float32]

PHOTOGRAPHS: dict[str, str] = {
    "astronaut": "NASA, Eileen Collins; public domain",
    "brick": "CC0Textures, Bricks25; CC0",
    "camera": "Lav Varshney; CC0",
    "chelsea": "Stefan van der Walt; CC0",
    "coffee": "Rachel Michetti; CC0",
    "grass": "DeviantArt, linolafett; CC0",
    "gravel": "CC0Textures, Gravel04; CC0",
    "retina": "Haeggstroem, WikiJournal of Medicine 2014; CC0",
    "rocket": "SpaceX; public domain",
}
"""Name in skimage.data, source and licence as scikit-image documents them."""

PICTURES = ("astronaut", "camera", "chelsea", "coffee", "rocket")
"""The photographs of things, for posters and for what windows mirror; the others are surfaces."""


@lru_cache(maxsize=1)
def load_photographs() -> dict[str, Image]:
    """Every photograph as (H, W) float32 grey in [0, 1].

    Raises:
        DataError: the installed scikit-image lacks one of them.
    """
    import cv2
    from skimage import data

    photographs: dict[str, Image] = {}
    for name in PHOTOGRAPHS:
        try:
            pixels = np.asarray(getattr(data, name)())
        except Exception as error:  # skimage raises what its downloader raises, which differs between its versions
            raise DataError(
                f"the rendered street needs the photograph '{name}' inside scikit-image; reading it failed with: "
                f"{' '.join(str(error).split())}: reinstall scikit-image from its wheel"
            ) from error
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
        photographs[name] = np.array(grey, dtype=np.float32) / np.float32(255.0)
    photographs["brick"] = _rectified_brick(photographs["brick"])
    retina = photographs["retina"]
    photographs["retina"] = np.ascontiguousarray(retina[400:1010, 400:1010])
    return photographs


def _rectified_brick(brick: Image) -> Image:
    """The wall seen straight on with level courses: undoes the perspective that scikit-image documents for `brick`."""
    import cv2

    tilted = cv2.resize(np.rot90(brick).copy(), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    straight_to_tilted = np.array([[0.54764, -0.00219, 0.0], [-0.12822, 0.54688, 0.0], [-0.00022, 0.0, 1.0]])
    inner_square = np.array([[2.2, 0.0, 3.0], [0.0, 2.2, 315.0], [0.0, 0.0, 1.0]])
    mapping = straight_to_tilted @ inner_square
    wall = cv2.warpPerspective(tilted, mapping, (590, 590), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(wall, dtype=np.float32)
