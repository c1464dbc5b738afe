"""What the exported stages are given, made of what the stages in PyTorch give each other."""

from __future__ import annotations

import torch

from subpx_ros.datatypes import Features
from subpx_ros.refinement.keypt2subpx import Keypt2SubpxRefiner
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.static.rows import fill_up

Tensors = dict[str, torch.Tensor]


def detector_inputs(features: Features) -> Tensors:
    """`FixedDetector`'s, by name."""
    return {"image": features.image[None, None]}


def matcher_inputs(views: tuple[Features, Features], budget: int) -> Tensors:
    """`FixedMatcher`'s, by name and in order."""
    inputs: Tensors = {}
    for view, features in enumerate(views):
        height, width = features.image.shape
        descriptors = features.descriptors
        if features.descriptor_norms is not None:
            descriptors = descriptors * features.descriptor_norms[:, None]
        inputs |= {
            f"keypoints{view}": fill_up(features.keypoints, budget),
            f"descriptors{view}": fill_up(descriptors, budget),
            f"count{view}": torch.tensor(len(features)),
            f"size{view}": torch.tensor([width, height]),
        }
    return inputs


def refiner_inputs(
    refiner: Refiner, views: tuple[Features, Features], indices: tuple[torch.Tensor, torch.Tensor], budget: int
) -> Tensors:
    """`FixedRefiner`'s, by name and in order, for the matches that the indices (M,) into both views make."""
    layers: list[list[torch.Tensor | None]] = [
        [features.image[None, None] for features in views],
        [fill_up(features.keypoints[index], budget) for features, index in zip(views, indices, strict=True)],
        [fill_up(features.descriptors[index], budget) for features, index in zip(views, indices, strict=True)],
        [features.score_map for features in views],
    ]
    names = ["image", "keypoints"]
    if isinstance(refiner, Keypt2SubpxRefiner):
        names += ["descriptors", "score_map"] if refiner.takes_score_map else ["descriptors"]
    named = zip(names, layers, strict=False)
    return {f"{name}{view}": layer[view] for name, layer in named for view in (0, 1) if layer[view] is not None}  # type: ignore[misc]
