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
    weights = weights / weights.sum()
    template, jacobian = _linearised(left, places0, x, y, weights)
    weighted = jacobian * weights
    prior = torch.diag((_NOISE / torch.tensor(_PRIOR, device=left.device)) ** 2)
    inverse = torch.linalg.inv(weighted @ jacobian.transpose(1, 2) + prior)
    contrast = _contrast(template, weights)

    moved = places0.new_zeros(len(places0), len(_PRIOR))
    for _ in range(_STEPS):
        along = places1[:, :1] + moved[:, :1] + x * (1.0 + moved[:, 2:3]) + y * moved[:, 3:4]
        seen = _centred(_sampled(right, along, places1[:, 1:] + moved[:, 1:2] + y), weights)
        residuals = seen * (contrast / (_contrast(seen, weights) + 1e-6)) - template
        slope = (weighted @ residuals[:, :, None])[:, :, 0] + moved @ prior
        moved = moved - (inverse @ slope[:, :, None])[:, :, 0]
    variance = (residuals**2 * weights).sum(dim=1) + _NOISE**2
    pixels = 4.0 * math.pi * _SIGMA_PX**2
    covariance = (_VARIANCE_SCALE / pixels) * variance[:, None, None] * inverse[:, :2, :2]
    return RightPoints(places1 + moved[:, :2], covariance, -moved[:, 2:])


def _linearised(
    image: torch.Tensor, places: torch.Tensor, x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (N, P) of zero mean, and their derivatives (N, 4, P) without what gain and offset could explain."""
    patches = sample_patches(image, places, 2 * _RADIUS + 3)
    by_x = 0.5 * (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]).flatten(1)
    by_y = 0.5 * (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]).flatten(1)
    jacobian = torch.stack([by_x, by_y, by_x * x, by_x * y], dim=1)
    template = _centred(patches[:, 1:-1, 1:-1].flatten(1), weights)
    unit = (template / (_contrast(template, weights) + 1e-6))[:, None]
    jacobian = _centred(jacobian, weights)
    return template, jacobian - unit * (jacobian * unit * weights).sum(dim=2, keepdim=True)


def _centred(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return values - (values @ weights)[..., None]


def _contrast(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N, 1) weighted standard deviation of values (N, P) of zero mean."""
    return (values**2 @ weights).sqrt()[:, None]


def _sampled(image: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The image (H, W) at positions (N, P), bilinearly."""
    height, width = image.shape
    grid = torch.stack([(2.0 * columns + 1.0) / width - 1.0, (2.0 * rows + 1.0) / height - 1.0], dim=-1)
    return grid_sample(image[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
