"""What training minimises."""

from __future__ import annotations

import numpy as np
import torch

from subpx_ros.datatypes import Array, Camera
from subpx_ros.refinement.subpx_network import unpack_whitening

_SMOOTH_PX = 0.03
_FARTHEST_SIGMAS = 10.0
_EARLY_STAGE_WEIGHT = 0.5
_COVARIANCE_WEIGHT = 0.05


def squared_sampson_px(
    E: Array, keypoints0: torch.Tensor, keypoints1: torch.Tensor, camera0: Camera, camera1: Camera
) -> torch.Tensor:
    """Squared Sampson distance (N,) float64 in square pixels. Hartley and Zisserman, 2nd edition, eq. 11.9.

    Args:
        E: (3, 3) with x1' E x0 = 0 for normalised coordinates.
        keypoints0: (N, 2) pixels.
        keypoints1: (N, 2) pixels.
        camera0: of keypoints0.
        camera1: of keypoints1.
    """
    F = np.linalg.inv(camera1.matrix).T @ E @ np.linalg.inv(camera0.matrix)
    # Pixels squared times a fundamental matrix lose too many digits in single precision.
    fundamental = torch.from_numpy(F).to(keypoints0.device)
    h0, h1 = (torch.nn.functional.pad(points.double(), (0, 1), value=1.0) for points in (keypoints0, keypoints1))
    line1, line0 = h0 @ fundamental.T, h1 @ fundamental
    gradient = line1[:, :2].square().sum(dim=1) + line0[:, :2].square().sum(dim=1)
    return (h1 * line1).sum(dim=1).square() / gradient.clamp_min(torch.finfo(torch.float64).tiny)


def clamped_sampson_loss(
    E: Array,
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    camera0: Camera,
    camera1: Camera,
    threshold_px: float,
) -> torch.Tensor:
    """Mean over the matches of the squared Sampson distance, clamped at the square of `threshold_px`, square pixels.

    Matches beyond the threshold have no gradient. Kim, Pollefeys and Barath, ECCV 2024. Arguments as those of
    `squared_sampson_px`, at least one match.
    """
    return squared_sampson_px(E, keypoints0, keypoints1, camera0, camera1).clamp_max(threshold_px**2).mean()


def end_point_loss(errors: torch.Tensor) -> torch.Tensor:
    """Mean length of end-point errors (N, 2) in pixels, smooth within a few hundredths of a pixel of zero."""
    return (errors.square().sum(dim=1) + _SMOOTH_PX**2).sqrt().mean()


def covariance_loss(errors: torch.Tensor, whitening: torch.Tensor) -> torch.Tensor:
    """Mean negative logarithm, but for a constant, of the normal density that `whitening` gives the errors.

    The errors (N, 2) count as given: only the covariance learns from this, so that matches that cannot be located do
    not stop the shift from being learned. Far outliers count as errors of ten sigma.

    Args:
        errors: (N, 2) end-point errors, pixels.
        whitening: (N, 3) as `subpx_ros.refinement.subpx.Estimate` has it.
    """
    u00, u01, u11 = unpack_whitening(whitening)
    x, y = errors.detach().unbind(dim=1)
    squared = (u00 * x + u01 * y).square() + (u11 * y).square()
    return (0.5 * squared.clamp_max(_FARTHEST_SIGMAS**2) - (u00 * u11).log()).mean()


def refinement_loss(stages: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """What our own refiner minimises: the end-point error after every stage, and the last one's covariance.

    Args:
        stages: per stage the end-point errors (N, 2), pixels, and the whitening (N, 3); at least one match.
    """
    last_errors, last_whitening = stages[-1]
    early = sum((end_point_loss(errors) for errors, _ in stages[:-1]), last_errors.new_zeros(()))
    covariance = covariance_loss(last_errors, last_whitening)
    return end_point_loss(last_errors) + _EARLY_STAGE_WEIGHT * early + _COVARIANCE_WEIGHT * covariance
