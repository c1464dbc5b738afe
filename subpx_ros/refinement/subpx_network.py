"""The network of the refiner `subpx`: from two patches to where the second one shows the middle of the first.

Patches are sampled bilinearly at the true sub-pixel positions, so one network serves every detector. The coarse stage
describes every second pixel of both patches and correlates the middle of the first with all of the second; a head reads
the shift. The fine stage samples the second patch again where the coarse one pointed, describes every pixel, and
correlates a large template at the nine shifts of up to a pixel; then it does so once more from where it pointed itself,
and a second head reads how sure it is. Either stage also correlates the first patch with itself, which tells how sharp
a match could be at all. The first keypoint stays, so that tracks and stereo pairs keep their reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import relu

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
        coarse, context = self.roughly(patches0, sample1)
        return [Estimate(coarse, coarse[:, :0]), *self.finely(patches0, sample1, coarse, context)]

    def roughly(self, patches0: torch.Tensor, sample1: SamplePatches) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse stage's shift (N, 2) and what it tells the fine one, (N, 64)."""
        still = patches0.new_zeros(patches0.shape[0], 2)
        return self.coarse(patches0, sample1(still, PATCH_SIZE))

    def finely(
        self, patches0: torch.Tensor, sample1: SamplePatches, shift: torch.Tensor, context: torch.Tensor
    ) -> list[Estimate]:
        """The estimates of every run of the fine stage, from what `roughly` gives."""
        estimates: list[Estimate] = []
        inner = slice((PATCH_SIZE - _FINE_SIZE) // 2, (PATCH_SIZE + _FINE_SIZE) // 2)
        first = self.fine.encode(patches0[:, inner, inner])
        own = self.fine.correlate(first, first)
        for _ in range(self.fine_runs):
            start = shift.detach()
            fine, whitening = self.fine(first, sample1(start, _FINE_SIZE), own, context)
            shift = start + fine
            estimates.append(Estimate(shift, whitening))
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
