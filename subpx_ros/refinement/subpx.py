"""subpx: our own refiner. It moves the second keypoint of a match to where it sees the same place as the first.

Patches are sampled bilinearly at the true sub-pixel positions, so one network serves every detector. A small shared
encoder describes each pixel of a patch; the pixels around the first keypoint are correlated with those of the second
patch at every shift of a small window, and also with their own patch, which tells how sharp a match could be at all.
A head reads the shift from both, and how sure it is of it. A second stage repeats this where the first one pointed,
with a larger template, and weighs what it sees against what the first one saw. The first keypoint stays, so that tracks and stereo pairs keep their reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import relu

from subpx_ros import weights
from subpx_ros.config import RefinementConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.refinement.patches import sample_patches
from subpx_ros.refinement.refiner import Refinement, Refiner

PATCH_SIZE = 17
"""Side of a patch. Three 3x3 convolutions without padding leave maps of 11x11 features."""
_MAP_SIZE = PATCH_SIZE - 6
_CHANNELS = 16
_WINDOWS = 8
_HIDDEN = (128, 64)
_NOISE_FLOOR = 0.01
"""Added to a patch's standard deviation, grey in [0, 1]: noise on an even surface stays noise."""
_LOG_SHARPNESS = (-3.0, 5.0)
"""Bounds of the logarithm of 1 / standard deviation: 20 to 0.007 px."""
_UNKNOWN_VARIANCE = 9.0
"""Square of the reach, px^2, per axis: what is said of a keypoint outside of the image, which stays where it is."""
# Few enough for a processor's cache, enough for several threads to share.
_BATCH_CPU, _BATCH_GPU = 512, 8192

SamplePatches = Callable[[torch.Tensor], torch.Tensor]
"""Patches (N, 17, 17) of the second image around its keypoints moved by (N, 2) pixels."""


@dataclass(frozen=True)
class Estimate:
    """What a stage says of N matches."""

    shift: torch.Tensor
    """(N, 2) from the given to the refined second keypoint, pixels."""
    whitening: torch.Tensor
    """(N, 3) log u00, u01, log u11 of the upper triangular U, 1 / px, with U (error of the shift) of unit covariance."""


class SubpxNetwork(nn.Module):
    """183,000 parameters; see the module's description."""

    covariance_scale: torch.Tensor
    """() factor by which the covariance was found too small on validation data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _CHANNELS, 3)
        self.conv2 = nn.Conv2d(_CHANNELS, _CHANNELS, 3)
        self.conv3 = nn.Conv2d(_CHANNELS, _CHANNELS, 3)
        self.coarse = _Stage(template=5, reach=3, context=0)
        self.fine = _Stage(template=7, reach=2, context=_HIDDEN[1])
        self.register_buffer("covariance_scale", torch.ones(()))

    def forward(self, patches0: torch.Tensor, sample1: SamplePatches) -> list[Estimate]:
        """The estimate of every stage, the last one being the result.

        No gradient flows from a stage into the shift it starts from.

        Args:
            patches0: (N, 17, 17) grey in [0, 1] around the first keypoints.
            sample1: gives the patches of the second image around its moved keypoints.
        """
        features0 = self.encode(patches0)
        shift = patches0.new_zeros(len(patches0), 2)
        context = patches0.new_zeros(len(patches0), 0)
        estimates: list[Estimate] = []
        for stage in (self.coarse, self.fine):
            features1 = self.encode(sample1(shift))
            own, other = stage.correlate(features0, features0), stage.correlate(features0, features1)
            output, context = stage(own, other, context)
            estimates.append(Estimate(shift + output[:, :2], output[:, 2:]))
            shift = estimates[-1].shift.detach()
        return estimates

    def encode(self, patches: torch.Tensor) -> torch.Tensor:
        """Features (N, 16, 121) of patches (N, 17, 17), of unit mean square length."""
        centred = patches[:, None] - patches.mean(dim=(1, 2))[:, None, None, None]
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        maps = (centred / (deviation + _NOISE_FLOOR)).contiguous(memory_format=torch.channels_last)
        maps = self.conv3(relu(self.conv2(relu(self.conv1(maps)))))
        features = maps.contiguous().flatten(2)
        return features * features.square().sum(dim=1).mean(dim=1).add(1e-6).rsqrt()[:, None, None]

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


class _Stage(nn.Module):
    """Correlates the central features of patch 0 with patch 1 at all whole shifts up to `reach`, and reads the shift."""

    def __init__(self, template: int, reach: int, context: int) -> None:
        super().__init__()
        self._template, self._reach = template, reach
        self._shifts = 2 * reach + 1
        # How much each pixel of the template counts, learned several times over.
        self.windows = nn.Linear(template**2, _WINDOWS, bias=False)
        self.layer1 = nn.Linear(2 * self._shifts**2 * _WINDOWS + context, _HIDDEN[0])
        self.layer2 = nn.Linear(_HIDDEN[0], _HIDDEN[1])
        self.layer3 = nn.Linear(_HIDDEN[1], 5)
        with torch.no_grad():
            self.windows.weight.normal_(0.5 / template, 0.02)
            self.layer3.weight.mul_(0.1)
            self.layer3.bias.zero_()

    def forward(
        self, autocorrelation: torch.Tensor, correlation: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 5): x and y of the shift, and the whitening; and (N, 64), what the next stage is told of this one."""
        hidden = relu(self.layer1(torch.cat([autocorrelation, correlation, context], dim=1)))
        hidden = relu(self.layer2(hidden))
        return self.layer3(hidden), hidden

    def correlate(self, features0: torch.Tensor, features1: torch.Tensor) -> torch.Tensor:
        """Correlation (N, shifts * windows) of the template of features0 with features1, both (N, 16, 121)."""
        count, size = len(features0), self._template
        first = (_MAP_SIZE - size) // 2
        maps = features0.unflatten(2, (_MAP_SIZE, _MAP_SIZE))
        template = maps[:, :, first : first + size, first : first + size].flatten(2)
        products = torch.bmm(template.transpose(1, 2), features1)
        # Of all products of a template pixel (row, column) with a pixel of patch 1, those that a common shift brings
        # together lie on diagonals of the matrix: a view with the axes match, shift y, shift x, row, column.
        row_of_products = _MAP_SIZE**2
        diagonals = products.as_strided(
            (count, self._shifts, self._shifts, size, size),
            (size**2 * row_of_products, _MAP_SIZE, 1, size * row_of_products + _MAP_SIZE, row_of_products + 1),
            (first - self._reach) * (_MAP_SIZE + 1),
        )
        weighted: torch.Tensor = self.windows(diagonals.reshape(count, self._shifts**2, size**2))
        return weighted.flatten(1)


class SubpxRefiner(Refiner):
    """Refines the second keypoint of every match, with a covariance, for any detector."""

    name = "subpx"

    def __init__(self, config: RefinementConfig, device: torch.device, report: Callable[[str], None]) -> None:
        self._network = SubpxNetwork().eval().to(device)
        tensors, source = weights.load_chosen(config.weights, "subpx", report)
        weights.load_into(self._network, tensors, source)

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        keypoints0 = features0.keypoints[matches.indices0]
        keypoints1 = features1.keypoints[matches.indices1]
        refined1, covariance1 = refine_second(
            self._network, (keypoints0, keypoints1), (features0.image, features1.image)
        )
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
    batch = _BATCH_CPU if images[0].device.type == "cpu" else _BATCH_GPU
    shifts, whitenings = [], []
    for points0, points1 in zip(*(points.split(batch) for points in keypoints), strict=True):
        sample1 = partial(_sample_moved, images[1], points1)
        last = network(sample_patches(images[0], points0, PATCH_SIZE), sample1)[-1]
        shifts.append(last.shift)
        whitenings.append(last.whitening)
    covariances = network.covariances(torch.cat(whitenings))
    usable = _inside(images[0], keypoints[0]) & _inside(images[1], keypoints[1])
    unknown = _UNKNOWN_VARIANCE * torch.eye(2, device=covariances.device)
    return (
        torch.where(usable[:, None], keypoints[1] + torch.cat(shifts), keypoints[1]),
        torch.where(usable[:, None, None], covariances, unknown),
    )


def _sample_moved(image: torch.Tensor, keypoints: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    return sample_patches(image, keypoints + shift, PATCH_SIZE)


def _inside(image: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    height, width = image.shape
    limit = keypoints.new_tensor([width - 1, height - 1])
    return ((keypoints >= 0) & (keypoints <= limit)).all(dim=1)
