"""The right point of every left keypoint, found along its row by the correlation of patches.

The right image needs no detector, no keypoint waits for a partner that the detector may not have found there, and both
points show the same place by construction. At half the resolution all disparities are tried; where one of them stands
out, and leads back to where it came from, the whole image says which pixel it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import conv2d, pad

from subpx_ros.config import MatchingConfig

_COARSE_RADIUS, _FINE_RADIUS = 3, 5
"""Patches of 7x7 pixels at half the resolution, which are 14x14 of the image, and of 11x11."""
_FINE_REACH = 2
"""Pixels around the coarse result, both along and across the row, among which the fine one chooses."""
_LEAST_CORRELATION = 0.75
_LARGEST_RATIO = 0.7
"""Of what the best place lacks to a correlation of 1 to what the best place elsewhere lacks."""
_LEAST_DEVIATION = 0.008
"""Of the grey in a patch, white being 1: below it noise is compared with noise."""
_COUNTS = 64
"""Correlations are of a multiple of so many patches."""
_NEIGHBOURHOOD = 2
"""Half-resolution pixels around the best place that are the same maximum."""


@dataclass(frozen=True)
class RightPlaces:
    """What was found of N left keypoints."""

    indices: torch.Tensor
    """(M,) int64 of those that were found, those with an expected disparity first."""
    places: torch.Tensor
    """(M, 2) pixels in the right image, to about a quarter of a pixel."""
    scores: torch.Tensor
    """(M,) correlation in [-1, 1]."""


class PatchSearch:
    """A rectified pair that is searched, perhaps several times and by several threads."""

    def __init__(
        self, left: torch.Tensor, right: torch.Tensor, principal_offset_px: float, config: MatchingConfig
    ) -> None:
        """
        Args:
            left: (H, W) float32 grey in [0, 1], rectified with `right`.
            right: the same.
            principal_offset_px: cx of the left camera minus cx of the right one, the disparity of a point at infinity.
            config: range of disparities and largest difference of rows.
        """
        self._shows_patches = min(left.shape) >= 2 * (2 * _COARSE_RADIUS + 1)
        if not self._shows_patches:
            return
        self._least_px = principal_offset_px + config.min_disparity_px
        self._max_row_difference_px = config.max_row_difference_px
        # Where the principal points lie far apart, disparities begin anywhere, also below zero.
        first = int(self._least_px // 2)
        self._disparities = range(first, first + int(config.max_disparity_px) // 2 + 1)
        side = 2 * (_FINE_RADIUS + _FINE_REACH) + 1
        self._halves = [_Half(_halved(image), len(self._disparities)) for image in (left, right)]
        self._wholes = [_Windows(image, (side, side)) for image in (left, right)]

    def find(self, keypoints: torch.Tensor, expected: torch.Tensor) -> RightPlaces:
        """Where the right image shows left keypoints.

        Args:
            keypoints: (N, 2) float32 pixels.
            expected: (N,) disparities in pixels, good to one or two; NaN where the row is to be searched.
        """
        if not self._shows_patches:
            return RightPlaces(keypoints.new_zeros(0, dtype=torch.int64), keypoints[:0], keypoints[:0, 0])
        told = expected.isfinite()
        known, unknown = told.nonzero()[:, 0], (~told).nonzero()[:, 0]
        found, searched = self._searched(keypoints[unknown].round())
        asked = torch.cat([known, unknown[found]])
        disparity = torch.cat([expected[known].round().long(), searched])
        keypoints = keypoints[asked]
        nearest = keypoints.round()
        guess = nearest.long() - torch.stack([disparity, torch.zeros_like(disparity)], dim=1)
        shift, scores = _around(self._wholes[0], self._wholes[1], nearest.long(), guess)
        places = guess + shift + (keypoints - nearest)
        good = keypoints[:, 0] - places[:, 0] >= self._least_px
        good &= shift[:, 1].abs() <= self._max_row_difference_px
        good &= scores >= _LEAST_CORRELATION
        return RightPlaces(asked[good], places[good], scores[good])

    def _searched(self, nearest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which (M,) of whole pixels (N, 2) have a disparity that stands out in their row, and it (M,), a multiple of 2."""
        (columns, rows), (left, right) = (nearest.long() // 2).T, self._halves
        disparity, found = _along_row(left, right, columns, rows, self._disparities)
        asked = found.nonzero()[:, 0]
        columns, rows, disparity = columns[asked], rows[asked], disparity[asked]
        back, _ = _along_row(
            right, left, columns - disparity, rows, range(-self._disparities[-1], 1 - self._disparities[0])
        )
        led_back = (back + disparity).abs() <= 1
        return asked[led_back], 2 * disparity[led_back]


class _Windows:
    """An image (H, W), which ends in `beyond`, that windows are cut from."""

    def __init__(self, image: torch.Tensor, largest: tuple[int, int], beyond: float = 0.0) -> None:
        """`largest` width and height of the windows to come."""
        self._size, self._border = (image.shape[1], image.shape[0]), largest
        width, height = largest
        self._padded = pad(image, (width, width, height, height), value=beyond)

    def cut(self, columns: torch.Tensor, rows: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Windows (N, height, width).

        Args:
            columns: (N,) int64 of the upper left pixels.
            rows: (N,) int64 of the same.
            size: width and height of the windows.
        """
        width, height = size
        columns = columns.clamp(-width, self._size[0]) + self._border[0]
        rows = rows.clamp(-height, self._size[1]) + self._border[1]
        starts = (rows[:, None] + torch.arange(height, device=rows.device)) * self._padded.shape[1] + columns[:, None]
        # Every run of pixels as a row of its own, so that each is copied as a whole.
        runs = self._padded.flatten().unfold(0, width, 1)
        return runs.index_select(0, starts.flatten()).view(len(columns), height, width)


class _Half:
    """An image at half the resolution."""

    def __init__(self, image: torch.Tensor, disparities: int) -> None:
        side = 2 * _COARSE_RADIUS + 1
        self.pixels = _Windows(image, (disparities + side - 1, side))
        lengths = pad(_lengths(image, (0, 1), side), (_COARSE_RADIUS,) * 4, value=torch.inf)
        self.lengths = _Windows(lengths, (disparities, 1), beyond=torch.inf)
        """Of the patch around every pixel."""


def _along_row(
    image0: _Half, image1: _Half, columns: torch.Tensor, rows: torch.Tensor, disparities: range
) -> tuple[torch.Tensor, torch.Tensor]:
    """The disparity (N,) int64 of the best correlation, and whether no other comes near it."""
    count, radius, side = len(disparities), _COARSE_RADIUS, 2 * _COARSE_RADIUS + 1
    templates, usable = _templates(image0.pixels, columns, rows, radius)
    leftmost = columns - disparities[-1]
    strips = image1.pixels.cut(leftmost - radius, rows - radius, (count + side - 1, side))
    correlation = _products(strips, templates)[:, 0] / image1.lengths.cut(leftmost, rows, (count, 1))[:, 0]
    best, place = correlation.max(dim=1)
    near = (torch.arange(count, device=place.device) - place[:, None]).abs() <= _NEIGHBOURHOOD
    second = correlation.masked_fill_(near, -1.0).amax(dim=1)
    unique = usable & (best > 0.5) & (1.0 - best <= _LARGEST_RATIO * (1.0 - second))
    return columns - (leftmost + place), unique


def _around(
    image0: _Windows, image1: _Windows, places0: torch.Tensor, places1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The shift (N, 2) float32 of places1 to the best correlation around them, and that correlation (N,)."""
    radius, side, shifts = _FINE_RADIUS, 2 * _FINE_RADIUS + 1, 2 * _FINE_REACH + 1
    templates, usable = _templates(image0, places0[:, 0], places0[:, 1], radius)
    columns, rows = (places1 - radius - _FINE_REACH).unbind(dim=1)
    windows = image1.cut(columns, rows, (side + shifts - 1, side + shifts - 1))
    # The keypoints come last, so that every sum works along memory.
    lengths = _lengths(windows.permute(1, 2, 0).contiguous(), (0, 1), side).permute(2, 0, 1)
    correlation = _products(windows, templates) / lengths
    scores, best = correlation.flatten(1).max(dim=1)
    row, column = best // shifts, best % shifts
    shift = torch.stack([column - _FINE_REACH, row - _FINE_REACH], dim=1).float()
    return shift + _peak(correlation, row, column), torch.where(usable, scores, -1.0)


def _products(windows: torch.Tensor, templates: torch.Tensor) -> torch.Tensor:
    """Sums of products (N, H - h + 1, W - w + 1) of each template (N, h, w) at all places within its window (N, H, W)."""
    if len(templates) == 0:
        return windows.new_zeros(0, *(size - own + 1 for size, own in zip(windows.shape[1:], templates.shape[1:])))
    # Convolutions prepare themselves for a number of templates, which takes longer than they do, and remember it.
    count = -(-len(templates) // _COUNTS) * _COUNTS
    windows, filled = (pad(each, (0, 0, 0, 0, 0, count - len(each))) for each in (windows, templates))
    return conv2d(windows[None], filled[:, None], groups=count)[0, : len(templates)]


def _peak(correlation: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """From the largest value (at row, column) to the maximum of parabolas through it and its neighbours, (N, 2) x and y."""
    each, last = torch.arange(len(row), device=row.device), correlation.shape[1] - 1
    middle = correlation[each, row, column]
    shifts = []
    for index, step in ((column, (0, 1)), (row, (1, 0))):
        inner = (index > 0) & (index < last)
        before, after = (
            correlation[each, (row + sign * step[0]).clamp(0, last), (column + sign * step[1]).clamp(0, last)]
            for sign in (-1, 1)
        )
        bend = before - 2.0 * middle + after
        shift = 0.5 * (before - after) / bend
        shifts.append(torch.where(inner & (bend < 0.0), shift, 0.0))
    return torch.stack(shifts, dim=1)


def _templates(
    image: _Windows, columns: torch.Tensor, rows: torch.Tensor, radius: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (N, 2 radius + 1, 2 radius + 1) of zero mean and unit length, and whether they show anything."""
    side = 2 * radius + 1
    patches = image.cut(columns - radius, rows - radius, (side, side))
    patches = patches - patches.mean(dim=(1, 2), keepdim=True)
    length = torch.linalg.vector_norm(patches, dim=(1, 2))
    return patches / length.clamp(min=1e-6)[:, None, None], length > side * _LEAST_DEVIATION


def _lengths(image: torch.Tensor, axes: tuple[int, int], side: int) -> torch.Tensor:
    """Length of every whole patch with `side` pixels along both axes, its mean taken away; not below that of noise."""
    total, squares = _window_sums(image, axes, side), _window_sums(image**2, axes, side)
    least = (side * _LEAST_DEVIATION) ** 2
    return (squares - total**2 / side**2).clamp(min=least).sqrt()


def _window_sums(values: torch.Tensor, axes: tuple[int, int], side: int) -> torch.Tensor:
    for axis in axes:
        length = values.shape[axis] - side + 1
        values = sum((values.narrow(axis, start, length) for start in range(1, side)), values.narrow(axis, 0, length))
    return values


def _halved(image: torch.Tensor) -> torch.Tensor:
    """(H // 2, W // 2), the mean of every four pixels."""
    height, width = (2 * (size // 2) for size in image.shape)
    upper, lower = image[0:height:2], image[1:height:2]
    return 0.25 * (upper[:, 0:width:2] + upper[:, 1:width:2] + lower[:, 0:width:2] + lower[:, 1:width:2])
