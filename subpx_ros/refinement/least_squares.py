"""Least-squares matching: the second place of a point to a fraction of a pixel, with its covariance.

Gruen, "Adaptive least squares correlation", 1985, in the inverse compositional form of Baker and Matthews, 2004: the
derivatives of the first patch serve every step; gain and offset of the grey are free. It takes a tenth of the time of a
network. In a rectified pair, whose images differ by little else, a patch moves by a shift along and across the row, and
its disparity may change linearly over it, as that of every plane does. From one frame to a later one it moves by a
shift, and how it is deformed is given, or is free as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch.nn.functional import grid_sample, pad

from subpx_ros.interpolation import with_columns_between
from subpx_ros.refinement.patches import FirstPoints, PatchSource


@dataclass(frozen=True)
class _Shape:
    """Of patches: half their side, and the width of the Gaussian that weighs their pixels (px)."""

    radius: int
    sigma_px: float

    @property
    def size(self) -> int:
        return 2 * self.radius + 1

    def variance(self, scale: float) -> float:
        """Of a mean over the pixels, as they are weighted, over that of one of them times `scale`."""
        return scale / (4.0 * math.pi * self.sigma_px**2)

    @cache  # noqa: B019 - there are two shapes
    def pixels(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Column and row (P,) of the pixels, the middle being 0, and the root of their weights."""
        steps = torch.arange(-self.radius, self.radius + 1.0, device=device)
        x, y = steps.repeat(len(steps)), steps.repeat_interleave(len(steps))
        weights = torch.exp(-(x**2 + y**2) / (2.0 * self.sigma_px**2))
        return x, y, (weights / weights.sum()).sqrt()


_RIGHT, _LATER = _Shape(5, 3.0), _Shape(7, 4.0)
"""In the right image and in later ones, where the deformation is known and a larger patch finds more to hold on to."""
_STEPS = 3
_NOISE = 0.01
"""Standard deviation of the grey, white being 1, when nothing else is known."""
_PRIOR = (3.0, 0.7, 0.15, 0.3)
"""Standard deviations of the shift along and across the row (px) and of the slopes of the disparity (px / px) along the row
and down, where a road has the baseline over the height of the camera."""
_LATER_PRIOR = (3.0, 3.0)
"""Of the shift to a later frame (px)."""
_DEFORMED_PRIOR = (*_LATER_PRIOR, 0.1, 0.1, 0.1, 0.1)
"""The same with the derivatives of column and row by column and row (px / px), less those of a patch that stays as it is."""
_STILL = (1.0, 0.0, 0.0, 1.0)
"""Derivatives of column and row by column and row of a patch that stays as it is."""
_LEAST_EXPLAINED = 0.5
"""Of the grey's variance in a first patch, by the second: a place that shows less of it is another one."""
_MOST_VAGUE_PX2 = 0.5**2
"""Variance of a place in a later frame; one that is known less well was hidden, or is another one."""
_TINY = 1e-6
"""Added to contrasts that are divided by: patches may be even."""
_VARIANCE_SCALE = 9.0
"""How much larger squared errors are on exact data than the grey's residuals say, which neighbours share."""
_LATER_VARIANCE_SCALE = 2.5
"""The same of places in later frames: the change of view is among their residuals (`docs/performance.md`)."""


@dataclass(frozen=True)
class RightPoints:
    """What least squares say of N points."""

    places: torch.Tensor
    """(N, 2) pixels of the right image."""
    covariance: torch.Tensor
    """(N, 2, 2) px^2 of them."""
    slope: torch.Tensor
    """(N, 2) by how much the disparity grows with each pixel to the right, and down, in the left image."""


def left_image(image: torch.Tensor) -> PatchSource:
    """An image (H, W), float32 grey in [0, 1], prepared for `match_least_squares`."""
    return PatchSource(image, _RIGHT.size + 2)


def right_image(image: torch.Tensor) -> torch.Tensor:
    """The same for the right one, of the same size; beyond its border it counts as continued by its outermost pixels."""
    return with_columns_between(image)


def match_least_squares(
    left: PatchSource, right: torch.Tensor, places0: torch.Tensor, places1: torch.Tensor
) -> RightPoints:
    """The second places, moved to where the right image shows what the left shows at the first.

    Args:
        left: the left image.
        right: `right_image` of the other one.
        places0: (N, 2) float32 pixels of the left image.
        places1: (N, 2) float32 pixels of the right one, good to a pixel or two.
    """
    x, y, root = _RIGHT.pixels(right.device)
    level, by_x, by_y, grey = _rows(left.sample(places0, _RIGHT.size + 2), root)
    template = _Template(level, [by_x, by_y, by_x * x, by_x * y], grey, _PRIOR, root, _RIGHT.variance(_VARIANCE_SCALE))
    warp, still = _warp(_RIGHT, right.device), _constants(_STILL, right.device)
    moved, covariance, _ = template.moved(
        lambda moved: _sampled(right, places1 + moved[:, :2], still + pad(moved[:, 2:], (0, 2)), warp, columns=2)
    )
    return RightPoints(places1 + moved[:, :2], covariance, -moved[:, 2:])


def first_patches(points: FirstPoints) -> torch.Tensor:
    """Patches (N, 17, 17) around points, as a later view is expected to show them."""
    return points.patches(_LATER.size + 2, mode="bicubic")


def of_first_patch(patches: torch.Tensor) -> torch.Tensor:
    """The middles (N, 17, 17) of larger patches, as `match_deformed` wants them."""
    margin = (patches.shape[1] - _LATER.size - 2) // 2
    return patches[:, margin:-margin, margin:-margin]


def later_image(image: torch.Tensor) -> PatchSource:
    """An image (H, W), prepared for `follow_least_squares`."""
    return PatchSource(image, _LATER.size)


def follow_least_squares(
    first: torch.Tensor, later: PatchSource, places: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a later image shows what first patches show, (N, 2) pixels, and the covariance (N, 2, 2) px^2, which is
    infinite where it does not show it, or does not tell where.

    Args:
        first: (N, 17, 17) of any number of `first_patches`.
        later: the later image.
        places: (N, 2) float32 pixels of it, good to a pixel or two.
    """
    _, _, root = _LATER.pixels(first.device)
    level, by_x, by_y, grey = _rows(first, root)
    template = _Template(level, [by_x, by_y], grey, _LATER_PRIOR, root, _LATER.variance(_LATER_VARIANCE_SCALE))
    moved, covariance, explained = template.moved(
        lambda moved: later.sample(places + moved, _LATER.size).flatten(1),
        lambda moved: later.sample_cubic(places + moved, _LATER.size).flatten(1),
    )
    return places + moved, _where_shown(covariance, explained)


def match_deformed(first: torch.Tensor, later: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `follow_least_squares`, of patches whose deformation is found as well, while it is small.

    Args:
        first: (N, 17, 17) patches of an earlier image.
        later: (H, W) the later image; continued by its outermost pixels.
        places: (N, 2) float32 pixels of the later image, good to a pixel.
    """
    x, y, root = _LATER.pixels(first.device)
    level, by_x, by_y, grey = _rows(first, root)
    derivatives = [by_x, by_y, by_x * x, by_x * y, by_y * x, by_y * y]
    template = _Template(level, derivatives, grey, _DEFORMED_PRIOR, root, _LATER.variance(_LATER_VARIANCE_SCALE))
    warp, still = _warp(_LATER, first.device), _constants(_STILL, first.device)

    def sample(mode: str, moved: torch.Tensor) -> torch.Tensor:
        return _sampled(later, places + moved[:, :2], still + moved[:, 2:], warp, mode=mode)

    moved, covariance, explained = template.moved(partial(sample, "bilinear"), partial(sample, "bicubic"))
    return places + moved[:, :2], _where_shown(covariance, explained)


def _where_shown(covariance: torch.Tensor, explained: torch.Tensor) -> torch.Tensor:
    """The covariance, infinite where a second patch does not show the first, or does not tell where."""
    shown = (explained[:, 0] > _LEAST_EXPLAINED) & (covariance.diagonal(dim1=1, dim2=2).amax(dim=1) < _MOST_VAGUE_PX2)
    return covariance.masked_fill(~shown[:, None, None], torch.inf)


_Sample = Callable[[torch.Tensor], torch.Tensor]


class _Template:
    """First patches, prepared for any number of steps.

    Offset and gain of the grey are taken away from sums over the pixels, which are few, instead of from the pixels.
    """

    def __init__(
        self,
        level: torch.Tensor,
        derivatives: list[torch.Tensor],
        grey: torch.Tensor,
        deviations: tuple[float, ...],
        root: torch.Tensor,
        variance: float,
    ) -> None:
        """
        Args:
            level: (N, 1) grey in the middle.
            derivatives: (N, P) by each parameter, times the roots of the pixels' weights.
            grey: (N, P) beyond the level, likewise.
            deviations: of the parameters, about zero; the first two are the shift.
            root: (P,)
            variance: of what all pixels tell together, over that of one of them.
        """
        self._level, self._root, self._variance = level, root, variance
        self._rows = torch.stack([*derivatives, grey], dim=1)
        self._sums = self._rows @ root
        products = self._rows @ self._rows.transpose(1, 2) - self._sums[:, :, None] * self._sums[:, None]
        self._contrast = products[:, -1, -1].clamp(min=0.0).sqrt()[:, None]
        self._explained = products[:, :-1, -1] / (self._contrast + _TINY)
        self._prior = torch.diag(variance * (_NOISE / _constants(deviations, level.device)) ** 2)
        explained = self._explained[:, :, None] * self._explained[:, None]
        self._inverse = _inverse(products[:, :-1, :-1] - explained + self._prior)

    def moved(
        self, sample: _Sample, finally_sample: _Sample | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The parameters (N, K), the covariance (N, 2, 2) px^2 of the shift as the grey's residuals tell it, and (N, 1) the
        share of the first patches' variance that the second ones explain.

        Args:
            sample: gives the second patches (N, P) for parameters (N, K).
            finally_sample: the same, more exactly, for the last step.
        """
        moved = self._explained.new_zeros(self._explained.shape)
        for each in (sample,) * (_STEPS - 1) + (finally_sample or sample,):
            seen = (each(moved) - self._level) * self._root
            mean = (seen @ self._root)[:, None]
            common = (self._rows @ seen[:, :, None])[:, :, 0] - self._sums * mean
            spread = (seen.square().sum(dim=1, keepdim=True) - mean.square()).clamp(min=0.0)
            gain = self._contrast / (spread.sqrt() + _TINY)
            slope = common[:, :-1] - self._explained * common[:, -1:] / (self._contrast + _TINY)
            moved = moved - (self._inverse @ (gain * slope + moved @ self._prior)[:, :, None])[:, :, 0]
        residual = self._contrast.square() + gain.square() * spread - 2.0 * gain * common[:, -1:]
        explained = 1.0 - residual / (self._contrast.square() + _TINY)
        variance = self._variance * (residual.clamp(min=0.0) + _NOISE**2)
        return moved, variance[:, :, None] * self._inverse[:, :2, :2], explained


@cache
def _constants(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Of the module, copied to a device once: the copy waits for a GPU."""
    return torch.tensor(values, device=device)


def _inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Of symmetric positive definite matrices (N, K, K), a few rows each."""
    return torch.linalg.inv(matrices) if matrices.device.type == "cpu" else _by_elimination(matrices)


def _by_elimination(matrices: torch.Tensor) -> torch.Tensor:
    """`_inverse` row by row: torch's own asks a GPU whether it succeeded, and waits for the answer."""
    count = matrices.shape[1]
    rows = torch.cat([matrices, torch.eye(count, device=matrices.device).expand_as(matrices)], dim=2)
    for pivot in range(count):
        cleared = rows[:, pivot, None] / rows[:, pivot, pivot, None, None]
        rows = rows - rows[:, :, pivot, None] * cleared
        rows[:, pivot, None] = cleared
    return rows[:, :, count:]


def _rows(patches: torch.Tensor, root: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The grey (N, 1) in the middle of patches (N, S + 2, S + 2), and (N, S^2) their derivatives along row and column and
    their grey beyond that of the middle, times the roots (S^2,) of the pixels' weights."""
    level = patches[:, patches.shape[1] // 2, patches.shape[1] // 2, None]
    by_x = (0.5 * root) * (patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2]).flatten(1)
    by_y = (0.5 * root) * (patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1]).flatten(1)
    return level, by_x, by_y, root * (patches[:, 1:-1, 1:-1].flatten(1) - level)


@cache
def _warp(shape: _Shape, device: torch.device) -> torch.Tensor:
    """(6, 2 P): what a middle's column, row and four derivatives add to column and row of each pixel (P,) of a patch."""
    x, y, _ = shape.pixels(device)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    rows = [(one, none), (none, one), (x, none), (y, none), (none, x), (none, y)]
    return torch.stack([torch.stack(pair, dim=1).flatten() for pair in rows])


def _sampled(
    image: torch.Tensor,
    middle: torch.Tensor,
    derivatives: torch.Tensor,
    warp: torch.Tensor,
    columns: int = 1,
    mode: str = "bilinear",
) -> torch.Tensor:
    """Patches (N, P) of an image around middles (N, 2).

    Of their pixels, column and row have derivatives (N, 4) by column and row of the patch; `columns` are those of the image
    for each one that it came with.
    """
    width, height = image.shape[1] / columns, image.shape[0]
    # In the units of grid_sample, where the image reaches from -1 to 1.
    x, y = (2.0 * middle[:, :1] + 1.0 / columns) / width - 1.0, (2.0 * middle[:, 1:] + 1.0) / height - 1.0
    by_column, by_row = derivatives[:, :2] * (2.0 / width), derivatives[:, 2:] * (2.0 / height)
    grid = torch.cat([x, y, by_column, by_row], dim=1) @ warp
    grid = grid.view(1, len(middle), grid.shape[1] // 2, 2)
    return grid_sample(image[None, None], grid, mode=mode, padding_mode="border", align_corners=False)[0, 0]
