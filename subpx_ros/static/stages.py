"""XFeat, mutual nearest neighbours and the refiner `subpx` in fixed shapes: always as many rows as there may be keypoints.

They find what the stages with lists of any length find (tests hold them equal); rows without a keypoint or a match are
masked. As no shape depends on what an image shows, each is recorded on a GPU, and asks it for one number or mask at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn.functional import normalize

from subpx_ros.datatypes import Features, Matches
from subpx_ros.features.detector import Detector, local_maxima
from subpx_ros.features.xfeat import NMS_RADIUS, XFeatDetector, sample
from subpx_ros.matching.matcher import Matcher
from subpx_ros.matching.mutual_nn import MutualNearestNeighbours, best_in_blocks, chosen_matches
from subpx_ros.refinement.least_squares import first_patches, follow_least_squares, later_image
from subpx_ros.refinement.patches import FirstPoints, PatchSource
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.refinement.subpx import (
    Pair,
    Refined,
    SubpxRefiner,
    finely,
    from_coarse,
    refine_second,
    where_inside,
)
from subpx_ros.refinement.subpx_network import PATCH_SIZE, SubpxNetwork
from subpx_ros.static.capture import Captured, Tensors
from subpx_ros.static.rows import fill_up, rows_for


def in_fixed_size(
    detector: Detector, matcher: Matcher, refiner: Refiner, report: Callable[[str], None]
) -> tuple[Detector, Matcher, Refiner]:
    """The same stages in fixed shapes, those that have such a form; the others as they are."""
    if isinstance(detector, XFeatDetector):
        detector = FixedSizeXFeat(detector, report)
    if isinstance(matcher, MutualNearestNeighbours):
        matcher = FixedSizeMutualNearest(matcher, detector, report)
    if isinstance(refiner, SubpxRefiner):
        refiner = FixedSizeSubpx(refiner, detector, report)
    return detector, matcher, refiner


class FixedSizeXFeat(XFeatDetector):
    """The keypoints of an XFeatDetector."""

    def __init__(self, detector: XFeatDetector, report: Callable[[str], None]) -> None:
        Detector.__init__(self, detector._config, detector._device, report)
        self._network = detector._network
        self._recorded = Captured("XFeat", self.found, report)

    def _detect(self, images: torch.Tensor) -> list[Features]:
        keypoints, scores, descriptors, valid = self._recorded(
            images, budget=self._config.max_keypoints, threshold=self._config.detection_threshold
        )
        rows = zip(images, keypoints, scores, descriptors, valid.sum(dim=1).tolist(), strict=True)
        return [Features(at[:count], score[:count], each[:count], image) for image, at, score, each, count in rows]

    def found(self, images: torch.Tensor, *, budget: int, threshold: float) -> Tensors:
        """Keypoints (B, K, 2), the best first, scores (B, K), descriptors (B, K, 64) and which of them there are (B, K), of
        images (B, H, W) float32 in [0, 1]."""
        height, width = images.shape[1:]
        descriptors, heat, reliability = self._maps(images)
        rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
        pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=2).view(1, -1, 2).float()
        everywhere = sample(reliability, pixels.expand(len(images), -1, -1), "bilinear")[..., 0]
        no_keypoint = ~local_maxima(heat, NMS_RADIUS, threshold).flatten(1)
        scores = (heat.flatten(1) * everywhere).masked_fill(no_keypoint, 0.0)
        best, places = scores.topk(min(budget, scores.shape[1]), dim=1)
        valid = best > 0.0
        keypoints = torch.stack([places % width, places.div(width, rounding_mode="floor")], dim=2).float()
        return keypoints, best, normalize(sample(descriptors, keypoints, "bicubic"), dim=2), valid


class FixedSizeMutualNearest(MutualNearestNeighbours):
    """The matches of MutualNearestNeighbours; a ratio test is made in its way."""

    def __init__(self, matcher: Matcher, detector: Detector, report: Callable[[str], None]) -> None:
        super().__init__(matcher._config, detector, matcher._device, report)
        self._detector = detector
        self._recorded = Captured("mutual_nn", nearest, report)

    def _match(self, features0: Features, features1: Features) -> Matches:
        if self._config.max_ratio < 1.0:
            return super()._match(features0, features1)
        inputs = []
        for features in (features0, features1):
            count = rows_for(len(features), self._detector)
            valid = torch.arange(count, device=features.descriptors.device) < len(features)
            inputs += [fill_up(features.descriptors, count), valid]
        return chosen_matches(*self._recorded(*inputs, least=self._config.min_similarity))


def nearest(
    descriptors0: torch.Tensor,
    valid0: torch.Tensor,
    descriptors1: torch.Tensor,
    valid1: torch.Tensor,
    *,
    least: float,
) -> Tensors:
    """`best_in_blocks` among the descriptors (K, D) that are valid (K,)."""

    def allowed(rows: slice, columns: slice) -> torch.Tensor:
        return valid0[rows, None] & valid1[columns]

    return best_in_blocks(descriptors0, descriptors1, least, allowed)


class FixedSizeSubpx(SubpxRefiner):
    """What SubpxRefiner makes of matches. First patches that lie in several views are cut out for each of them, unrecorded."""

    def __init__(self, refiner: SubpxRefiner, detector: Detector, report: Callable[[str], None]) -> None:
        self._network = refiner._network
        self._detector = detector
        self._record_second = Captured("subpx", partial(second_of_any_views, self._network), report)
        self._record_alike = Captured("subpx among frames", partial(second_of_alike_views, self._network), report)
        self._record_follow = Captured("least squares of subpx", followed, report)

    def _second(self, keypoints: Pair, images: Pair) -> Refined:
        return self._of_rows(self._record_second, keypoints, images)

    def _alike(self, points: FirstPoints, keypoints1: torch.Tensor, second: torch.Tensor) -> Refined:
        refined = self._of_rows(self._record_alike, (points.patches(PATCH_SIZE), keypoints1), (second,))
        return where_inside(refined, (points.keypoints, keypoints1), (points.images[0], second))

    def _follow(self, points: FirstPoints, later: torch.Tensor, places: torch.Tensor) -> Refined:
        return self._of_rows(self._record_follow, (first_patches(points), places), (later,))

    def _of_rows(self, recorded: Captured, rows: Tensors, images: Tensors) -> Refined:
        """Places and covariances of M matches, from values (M, ...) of each and from images."""
        matches = len(rows[0])
        count = rows_for(matches, self._detector)
        places, covariances = recorded(*(fill_up(each, count) for each in rows), *images)
        return places[:matches], covariances[:matches]


def second_of_any_views(
    network: SubpxNetwork,
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    image0: torch.Tensor,
    image1: torch.Tensor,
) -> Refined:
    """`refine_second` of keypoints (K, 2)."""
    return refine_second(network, (keypoints0, keypoints1), (image0, image1))


def second_of_alike_views(
    network: SubpxNetwork, patches0: torch.Tensor, keypoints1: torch.Tensor, second: torch.Tensor
) -> Refined:
    """`refine_alike` of first patches (K, 21, 21): the fine stage looks at all of them, and counts where it is needed."""
    source1 = PatchSource(second, PATCH_SIZE)
    (places, covariance), missed, rough = from_coarse(network, patches0, source1, keypoints1, second)
    fine, vague = finely(network, patches0, source1, keypoints1, rough)
    return torch.where(missed[:, None], fine, places), torch.where(missed[:, None, None], vague, covariance)


def followed(patches0: torch.Tensor, places: torch.Tensor, later: torch.Tensor) -> Refined:
    """`follow_least_squares` of first patches (K, 17, 17) in an image (H, W)."""
    return follow_least_squares(patches0, later_image(later), places)
