"""subpx: our own refiner. It moves the second keypoint of a match to where it sees the same place as the first.

Of any two views, a network tells where that is (`subpx_network.py`). In views of one drive, which look alike, least squares
are more exact and faster: on patches that are warped as they should look, where depth and a rough pose tell that, and else
from where the network's coarse stage points; the fine stage has what they do not find. The first keypoint stays, so that
tracks and stereo pairs keep their reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from subpx_ros import weights
from subpx_ros.config import RefinementConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.parallel import each_by_a_thread, slices_for
from subpx_ros.refinement.following import follow_points
from subpx_ros.refinement.least_squares import match_deformed, of_first_patch
from subpx_ros.refinement.patches import FirstPoints, PatchSource
from subpx_ros.refinement.refiner import DETECTED_PX2, Refinement, Refiner, keypoints_in
from subpx_ros.refinement.subpx_network import PATCH_SIZE, SubpxNetwork

_BATCH_CPU, _BATCH_GPU = 512, 8192
_WORTH_A_THREAD = 64
"""Matches."""
_FARTHEST_PX = 2.0
"""A point that least squares find farther from where it is predicted, or do not find, is hidden, or moves: it stays where it
was detected."""
_FARTHEST_FROM_COARSE_PX = 1.5
"""The same from where the coarse stage points; the fine stage says then where it is."""

Pair = tuple[torch.Tensor, torch.Tensor]
"""The same of the first and of the second view."""
Refined = tuple[torch.Tensor, torch.Tensor]
"""Second keypoints (M, 2) px and their covariances (M, 2, 2) px^2."""


class SubpxRefiner(Refiner):
    """Refines the second keypoint of every match, with a covariance, for any detector."""

    name = "subpx"

    def __init__(self, config: RefinementConfig, device: torch.device, report: Callable[[str], None]) -> None:
        # Channels last, so that products of features read memory in a row.
        self._network = SubpxNetwork().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        tensors, source = weights.load_chosen(config.weights, "subpx", report)
        weights.load_into(self._network, tensors, source)

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        if matches.predicted is not None:
            number = torch.zeros(len(matches), dtype=torch.long)
            return self._refine_tracked([features0], number, features1, matches)
        keypoints0 = features0.keypoints[matches.indices0]
        keypoints1 = features1.keypoints[matches.indices1]
        return Refinement(keypoints0, *self._second((keypoints0, keypoints1), (features0.image, features1.image)))

    def _refine_tracked(
        self, firsts: Sequence[Features], number: torch.Tensor, features1: Features, matches: Matches
    ) -> Refinement:
        predicted = matches.predicted
        if predicted is None:
            return super()._refine_tracked(firsts, number, features1, matches)
        keypoints0 = keypoints_in(firsts, number, matches.indices0)
        keypoints1 = features1.keypoints[matches.indices1]
        points = FirstPoints([view.image for view in firsts], number, keypoints0, predicted.warps)
        second = features1.image

        if predicted.places is None:
            return Refinement(keypoints0, *self._alike(points, keypoints1, second))
        told = predicted.places.isfinite().all(dim=1)
        # Asked before the rest is computed, so that nobody waits for that.
        untold = (~told).cpu().nonzero()[:, 0]
        places = torch.where(told[:, None], predicted.places, keypoints1)
        refined1, covariance1 = self._follow(points, second, places)
        good = (refined1 - places).norm(dim=1) < _FARTHEST_PX
        good &= covariance1[:, 0, 0].isfinite()
        refined1, covariance1 = _where(good, (refined1, covariance1), keypoints1)
        if len(untold):
            chosen = untold.to(keypoints0.device)
            refined1[chosen], covariance1[chosen] = self._alike(points[untold], keypoints1[chosen], second)
        return Refinement(keypoints0, refined1, covariance1)

    def _second(self, keypoints: Pair, images: Pair) -> Refined:
        """`refine_second` by this refiner's network."""
        return refine_second(self._network, keypoints, images)

    def _alike(self, points: FirstPoints, keypoints1: torch.Tensor, second: torch.Tensor) -> Refined:
        """`refine_alike` by this refiner's network."""
        return refine_alike(self._network, points, keypoints1, second)

    def _follow(self, points: FirstPoints, later: torch.Tensor, places: torch.Tensor) -> Refined:
        """`follow_points`."""
        return follow_points(points, later, places)


def refine_second(network: SubpxNetwork, keypoints: Pair, images: Pair) -> Refined:
    """The second keypoints of any two views, by the network.

    Beyond its border an image counts as continued by its outermost pixels. A match with a keypoint outside of its
    image is left as it is.

    Args:
        network: the refiner's network.
        keypoints: (M, 2) of either view, pixels.
        images: (H, W) of either view, grey in [0, 1].
    """
    source0, source1 = (PatchSource(image, PATCH_SIZE) for image in images)

    def refine(part: slice) -> Refined:
        patches0 = source0.sample(keypoints[0][part], PATCH_SIZE)
        last = network(patches0, partial(_sample_moved, source1, keypoints[1][part]))[-1]
        return keypoints[1][part] + last.shift, network.covariances(last.whitening)

    return _in_parts(refine, keypoints, images)


def refine_alike(network: SubpxNetwork, points: FirstPoints, keypoints1: torch.Tensor, second: torch.Tensor) -> Refined:
    """As `refine_second`, of matches between earlier views and one of the same drive.

    Args:
        network: the refiner's network.
        points: M of the earlier views.
        keypoints1: (M, 2) pixels of the second view.
        second: (H, W)
    """
    source1 = PatchSource(second, PATCH_SIZE)

    def refine(part: slice) -> Refined:
        patches0, detected1 = points[part].patches(PATCH_SIZE), keypoints1[part]
        (places, covariance), missed, rough = from_coarse(network, patches0, source1, detected1, second)
        rest = missed.nonzero()[:, 0]
        if len(rest):
            told = rough[0][rest], rough[1][rest]
            places[rest], covariance[rest] = finely(network, patches0[rest], source1, detected1[rest], told)
        return places, covariance

    return _in_parts(refine, (points.keypoints, keypoints1), (points.images[0], second))


def from_coarse(
    network: SubpxNetwork, patches0: torch.Tensor, source1: PatchSource, detected1: torch.Tensor, second: torch.Tensor
) -> tuple[Refined, torch.Tensor, Pair]:
    """What least squares find from where the coarse stage points, which of it (M,) is not to be believed, and what that stage
    tells the fine one.

    Args:
        network: the refiner's network.
        patches0: (M, 21, 21) as the second view is expected to show them.
        source1: the second view, for patches of that size.
        detected1: (M, 2) pixels of it.
        second: (H, W) itself.
    """
    coarse, context = network.roughly(patches0, partial(_sample_moved, source1, detected1))
    start = detected1 + coarse
    places, covariance = match_deformed(of_first_patch(patches0), second, start)
    missed = (places - start).norm(dim=1) > _FARTHEST_FROM_COARSE_PX
    missed |= covariance[:, 0, 0].isinf()
    return (places, covariance), missed, (coarse, context)


def finely(
    network: SubpxNetwork, patches0: torch.Tensor, source1: PatchSource, detected1: torch.Tensor, rough: Pair
) -> Refined:
    """What the fine stage makes of that; arguments as of `from_coarse`."""
    last = network.finely(patches0, partial(_sample_moved, source1, detected1), *rough)[-1]
    return detected1 + last.shift, network.covariances(last.whitening)


def _in_parts(refine: Callable[[slice], Refined], keypoints: Pair, images: Pair) -> Refined:
    """What `refine` makes of all matches; those with a keypoint outside of its image stay as they are."""
    device = images[1].device
    largest = _BATCH_CPU if device.type == "cpu" else _BATCH_GPU
    parts = slices_for(len(keypoints[0]), device, largest, _WORTH_A_THREAD)
    places, covariances = (torch.cat(each) for each in zip(*each_by_a_thread(refine, parts), strict=True))
    return where_inside((places, covariances), keypoints, images)


def where_inside(refined: Refined, keypoints: Pair, images: Pair) -> Refined:
    """What was refined where both keypoints lie in their images, else the second ones as detected."""
    inside = _inside(images[0], keypoints[0]) & _inside(images[1], keypoints[1])
    return _where(inside, refined, keypoints[1])


def _where(good: torch.Tensor, refined: Refined, detected1: torch.Tensor) -> Refined:
    """What was refined where that is good (M,), else the keypoints (M, 2) as detected."""
    unknown = DETECTED_PX2 * torch.eye(2, device=detected1.device)
    return (
        torch.where(good[:, None], refined[0], detected1),
        torch.where(good[:, None, None], refined[1], unknown),
    )


def _sample_moved(source: PatchSource, keypoints: torch.Tensor, shift: torch.Tensor, size: int) -> torch.Tensor:
    return source.sample(keypoints + shift, size)


def _inside(image: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    height, width = image.shape
    x, y = keypoints.unbind(dim=1)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
