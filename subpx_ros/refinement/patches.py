"""Image patches around keypoints."""

from __future__ import annotations

import torch


def crop_patches(maps: torch.Tensor, keypoints: torch.Tensor, radius: int) -> torch.Tensor:
    """Patches (N, C, 2 radius + 1, 2 radius + 1) of maps (C, H, W) centred on keypoints (N, 2).

    As published with Keypt2Subpx the centre is the keypoint truncated to whole pixels, and what lies outside of the
    image is zero. A keypoint outside of the image gets the patch of the nearest pixel inside.
    """
    height, width = maps.shape[-2:]
    size = 2 * radius + 1
    padded = torch.nn.functional.pad(maps, (radius, radius, radius, radius))
    corner = keypoints.long()
    columns = corner[:, 0].clamp(0, width - 1)[:, None] + torch.arange(size, device=maps.device)
    rows = corner[:, 1].clamp(0, height - 1)[:, None] + torch.arange(size, device=maps.device)
    return padded[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)


def sample_patches(image: torch.Tensor, keypoints: torch.Tensor, size: int) -> torch.Tensor:
    """Patches (N, size, size) of an image (H, W), sampled bilinearly so that their middle is the keypoint (N, 2) itself.

    What lies outside of the image has the value of the nearest pixel inside.
    """
    height, width = image.shape
    steps = torch.arange(size, device=image.device, dtype=image.dtype) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    places = keypoints[:, None, None] + offsets
    # grid_sample's coordinates: -1 and 1 are the centres of the outermost pixels.
    scale = 2.0 / torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=image.device, dtype=image.dtype)
    grid = (places * scale - 1.0).view(1, -1, size * size, 2)
    values = torch.nn.functional.grid_sample(
        image[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return values.view(-1, size, size)
