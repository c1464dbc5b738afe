"""Least-squares matching: the right point of a rectified pair to a fraction of a pixel, with its covariance.

Gruen, "Adaptive least squares correlation", 1985, in the inverse compositional form of Baker and Matthews, 2004: the
derivatives of the left patch serve every step. A patch moves by a shift along and across the row, and its disparity may
change linearly over it, as that of every plane does; gain and offset of the grey are free. It takes a tenth of the time
of a network, and the two images of a pair, taken at one instant, differ by little else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample

from subpx_ros.refinement.patches import sample_patches

_RADIUS, _SIGMA_PX = 5, 3.0
"""Half the side of the patches, and the width of the Gaussian that weighs their pixels."""
_STEPS = 3
_NOISE = 0.01
"""Standard deviation of the grey, white being 1, when nothing else is known."""
_PRIOR = (3.0, 0.7, 0.15, 0.15)
"""Standard deviations of the shift along and across the row (px) and of the slopes of the disparity (px / px)."""
_TINY = 1e-6
"""Added to contrasts that are divided by: patches may be even."""
_VARIANCE_SCALE = 9.0
"""How much larger squared errors are on exact data than the grey's residuals say, which neighbours share."""


@dataclass(frozen=True)
class RightPoints:
    """What least squares say of N points."""

    places: torch.Tensor
    """(N, 2) pixels of the right image."""
    covariance: torch.Tensor
    """(N, 2, 2) px^2 of them."""
    slope: torch.Tensor
    """(N, 2) by how much the disparity grows with each pixel to the right, and down, in the left image."""


def match_least_squares(
    left: torch.Tensor, right: torch.Tensor, places0: torch.Tensor, places1: torch.Tensor
) -> RightPoints:
    """The second places, moved to where the right image shows what the left shows at the first.

    Args:
        left: (H, W) float32 grey in [0, 1].
        right: the same size; continued by its outermost pixels.
        places0: (N, 2) float32 pixels of the left image.
        places1: (N, 2) float32 pixels of the right one, good to a pixel or two.
    """
    steps = torch.arange(-_RADIUS, _RADIUS + 1.0, device=left.device)
    x, y = steps.repeat(len(steps)), steps.repeat_interleave(len(steps))
    weights = torch.exp(-(x**2 + y**2) / (2.0 * _SIGMA_PX**2))
    root = (weights / weights.sum()).sqrt()
    level, rows = _left_rows(left, places0, x, y, root)
    # Offset and gain of the grey are taken away from sums over the pixels, which are few, instead of from the pixels.
    sums = rows @ root
    products = rows @ rows.transpose(1, 2) - sums[:, :, None] * sums[:, None]
    contrast = products[:, -1, -1].clamp(min=0.0).sqrt()[:, None]
    explained = products[:, :-1, -1] / (contrast + _TINY)
    prior = torch.diag((_NOISE / torch.tensor(_PRIOR, device=left.device)) ** 2)
    inverse = torch.linalg.inv(products[:, :-1, :-1] - explained[:, :, None] * explained[:, None] + prior)

    warp = _warp(x, y)
    moved = places0.new_zeros(len(places0), len(_PRIOR))
    for _ in range(_STEPS):
        seen = (_sampled(right, places1, moved, warp) - level) * root
        mean = (seen @ root)[:, None]
        common = (rows @ seen[:, :, None])[:, :, 0] - sums * mean
        spread = (seen.square().sum(dim=1, keepdim=True) - mean.square()).clamp(min=0.0)
        gain = contrast / (spread.sqrt() + _TINY)
        slope = gain * (common[:, :-1] - explained * common[:, -1:] / (contrast + _TINY)) + moved @ prior
        moved = moved - (inverse @ slope[:, :, None])[:, :, 0]
    residual = contrast.square() + gain.square() * spread - 2.0 * gain * common[:, -1:]
    variance = residual.clamp(min=0.0) + _NOISE**2
    pixels = 4.0 * math.pi * _SIGMA_PX**2
    covariance = (_VARIANCE_SCALE / pixels) * variance[:, :, None] * inverse[:, :2, :2]
    return RightPoints(places1 + moved[:, :2], covariance, -moved[:, 2:])


def _left_rows(
    image: torch.Tensor, places: torch.Tensor, x: torch.Tensor, y: torch.Tensor, root: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The grey (N, 1) in the middle of patches, and (N, 5, P): their derivatives by the four parameters and their grey
    beyond that of the middle, times the roots (P,) of the pixels' weights."""
    patches = sample_patches(image, places, 2 * _RADIUS + 3)
    level = patches[:, _RADIUS + 1, _RADIUS + 1, None]
    by_x = (0.5 * root) * (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]).flatten(1)
    by_y = (0.5 * root) * (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]).flatten(1)
    grey = root * (patches[:, 1:-1, 1:-1].flatten(1) - level)
    return level, torch.stack([by_x, by_y, by_x * x, by_x * y, grey], dim=1)


def _warp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(5, 2 P): what a middle's column and row and three slopes add to column and row of each pixel (P,) of a patch."""
    one, none = torch.ones_like(x), torch.zeros_like(x)
    rows = [(one, none), (x, none), (y, none), (none, one), (none, y)]
    return torch.stack([torch.stack(pair, dim=1).flatten() for pair in rows])


def _sampled(image: torch.Tensor, places: torch.Tensor, moved: torch.Tensor, warp: torch.Tensor) -> torch.Tensor:
    """Patches (N, P) of the image (H, W) at places (N, 2) moved by (N, 4), bilinearly."""
    height, width = image.shape
    middle = places + moved[:, :2]
    # In the units of grid_sample, where the image reaches from -1 to 1.
    column, row = ((2.0 * middle + 1.0) / middle.new_tensor([width, height]) - 1.0).unbind(dim=1)
    across, down = (2.0 / width) * moved[:, 2:], torch.full_like(row, 2.0 / height)
    grid = torch.stack([column, across[:, 0] + 2.0 / width, across[:, 1], row, down], dim=1) @ warp
    return grid_sample(image[None, None], grid.view(1, len(places), -1, 2), padding_mode="border", align_corners=False)[
        0, 0
    ]
