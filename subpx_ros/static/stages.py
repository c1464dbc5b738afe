"""XFeat, mutual nearest neighbours and the refiner `subpx` with a fixed keypoint budget K and masks.

They find what the stages with lists of any length find (tests hold them equal); rows without a keypoint or a match are
masked. No shape depends on what an image shows, so that a GPU can be given all of it without waiting in between.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import grid_sample, normalize, pixel_shuffle, softmax

from subpx_ros.config import MatchingConfig
from subpx_ros.features.detector import local_maxima, pad_to_multiple
from subpx_ros.features.xfeat import _CELL, _NMS_RADIUS, _STRIDE, XFeatDetector
from subpx_ros.refinement.subpx import refine_second
from subpx_ros.refinement.subpx_network import SubpxNetwork
from subpx_ros.static.capture import Tensors

_NEVER = -2.0
"""Below every cosine similarity."""


class StaticFeatures(NamedTuple):
    """Of B images."""

    keypoints: torch.Tensor
    """(B, K, 2) float32 pixels, the best first; zeros where there is none."""
    scores: torch.Tensor
    """(B, K) float32; zero where there is none."""
    descriptors: torch.Tensor
    """(B, K, D) of unit length."""
    valid: torch.Tensor
    """(B, K) bool."""


class StaticMatches(NamedTuple):
    """Of B pairs of views; one row for each keypoint of the first."""

    partner: torch.Tensor
    """(B, K) int64 into the second view; meaningless where not valid."""
    scores: torch.Tensor
    """(B, K) cosine similarity."""
    valid: torch.Tensor
    """(B, K) bool."""


class StaticXFeat:
    """The keypoints of an XFeatDetector, at most `budget` of each image."""

    def __init__(self, detector: XFeatDetector, budget: int, threshold: float) -> None:
        self._network = detector._network
        self._budget = budget
        self._threshold = threshold

    def __call__(self, images: torch.Tensor) -> Tensors:
        """StaticFeatures of images (B, H, W) uint8."""
        grey = images.float() / 255.0
        height, width = grey.shape[1:]
        descriptors, logits, reliability = self._network(pad_to_multiple(grey[:, None], _STRIDE))
        heat = pixel_shuffle(softmax(logits.float(), dim=1)[:, : _CELL * _CELL], _CELL)[..., :height, :width]
        mask = local_maxima(heat, _NMS_RADIUS, self._threshold)
        # Scalars are filled in, as torch.where would send them to the GPU and wait.
        scores = (heat * _everywhere(reliability.float(), height, width)).masked_fill(~mask, 0.0)
        # An even image has no maxima that mean anything.
        even = grey.flatten(1).amax(dim=1) == grey.flatten(1).amin(dim=1)
        flat = scores.flatten(1).masked_fill(even[:, None], 0.0)
        best, places = flat.topk(min(self._budget, flat.shape[1]), dim=1)
        valid = best > 0.0
        places = places.masked_fill(~valid, 0)
        keypoints = torch.stack([places % width, places.div(width, rounding_mode="floor")], dim=2).float()
        grid = _grid(keypoints, descriptors)
        sampled = grid_sample(descriptors.float(), grid[:, :, None], mode="bicubic", align_corners=False)
        return StaticFeatures(keypoints, best, normalize(sampled[..., 0].transpose(1, 2), dim=2), valid)


def _grid(keypoints: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """As XFeatDetector reads its maps (B, C, h, w) at keypoints (B, N, 2)."""
    height, width = _CELL * maps.shape[-2], _CELL * maps.shape[-1]
    x, y = keypoints.unbind(dim=-1)
    return torch.stack([2.0 * x / width - 1.0, 2.0 * y / height - 1.0], dim=-1)


def _everywhere(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A map (B, 1, h, w) read at every pixel, (B, 1, H, W)."""
    rows, columns = torch.arange(height, device=maps.device), torch.arange(width, device=maps.device)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2).float().view(1, -1, 2)
    grid = _grid(pixels, maps).view(1, height, width, 2).expand(len(maps), -1, -1, -1)
    return grid_sample(maps, grid, mode="bilinear", align_corners=False)


def mutual_nearest(
    first: StaticFeatures, second: StaticFeatures, least: float, allowed: torch.Tensor | None = None
) -> StaticMatches:
    """Each other's nearest with more than the least similarity, of the pairs that are `allowed` (B, K, K)."""
    similarity = first.descriptors @ second.descriptors.transpose(1, 2)
    possible = first.valid[:, :, None] & second.valid[:, None, :]
    if allowed is not None:
        possible = possible & allowed
    similarity = similarity.masked_fill(~possible, _NEVER)
    best, partner = similarity.max(dim=2)
    back = similarity.argmax(dim=1).gather(1, partner)
    own = torch.arange(partner.shape[1], device=partner.device)
    return StaticMatches(partner, best, (back == own) & (best > max(least, -1.0)))


def along_rows(left: StaticFeatures, right: StaticFeatures, max_row_px: float, least_px: torch.Tensor) -> torch.Tensor:
    """(B, K, K) which left-right pairs a rectified pair allows: rows that far apart at most, disparity at least that."""
    difference = left.keypoints[:, :, None] - right.keypoints[:, None]
    return (difference[..., 1].abs() <= max_row_px) & (difference[..., 0] >= least_px)


def refine(
    network: SubpxNetwork,
    first: StaticFeatures,
    second: StaticFeatures,
    matches: StaticMatches,
    images: tuple[torch.Tensor, torch.Tensor],
) -> Tensors:
    """Refined second keypoints (B, K, 2) and covariances (B, K, 2, 2) of every row, the masked ones included.

    `images` are (B, H, W) uint8 of both views.
    """
    partners = second.keypoints.gather(1, matches.partner[..., None].expand(-1, -1, 2))
    refined = [
        refine_second(network, (points0, points1), (image0.float() / 255.0, image1.float() / 255.0))
        for points0, points1, image0, image1 in zip(first.keypoints, partners, *images, strict=True)
    ]
    points, covariances = zip(*refined, strict=True)
    return torch.stack(points), torch.stack(covariances)


class StaticStereoStep:
    """A stereo frame and its reference to everything that a metric pose needs; tensors in, tensors out, no host between."""

    def __init__(self, detector: StaticXFeat, network: SubpxNetwork, config: MatchingConfig) -> None:
        self._detector = detector
        self._network = network
        self._config = config

    def describe(self, images: torch.Tensor, least_px: torch.Tensor) -> Tensors:
        """Of (2, H, W) uint8 left and right: the left StaticFeatures (of one image), disparity (1, K) and its variance.

        Disparities are NaN where there is none. `least_px` () is the disparity that a match must reach.
        """
        found = StaticFeatures(*self._detector(images))
        left, right = (StaticFeatures(*(values[side : side + 1] for values in found)) for side in (0, 1))
        allowed = along_rows(left, right, self._config.max_row_difference_px, least_px)
        matches = mutual_nearest(left, right, self._config.min_similarity, allowed)
        refined, covariance = refine(self._network, left, right, matches, (images[:1], images[1:]))
        difference = left.keypoints - refined
        kept = matches.valid & (difference[..., 1].abs() <= self._config.max_row_difference_px)
        disparity = difference[..., 0].masked_fill(~kept, float("nan"))
        return (*left, disparity, covariance[..., 0, 0])

    def relate(
        self, before: StaticFeatures, now: StaticFeatures, image_before: torch.Tensor, image_now: torch.Tensor
    ) -> Tensors:
        """Partner (1, K), score, valid, refined second keypoint (1, K, 2) and covariance of the reference's keypoints."""
        matches = mutual_nearest(before, now, self._config.min_similarity)
        refined, covariance = refine(self._network, before, now, matches, (image_before, image_now))
        return (*matches, refined, covariance)
