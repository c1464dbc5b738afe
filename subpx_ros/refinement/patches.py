"""Image patches around keypoints."""

from __future__ import annotations

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
        self._border = largest + 1
        self._size = image.shape[1], image.shape[0]
        self._padded = pad(image[None], (self._border,) * 4, mode="replicate")[0]

    def sample(self, keypoints: torch.Tensor, size: int) -> torch.Tensor:
        """Patches (N, size, size), sampled bilinearly so that their middle is the keypoint (N, 2) itself."""
        corner = keypoints - (size - 1) / 2
        whole = corner.floor()
        # One fraction serves all pixels of a patch, so two blends of whole pixels do what grid_sample takes thrice as long for.
        fraction = (corner - whole)[:, :, None, None]
        # Farther out there is nothing but the border.
        columns, rows = (
            places.long().clamp(-self._border, last) + self._border
            for places, last in zip(whole.unbind(dim=1), self._size, strict=True)
        )
        stride = self._padded.shape[1]
        starts = (rows[:, None] + torch.arange(size + 1, device=rows.device)) * stride + columns[:, None]
        # Every row of a patch is copied as a whole.
        runs = self._padded.flatten().unfold(0, size + 1, 1)
        pixels = runs.index_select(0, starts.flatten()).view(len(keypoints), size + 1, size + 1)
        pixels = torch.lerp(pixels[:, :-1], pixels[:, 1:], fraction[:, 1])
        return torch.lerp(pixels[:, :, :-1], pixels[:, :, 1:], fraction[:, 0])


def sample_patches(image: torch.Tensor, keypoints: torch.Tensor, size: int) -> torch.Tensor:
    """Patches (N, size, size) of an image (H, W), sampled bilinearly so that their middle is the keypoint (N, 2) itself.

    What lies outside of the image has the value of the nearest pixel inside.
    """
    return PatchSource(image, size).sample(keypoints, size)


def sample_scaled_patches(
    image: torch.Tensor, keypoints: torch.Tensor, size: int, growth: torch.Tensor
) -> torch.Tensor:
    """As `sample_patches`, but magnified by `growth` (N,) about the keypoint."""
    height, width = image.shape
    steps = torch.arange(size, device=image.device) - (size - 1) / 2
    offsets = steps / growth[:, None]
    x = (keypoints[:, :1] + offsets).clamp(0, width - 1)
    y = (keypoints[:, 1:] + offsets).clamp(0, height - 1)
    left, top = x.floor().clamp(max=max(width - 2, 0)), y.floor().clamp(max=max(height - 2, 0))
    across, down = (x - left)[:, None, :], (y - top)[:, :, None]
    corner = top.long()[:, :, None] * width + left.long()[:, None, :]
    flat = image.flatten()
    right, below = min(1, width - 1), width if height > 1 else 0

    def pixels(step: int) -> torch.Tensor:
        return flat.index_select(0, (corner + step).flatten()).view(corner.shape)

    rows = [torch.lerp(pixels(row), pixels(row + right), across) for row in (0, below)]
    return torch.lerp(rows[0], rows[1], down)


def sample_warped_patches(image: torch.Tensor, keypoints: torch.Tensor, size: int, warp: torch.Tensor) -> torch.Tensor:
    """As `sample_patches`, but a step in a patch is `warp` (N, 2, 2) times as large in the image."""
    height, width = image.shape
    steps = torch.arange(size, device=image.device) - (size - 1) / 2
    pixels = torch.stack([steps.repeat(size), steps.repeat_interleave(size), torch.ones_like(steps).repeat(size)])
    places = torch.cat([warp, keypoints[:, :, None]], dim=2).transpose(1, 2)
    # In the units of grid_sample, where the image reaches from -1 to 1.
    half = keypoints.new_tensor([width, height]) / 2.0
    places = places / half
    places[:, 2] += 0.5 / half - 1.0
    grid = (pixels.T @ places)[None]
    return grid_sample(image[None, None], grid, padding_mode="border", align_corners=False).view(-1, size, size)
