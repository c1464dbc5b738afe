"""Image patches around keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample, pad


def crop_patches(maps: torch.Tensor, keypoints: torch.Tensor, radius: int) -> torch.Tensor:
    """Patches (N, C, 2 radius + 1, 2 radius + 1) of maps (C, H, W) centred on keypoints (N, 2).

    As published with Keypt2Subpx the centre is the keypoint truncated to whole pixels, and what lies outside of the
    image is zero. A keypoint outside of the image gets the patch of the nearest pixel inside.
    """
    height, width = maps.shape[-2:]
    size = 2 * radius + 1
    padded = pad(maps, (radius, radius, radius, radius))
    corner = keypoints.long()
    columns = corner[:, 0].clamp(0, width - 1)[:, None] + torch.arange(size, device=maps.device)
    rows = corner[:, 1].clamp(0, height - 1)[:, None] + torch.arange(size, device=maps.device)
    return padded[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)


class PatchSource:
    """An image from which patches are sampled again and again."""

    def __init__(self, image: torch.Tensor, largest: int) -> None:
        """
        Args:
            image: (H, W); beyond its border it counts as continued by its outermost pixels.
            largest: side of the patches to come, at most.
        """
        self._border = largest + 3
        self._size = image.shape[1], image.shape[0]
        self._padded = pad(image[None], (self._border,) * 4, mode="replicate")[0]

    def sample(self, keypoints: torch.Tensor, size: int) -> torch.Tensor:
        """Patches (N, size, size), sampled bilinearly so that their middle is the keypoint (N, 2) itself."""
        # One fraction serves all pixels of a patch, so two blends of whole pixels do what grid_sample takes thrice as long for.
        pixels, fraction = self._pixels(keypoints, size, 1)
        x, y = fraction.T[:, :, None, None]
        pixels = torch.lerp(pixels[:, :-1], pixels[:, 1:], y)
        return torch.lerp(pixels[:, :, :-1], pixels[:, :, 1:], x)

    def sample_cubic(self, keypoints: torch.Tensor, size: int) -> torch.Tensor:
        """As `sample`, but by the cubic through four pixels.

        Half of what least squares find is pulled towards the middle between two pixels by bilinear patches (by 0.02 px where
        texture is fine), and by Catmull-Rom's as much: neither gives third powers back, as Lagrange's cubic does.
        """
        pixels, fraction = self._pixels(keypoints, size, 3)
        before, here, after, beyond = _lagrange(fraction)[..., None, None]
        rows = before[1] * pixels[:, :size] + here[1] * pixels[:, 1 : size + 1]
        rows += after[1] * pixels[:, 2 : size + 2] + beyond[1] * pixels[:, 3:]
        columns = before[0] * rows[:, :, :size] + here[0] * rows[:, :, 1 : size + 1]
        return columns.add_(after[0] * rows[:, :, 2 : size + 2]).add_(beyond[0] * rows[:, :, 3:])

    def _pixels(self, keypoints: torch.Tensor, size: int, more: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Whole pixels (N, size + more, size + more) from which patches are blended, as many of the additional ones before
        as behind but for one, and the fractions (N, 2)."""
        corner = keypoints - (size - 1) / 2
        whole = corner.floor()
        before = more // 2
        # Farther out there is nothing but the border.
        columns, rows = (
            places.long().clamp(before - self._border, last) + self._border - before
            for places, last in zip(whole.unbind(dim=1), self._size, strict=True)
        )
        stride = self._padded.shape[1]
        starts = (rows[:, None] + torch.arange(size + more, device=rows.device)) * stride + columns[:, None]
        # Every row of a patch is copied as a whole.
        runs = self._padded.flatten().unfold(0, size + more, 1)
        pixels = runs.index_select(0, starts.flatten()).view(len(keypoints), size + more, size + more)
        return pixels, corner - whole


def _lagrange(fraction: torch.Tensor) -> torch.Tensor:
    """Weights (4, 2, N) of four pixels in a row for places at fractions (N, 2) between the middle two."""
    t = fraction.T
    u, v, w = t + 1.0, t - 1.0, t - 2.0
    return torch.stack([-t * v * w / 6.0, u * v * w / 2.0, -u * t * w / 2.0, u * t * v / 6.0])


def sample_patches(image: torch.Tensor, keypoints: torch.Tensor, size: int) -> torch.Tensor:
    """Patches (N, size, size) of an image (H, W), sampled bilinearly so that their middle is the keypoint (N, 2) itself.

    What lies outside of the image has the value of the nearest pixel inside.
    """
    return PatchSource(image, size).sample(keypoints, size)


def sample_warped_patches(
    image: torch.Tensor, keypoints: torch.Tensor, size: int, warps: torch.Tensor, mode: str = "bilinear"
) -> torch.Tensor:
    """As `sample_patches`, but a step in a patch leads where its warp (N, 3, 2) says (`surfaces.patch_warps`); bilinearly, or
    with the mode "bicubic" without the blur of that, in twice the time."""
    height, width = image.shape
    steps = torch.arange(size, device=image.device) - (size - 1) / 2
    pixels = torch.stack([steps.repeat(size), steps.repeat_interleave(size)], dim=1)
    across, down, tilt = (pixels @ warps.permute(1, 2, 0)).unbind(dim=0)
    # In the units of grid_sample, where the image reaches from -1 to 1; pixels (P, N) until then.
    depth = 1.0 + tilt
    x = (across / depth + (keypoints[:, 0] + 0.5)) * (2.0 / width) - 1.0
    y = (down / depth + (keypoints[:, 1] + 0.5)) * (2.0 / height) - 1.0
    grid = torch.stack([x.T, y.T], dim=2)[None]
    found = grid_sample(image[None, None], grid, mode=mode, padding_mode="border", align_corners=False)
    return found.view(-1, size, size)


@dataclass(frozen=True)
class FirstPoints:
    """M points where earlier views show them."""

    images: Sequence[torch.Tensor]
    """(H, W) each, grey in [0, 1]; several are of one size."""
    number: torch.Tensor
    """(M,) int64 which of the images shows each, on the CPU, rising."""
    keypoints: torch.Tensor
    """(M, 2) pixels there."""
    warps: torch.Tensor
    """(M, 3, 2) of their surroundings, as far as they are known (`surfaces.patch_warps`)."""

    def __getitem__(self, chosen: slice | torch.Tensor) -> FirstPoints:
        """Those that a slice, or indices (K,) int64 on the CPU, rising, select."""
        there = chosen if isinstance(chosen, slice) else chosen.to(self.keypoints.device)
        return FirstPoints(self.images, self.number[chosen], self.keypoints[there], self.warps[there])

    def patches(self, size: int, mode: str = "bilinear") -> torch.Tensor:
        """(M, size, size), see `sample_warped_patches`."""
        which, counts = (each.tolist() for each in self.number.unique_consecutive(return_counts=True))
        own = zip(which, self.keypoints.split(counts), self.warps.split(counts), strict=True)
        return torch.cat(
            [sample_warped_patches(self.images[index], points, size, warps, mode) for index, points, warps in own]
        )
