"""subpx: our own refiner. It moves the second keypoint of a match to where it sees the same place as the first.

Patches are sampled bilinearly at the true sub-pixel positions, so one network serves every detector. The coarse stage
describes every second pixel of both patches and correlates the middle of the first with all of the second; a head reads
the shift. The fine stage samples the second patch again where the coarse one pointed, describes every pixel, and
correlates a large template at the nine shifts of up to a pixel; then it does so once more from where it pointed itself,
and a second head reads how sure it is. Either stage also correlates the first patch with itself, which tells how sharp
a match could be at all. The first keypoint stays, so that tracks and stereo pairs keep their reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import relu

from subpx_ros import weights
from subpx_ros.config import RefinementConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.parallel import each_by_a_thread, slices_for
from subpx_ros.refinement.following import follow_points
from subpx_ros.refinement.patches import PatchSource, sample_warped_from
from subpx_ros.refinement.refiner import Refinement, Refiner

PATCH_SIZE = 21
"""Side of the patches of the coarse stage, which leave maps of 7x7 features, 2 px apart."""
_COARSE_MAP, _COARSE_TEMPLATE = 7, 3
_FINE_TEMPLATE, _FINE_REACH = 9, 1
_FINE_MAP = _FINE_TEMPLATE + 2 * _FINE_REACH
_FINE_SIZE = _FINE_MAP + 6
FINE_RUNS = 2
_CHANNELS, _WINDOWS = 16, 8
_HIDDEN = (128, 64)
_NOISE_FLOOR = 0.01
"""Added to a patch's standard deviation, grey in [0, 1]: noise on an even surface stays noise."""
_LOG_SHARPNESS = (-3.0, 5.0)
"""Bounds of the logarithm of 1 / standard deviation: 20 to 0.007 px."""
_UNKNOWN_VARIANCE = 9.0
"""px^2, per axis: what is said of a keypoint that stays where it is."""
_BATCH_CPU, _BATCH_GPU = 512, 8192
_WORTH_A_THREAD = 64
"""Matches."""

_FARTHEST_PX = 2.0
"""A point that least squares find farther from where it is predicted, or do not find, is hidden, or moves: it stays where it
was detected."""

SamplePatches = Callable[[torch.Tensor, int], torch.Tensor]
"""Patches (N, size, size) of the second image around its keypoints moved by (N, 2) pixels, by the shift and the size."""


@dataclass(frozen=True)
class Estimate:
    """What a stage says of N matches."""

    shift: torch.Tensor
    """(N, 2) from the given to the refined second keypoint, pixels."""
    whitening: torch.Tensor
    """(N, 3) log u00, u01, log u11 of the upper triangular U, 1 / px, with U (error of the shift) of unit covariance;
    (N, 0) of the coarse stage, which predicts none."""


class SubpxNetwork(nn.Module):
    """180,000 parameters; see the module's description."""

    covariance_scale: torch.Tensor
    """() factor by which the covariance was found too small on validation data."""

    def __init__(self, fine_runs: int = FINE_RUNS) -> None:
        super().__init__()
        self.coarse = _CoarseStage()
        self.fine = _FineStage()
        self.fine_runs = fine_runs
        self.register_buffer("covariance_scale", torch.ones(()))

    def forward(self, patches0: torch.Tensor, sample1: SamplePatches) -> list[Estimate]:
        """The estimates of the coarse stage and of every run of the fine one, of which the last is the result.

        No gradient flows from an estimate into the shift it starts from.

        Args:
            patches0: (N, 21, 21) grey in [0, 1] around the first keypoints.
            sample1: gives the patches of the second image around its moved keypoints.
        """
        still = patches0.new_zeros(patches0.shape[0], 2)
        coarse, context = self.coarse(patches0, sample1(still, PATCH_SIZE))
        estimates = [Estimate(coarse, still[:, :0])]
        inner = slice((PATCH_SIZE - _FINE_SIZE) // 2, (PATCH_SIZE + _FINE_SIZE) // 2)
        first = self.fine.encode(patches0[:, inner, inner])
        own = self.fine.correlate(first, first)
        for _ in range(self.fine_runs):
            start = estimates[-1].shift.detach()
            fine, whitening = self.fine(first, sample1(start, _FINE_SIZE), own, context)
            estimates.append(Estimate(start + fine, whitening))
        return estimates

    def covariances(self, whitening: torch.Tensor) -> torch.Tensor:
        """(N, 2, 2) px^2 of the refined second keypoint, from an estimate's whitening (N, 3)."""
        u00, u01, u11 = unpack_whitening(whitening)
        inverse00, inverse11 = 1.0 / u00, 1.0 / u11
        inverse01 = -u01 * inverse00 * inverse11
        root = torch.stack([inverse00, inverse01, torch.zeros_like(inverse00), inverse11], dim=1).view(-1, 2, 2)
        return self.covariance_scale * root @ root.transpose(1, 2)


def unpack_whitening(whitening: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """u00, u01, u11, each (N,) in 1 / px, of a whitening (N, 3), the diagonal within its bounds."""
    log_u00, u01, log_u11 = whitening.unbind(dim=1)
    return log_u00.clamp(*_LOG_SHARPNESS).exp(), u01, log_u11.clamp(*_LOG_SHARPNESS).exp()


@dataclass(frozen=True)
class _Described:
    """N described patches."""

    features: torch.Tensor
    """(N, M, M, 16)"""
    scale: torch.Tensor
    """(N, 1) what gives the features unit mean square length; cheaper to apply to the products of two."""


class _Encoder(nn.Module):
    """Describes the pixels of patches, or every second one of them, by the 7x7 or 9x9 pixels around them."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _CHANNELS, 5, stride)
        self.conv2 = nn.Conv2d(_CHANNELS, _CHANNELS, 3)

    def forward(self, patches: torch.Tensor) -> _Described:
        """Descriptions of patches (N, S, S)."""
        maps = relu(self.conv1(_standardised(patches)[:, None]), inplace=True)
        features: torch.Tensor = self.conv2(maps).permute(0, 2, 3, 1)
        length = torch.linalg.vector_norm(features.flatten(1), dim=1, keepdim=True) / features.shape[1]
        return _Described(features, (length + 1e-3).reciprocal())


class _CoarseStage(nn.Module):
    """Compares the middle 3x3 features of patch 0 with all of patch 1, and with all of its own patch."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = _Encoder(stride=2)
        self.layer1 = nn.Linear(2 * _COARSE_TEMPLATE**2 * _COARSE_MAP**2, _HIDDEN[0])
        self.layer2 = nn.Linear(*_HIDDEN)
        self.shift = _small(nn.Linear(_HIDDEN[1], 2))

    def forward(self, patches0: torch.Tensor, patches1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The shift (N, 2), pixels, and (N, 64), what the fine stage is told of this one; of patches (N, 21, 21)."""
        first = self.encode(patches0)
        products = [_products(first, each, _COARSE_TEMPLATE) for each in (first, self.encode(patches1))]
        hidden = relu(self.layer1(torch.cat(products, dim=1)))
        hidden = relu(self.layer2(hidden))
        return self.shift(hidden), hidden


class _FineStage(nn.Module):
    """Correlates the middle 9x9 features of patch 0 with patch 1, and with its own patch, at shifts of up to a pixel."""

    _read: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encode = _Encoder(stride=1)
        # How much each pixel of the template counts, learned several times over.
        self.windows = nn.Linear(_FINE_TEMPLATE**2, _WINDOWS, bias=False)
        self.register_buffer("_read", _places_of_shifts(), persistent=False)
        inputs = 2 * (2 * _FINE_REACH + 1) ** 2 * _WINDOWS + _HIDDEN[1]
        self.layer1 = nn.Linear(inputs, _HIDDEN[0])
        self.layer2 = nn.Linear(*_HIDDEN)
        self.shift = _small(nn.Linear(_HIDDEN[1], 2))
        self.certainty1 = nn.Linear(inputs + _HIDDEN[1], _HIDDEN[1])
        self.certainty2 = _small(nn.Linear(_HIDDEN[1], 3))
        with torch.no_grad():
            self.windows.weight.normal_(0.5 / _FINE_TEMPLATE, 0.02)

    def forward(
        self, first: _Described, patches1: torch.Tensor, own: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The shift (N, 2), pixels, and the whitening (N, 3).

        Args:
            first: the first patches, maps of 11x11.
            patches1: (N, 17, 17)
            own: (N, 72) their correlation with themselves.
            context: (N, 64) of the coarse stage.
        """
        inputs = torch.cat([own, self.correlate(first, self.encode(patches1)), context], dim=1)
        hidden = relu(self.layer2(relu(self.layer1(inputs))))
        # What the shift is read from does not learn from the covariance.
        seen = torch.cat([inputs, hidden], dim=1).detach()
        return self.shift(hidden), self.certainty2(relu(self.certainty1(seen)))

    def correlate(self, first: _Described, second: _Described) -> torch.Tensor:
        """Correlation (N, shifts * windows) of the middle of the first maps with the second, of 11x11 either."""
        reach, template, shifts = _FINE_REACH, _FINE_TEMPLATE, 2 * _FINE_REACH + 1
        # One matrix product for each row of a map: its middle by as many rows of the other map as there are shifts. Rows
        # of all maps lie in one line; those that begin too near a map's end run into the next map, and nobody reads them.
        middles = first.features.flatten(0, 1)[reach : 1 - shifts + reach, reach : reach + template]
        rows = second.features.flatten(0, 1).unfold(0, shifts, 1).permute(0, 3, 1, 2).flatten(1, 2)
        products = torch.bmm(middles, rows.transpose(1, 2))
        size = products.shape[1] * products.shape[2]
        each = products.flatten().unfold(0, template * size, _FINE_MAP * size)
        maps = each.gather(1, self._read.expand(len(each), -1)).view(-1, shifts**2, template**2)
        return self.windows(maps).flatten(1) * (first.scale * second.scale)


def _places_of_shifts() -> torch.Tensor:
    """(shifts * template pixels,) where the products (template rows, template columns, rows x columns of the other map)
    of a match hold those of each shift."""
    shift, pixel = torch.arange(2 * _FINE_REACH + 1), torch.arange(_FINE_TEMPLATE)
    down, along, row, column = torch.meshgrid(shift, shift, pixel, pixel, indexing="ij")
    return ((row * _FINE_TEMPLATE + column) * len(shift) * _FINE_MAP + down * _FINE_MAP + column + along).flatten()


def _products(first: _Described, second: _Described, template: int) -> torch.Tensor:
    """Products (N, template pixels * pixels) of the middle of the first maps with all of the second."""
    start = (first.features.shape[1] - template) // 2
    middle = first.features[:, start : start + template, start : start + template].flatten(1, 2)
    products = (middle @ second.features.flatten(1, 2).transpose(1, 2)).flatten(1)
    return products * (first.scale * second.scale)


def _standardised(patches: torch.Tensor) -> torch.Tensor:
    """Patches (N, S, S) of zero mean and, but for the noise floor, unit variance."""
    pixels = patches.flatten(1)
    centred = pixels - pixels.mean(dim=1, keepdim=True)
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / patches.shape[1]
    return (centred / (deviation + _NOISE_FLOOR)).view_as(patches)


def _small(layer: nn.Linear) -> nn.Linear:
    """The layer, starting with small outputs."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.zero_()
    return layer


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
        images = features0.image, features1.image
        return Refinement(keypoints0, *refine_second(self._network, (keypoints0, keypoints1), images))

    def _refine_tracked(
        self, firsts: Sequence[Features], number: torch.Tensor, features1: Features, matches: Matches
    ) -> Refinement:
        predicted = matches.predicted
        if predicted is None:
            return super()._refine_tracked(firsts, number, features1, matches)
        own = matches.indices0.split(torch.bincount(number, minlength=len(firsts)).tolist())
        keypoints0 = torch.cat([view.keypoints[indices] for view, indices in zip(firsts, own, strict=True)])
        keypoints1 = features1.keypoints[matches.indices1]
        images, second = [view.image for view in firsts], features1.image

        def by_network(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            points = keypoints0[chosen], keypoints1[chosen]
            return refine_tracked(self._network, points, images, number[chosen.cpu()], second, predicted.warps[chosen])

        every = torch.arange(len(matches), device=keypoints0.device)
        if predicted.places is None:
            return Refinement(keypoints0, *by_network(every))
        told = predicted.places.isfinite().all(dim=1)
        places = torch.where(told[:, None], predicted.places, keypoints1)
        refined1, covariance1 = follow_points(images, number, keypoints0, predicted.warps, second, places)
        good = (refined1 - places).norm(dim=1) < _FARTHEST_PX
        good &= covariance1[:, 0, 0].isfinite()
        unknown = _UNKNOWN_VARIANCE * torch.eye(2, device=places.device)
        refined1 = torch.where(good[:, None], refined1, keypoints1)
        covariance1 = torch.where(good[:, None, None], covariance1, unknown)
        untold = every[~told]
        if len(untold):
            refined1[untold], covariance1[untold] = by_network(untold)
        return Refinement(keypoints0, refined1, covariance1)


def refine_second(
    network: SubpxNetwork,
    keypoints: tuple[torch.Tensor, torch.Tensor],
    images: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Refined second keypoints (M, 2) and their covariances (M, 2, 2) in px^2.

    Beyond its border an image counts as continued by its outermost pixels. A match with a keypoint outside of its
    image is left as it is.

    Args:
        network: the refiner's network.
        keypoints: (M, 2) of either view, pixels.
        images: (H, W) of either view, grey in [0, 1].
    """
    source = PatchSource(images[0], PATCH_SIZE)
    return _refine_parts(network, lambda part: source.sample(keypoints[0][part], PATCH_SIZE), keypoints, images)


def refine_tracked(
    network: SubpxNetwork,
    keypoints: tuple[torch.Tensor, torch.Tensor],
    firsts: Sequence[torch.Tensor],
    number: torch.Tensor,
    second: torch.Tensor,
    warps: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `refine_second`, of matches whose first keypoints lie in several images of one size.

    Args:
        network: the refiner's network.
        keypoints: (M, 2) of the first images and of the second one, pixels.
        firsts: (H, W) each.
        number: (M,) of the first images, on the CPU, rising.
        second: (H, W)
        warps: (M, 3, 2) of the first patches (`surfaces.patch_warps`).
    """

    def sample(part: slice) -> torch.Tensor:
        return sample_warped_from(firsts, number[part], keypoints[0][part], PATCH_SIZE, warps[part])

    return _refine_parts(network, sample, keypoints, (firsts[0], second))


def _refine_parts(
    network: SubpxNetwork,
    first_patches: Callable[[slice], torch.Tensor],
    keypoints: tuple[torch.Tensor, torch.Tensor],
    images: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    source1, device = PatchSource(images[1], PATCH_SIZE), images[1].device

    def refine(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        last = network(first_patches(part), partial(_sample_moved, source1, keypoints[1][part]))[-1]
        return last.shift, network.covariances(last.whitening)

    largest = _BATCH_CPU if device.type == "cpu" else _BATCH_GPU
    parts = slices_for(len(keypoints[0]), device, largest, _WORTH_A_THREAD)
    shifts, covariances = (torch.cat(each) for each in zip(*each_by_a_thread(refine, parts), strict=True))
    usable = _inside(images[0], keypoints[0]) & _inside(images[1], keypoints[1])
    unknown = _UNKNOWN_VARIANCE * torch.eye(2, device=covariances.device)
    return (
        torch.where(usable[:, None], keypoints[1] + shifts, keypoints[1]),
        torch.where(usable[:, None, None], covariances, unknown),
    )


def _sample_moved(source: PatchSource, keypoints: torch.Tensor, shift: torch.Tensor, size: int) -> torch.Tensor:
    return source.sample(keypoints + shift, size)


def _inside(image: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    height, width = image.shape
    x, y = keypoints.unbind(dim=1)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
