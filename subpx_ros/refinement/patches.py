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


def sample_warped_patches(image: torch.Tensor, keypoints: torch.Tensor, size: int, warps: torch.Tensor) -> torch.Tensor:
    """As `sample_patches`, but a step in a patch leads where its warp (N, 3, 2) says (`surfaces.patch_warps`)."""
    height, width = image.shape
    steps = torch.arange(size, device=image.device) - (size - 1) / 2
    pixels = torch.stack([steps.repeat(size), steps.repeat_interleave(size)], dim=1)
    across, down, tilt = (pixels @ warps.permute(1, 2, 0)).unbind(dim=0)
    # In the units of grid_sample, where the image reaches from -1 to 1; pixels (P, N) until then.
    depth = 1.0 + tilt
    x = (across / depth + (keypoints[:, 0] + 0.5)) * (2.0 / width) - 1.0
    y = (down / depth + (keypoints[:, 1] + 0.5)) * (2.0 / height) - 1.0
    grid = torch.stack([x.T, y.T], dim=2)[None]
    return grid_sample(image[None, None], grid, padding_mode="border", align_corners=False).view(-1, size, size)
