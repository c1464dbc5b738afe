"""Columns between columns: those of a polynomial are given back, an image's own stay, and its border is continued."""

from __future__ import annotations

import numpy as np
import torch

from subpx_ros.interpolation import _by_opencv, _by_torch, with_columns_between

HEIGHT, WIDTH = 6, 31
IMAGE = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def polynomial(x: torch.Tensor) -> torch.Tensor:
    """Of seventh degree in the column of a pixel, a different one in every row, between 0 and 1; (H, columns)."""
    x, row = x / WIDTH, torch.arange(HEIGHT)[:, None] / HEIGHT
    return 0.5 + 0.1 * (3.0 * x**7 - 2.0 * x**4 + x * row - row * x**3)


def test_a_polynomial_is_given_back() -> None:
    finer = with_columns_between(polynomial(torch.arange(float(WIDTH))))
    assert finer.shape == (HEIGHT, 2 * WIDTH)
    expected = polynomial(torch.arange(0.0, WIDTH, 0.5))
    assert torch.allclose(finer[:, 8:-10], expected[:, 8:-10], atol=1e-6)


def test_the_image_s_own_columns_stay_and_its_border_is_continued() -> None:
    finer = with_columns_between(IMAGE)
    assert torch.equal(finer[:, ::2], IMAGE)
    padded = torch.from_numpy(np.pad(IMAGE.numpy(), ((0, 0), (8, 8)), mode="edge"))
    assert torch.allclose(with_columns_between(padded)[:, 16:-16], finer, atol=1e-6)


def test_an_image_of_one_pixel() -> None:
    assert torch.allclose(with_columns_between(torch.full((1, 1), 0.25)), torch.full((1, 2), 0.25))


def test_what_a_gpu_computes_is_the_same() -> None:
    assert torch.allclose(_by_torch(IMAGE), _by_opencv(IMAGE), atol=1e-6)
