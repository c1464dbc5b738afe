"""Points beside each other count as what they are."""

from __future__ import annotations

import numpy as np

from subpx_ros.crowding import times_counted


def test_points_far_apart_count_once() -> None:
    np.testing.assert_allclose(times_counted(np.array([[0.0, 0.0], [300.0, 0.0], [0.0, 40.0]])), 1.0, atol=1e-6)


def test_no_points_and_one_point() -> None:
    assert times_counted(np.zeros((0, 2))).shape == (0,)
    assert times_counted(np.zeros((1, 2))).tolist() == [1.0]


def test_every_close_pair_is_counted_in_either_of_its_points() -> None:
    pixels = np.random.default_rng(0).uniform(0.0, 60.0, (200, 2))
    squared = ((pixels[:, None] - pixels[None]) ** 2).sum(axis=2)
    alike = 0.65 * np.exp(-squared / 6.0**2)
    np.fill_diagonal(alike, 1.0)
    np.testing.assert_allclose(times_counted(pixels), alike.sum(axis=1), atol=0.01)


def test_the_order_of_points_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    pixels, order = rng.uniform(0.0, 100.0, (300, 2)), rng.permutation(300)
    np.testing.assert_allclose(times_counted(pixels)[order], times_counted(pixels[order]), rtol=1e-12)
