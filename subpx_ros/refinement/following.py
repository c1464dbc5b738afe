"""Points followed into a later view that is known well enough to tell where they are and what they look like there."""

from __future__ import annotations

import torch

from subpx_ros.parallel import each_by_a_thread, slices_for
from subpx_ros.refinement.least_squares import first_patches, follow_least_squares, later_image
from subpx_ros.refinement.patches import FirstPoints

_WORTH_A_THREAD, _BATCH = 256, 4096
"""Points."""


def follow_points(points: FirstPoints, later: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a later image shows points, (M, 2) pixels, and the covariance (M, 2, 2) px^2, infinite where it does not.

    Args:
        points: M of them.
        later: (H, W)
        places: (M, 2) pixels of it, good to a pixel or two.
    """
    if not len(places):
        return places, places.new_zeros(0, 2, 2)
    source = later_image(later)

    def found(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return follow_least_squares(first_patches(points[part]), source, places[part])

    parts = slices_for(len(places), later.device, _BATCH, _WORTH_A_THREAD)
    pixels, covariance = (torch.cat(each) for each in zip(*each_by_a_thread(found, parts), strict=True))
    return pixels, covariance
