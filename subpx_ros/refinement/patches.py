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
    steps = torch.arange(size + 1, device=image.device)
    corner = keypoints - (size - 1) / 2
    whole = corner.floor()
    # One fraction serves all pixels of a patch, so two blends of whole pixels do what grid_sample takes thrice as long for.
    fraction = (corner - whole)[:, :, None, None]
    columns, rows = (whole.long()[:, :, None] + steps).unbind(dim=1)
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None]
    pixels = image.flatten().index_select(0, flat.flatten()).view(flat.shape)
    pixels = torch.lerp(pixels[:, :-1], pixels[:, 1:], fraction[:, 1])
    return torch.lerp(pixels[:, :, :-1], pixels[:, :, 1:], fraction[:, 0])


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
