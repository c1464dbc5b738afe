"""The stages as functions of tensors of fixed sizes, which is what can be exported.

A keypoint budget K replaces lists of keypoints of any length: rows beyond the number found are zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import log_softmax, logsigmoid

from subpx_ros.datatypes import Features, Matches
from subpx_ros.features.detector import Detector
from subpx_ros.matching.lightglue import LightGlueMatcher
from subpx_ros.matching.matcher import Matcher
from subpx_ros.matching.mutual_nn import MutualNearestNeighbours, mutual_nearest
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.static.rows import fill_up

_NEVER = -1e4
"""A similarity whose exponential is zero, but which two rows can share without becoming undefined."""


class FixedDetector(nn.Module):
    """Image (1, 1, H, W) in [0, 1] to keypoints, scores, descriptors, count and what else the detector gives."""

    def __init__(self, detector: Detector, budget: int) -> None:
        super().__init__()
        self._detector, self._budget = detector, budget
        self.networks = _networks_of(detector)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (features,) = self._detector._detect(image[:, 0])
        return fixed_features(features, self._budget)


def fixed_features(features: Features, budget: int) -> tuple[torch.Tensor, ...]:
    """Keypoints (K, 2), scores (K), descriptors (K, D), count (), then norms (K) and score map (H, W) where there are."""
    rows = [features.keypoints, features.scores, features.descriptors]
    filled = [fill_up(values, budget) for values in rows]
    count = torch.ones_like(features.scores, dtype=torch.int64).sum()
    norms = [] if features.descriptor_norms is None else [fill_up(features.descriptor_norms, budget)]
    return (*filled, count, *norms, *([] if features.score_map is None else [features.score_map]))


class FixedMatcher(nn.Module):
    """Two fixed sets of features to the index (K) int64 of each first one's partner, -1 for none, and its score (K)."""

    def __init__(self, matcher: Matcher) -> None:
        super().__init__()
        self._matcher = matcher
        self.networks = _networks_of(matcher)

    def forward(
        self,
        keypoints0: torch.Tensor,
        descriptors0: torch.Tensor,
        count0: torch.Tensor,
        size0: torch.Tensor,
        keypoints1: torch.Tensor,
        descriptors1: torch.Tensor,
        count1: torch.Tensor,
        size1: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            keypoints0: (K, 2) pixels.
            descriptors0: (K, D), times their norms where the detector gives norms.
            count0: () int64, how many of them there are.
            size0: (2,) int64 width and height of the image.
            keypoints1: as of the first view, and so on.
        """
        rows = torch.arange(len(keypoints0), device=keypoints0.device)
        valid0, valid1 = rows < count0, rows < count1
        pairs = valid0[:, None] & valid1
        if isinstance(self._matcher, MutualNearestNeighbours):
            found = self._matcher.among(descriptors0 @ descriptors1.T, pairs)
        elif isinstance(self._matcher, LightGlueMatcher):
            views = (keypoints0, descriptors0, size0, valid0), (keypoints1, descriptors1, size1, valid1)
            confidences = _assignment(self._matcher.network, *views).masked_fill(~pairs, 0.0)
            found = mutual_nearest(confidences, self._matcher.network.conf.filter_threshold)
        partners = torch.full_like(rows, -1).scatter(0, found.indices0, found.indices1)
        scores = torch.zeros_like(descriptors0[:, 0]).scatter(0, found.indices0, found.scores)
        return partners, scores


def _assignment(network: Any, view0: tuple[torch.Tensor, ...], view1: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Confidences (K, K) of all pairs by all layers of a LightGlue; each view: keypoints, descriptors, size, valid."""
    from kornia.feature.lightglue import normalize_keypoints

    encodings, states, masks = [], [], []
    for keypoints, descriptors, size, valid in (view0, view1):
        encodings.append(network.posenc(normalize_keypoints(keypoints[None], size[None])))
        states.append(network.input_proj(descriptors[None]))
        masks.append(valid[None, :, None])
    for layer in network.transformers:
        states = list(layer(*states, *encodings, mask0=masks[0], mask1=masks[1]))
    last = network.log_assignment[-1]
    projected = [last.final_proj(state)[0] / last.dim**0.25 for state in states]
    similarity = (projected[0] @ projected[1].T).masked_fill(~(masks[0] & masks[1].mT)[0], _NEVER)
    matchable = [logsigmoid(last.matchability(state))[0] for state in states]
    logarithm = log_softmax(similarity, dim=1) + log_softmax(similarity, dim=0) + matchable[0] + matchable[1].T
    return logarithm.exp()


class FixedRefiner(nn.Module):
    """Matched keypoints of two images to refined ones (K, 2) of both, and covariances (K, 2, 2) where predicted."""

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self._refiner = refiner
        self.networks = _networks_of(refiner)

    def forward(
        self,
        image0: torch.Tensor,
        image1: torch.Tensor,
        keypoints0: torch.Tensor,
        keypoints1: torch.Tensor,
        descriptors0: torch.Tensor | None = None,
        descriptors1: torch.Tensor | None = None,
        score_map0: torch.Tensor | None = None,
        score_map1: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """
        Args:
            image0: (1, 1, H, W) in [0, 1].
            image1: the same of the second view, of its own size.
            keypoints0: (K, 2) pixels, one row a match.
            keypoints1: (K, 2) pixels.
            descriptors0: (K, D) of unit length, for a refiner that takes them.
            descriptors1: of the second view.
            score_map0: (H, W), for a refiner that takes it.
            score_map1: of the second view.
        """
        rows = torch.arange(len(keypoints0), device=keypoints0.device)
        unused = keypoints0.new_zeros(len(keypoints0))
        views = [
            Features(keypoints, unused, keypoints if descriptors is None else descriptors, image[0, 0], score_map)
            for keypoints, descriptors, image, score_map in (
                (keypoints0, descriptors0, image0, score_map0),
                (keypoints1, descriptors1, image1, score_map1),
            )
        ]
        refinement = self._refiner._refine(views[0], views[1], Matches(rows, rows, unused))
        covariance = [] if refinement.covariance1 is None else [refinement.covariance1]
        return (refinement.refined0, refinement.refined1, *covariance)


def _networks_of(stage: object) -> nn.ModuleList:
    """The networks of a stage, made known to the module that is exported."""
    return nn.ModuleList(value for value in vars(stage).values() if isinstance(value, nn.Module))
