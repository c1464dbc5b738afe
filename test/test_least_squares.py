"""The robust Gauss-Newton on problems whose answer is known: lines, priors, and its own claim of covariance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.least_squares import Linearised, Prior, minimise

Array = NDArray[np.float64]

LINE = np.array([0.7, -2.0])
"""Slope and intercept."""


def add(state: Array, step: Array) -> Array:
    return state + step


def fit_line(x: Array, y: Array, prior: Prior[Array] | None = None) -> tuple[Array, Array] | None:
    columns = np.column_stack([x, np.ones_like(x)])

    def linearise(state: Array) -> Linearised:
        return Linearised((columns @ state - y)[:, None], columns[:, None], np.ones((len(x), 1, 1)))

    return minimise(linearise, add, np.zeros(2), prior, iterations=30)


def fitted(found: tuple[Array, Array] | None) -> tuple[Array, Array]:
    assert found is not None
    return found


def test_exact_line_is_found_exactly() -> None:
    x = np.linspace(-3.0, 3.0, 20)
    state, covariance = fitted(fit_line(x, LINE[0] * x + LINE[1]))
    assert np.allclose(state, LINE, atol=1e-9)
    assert np.all(np.isfinite(covariance))


@pytest.mark.parametrize("seed", range(5))
def test_planted_outliers_hardly_move_the_line(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3.0, 3.0, 100)
    y = LINE[0] * x + LINE[1] + 0.05 * rng.normal(size=100)
    y[:15] += rng.uniform(3.0, 20.0, 15)
    plain = np.linalg.lstsq(np.column_stack([x, np.ones_like(x)]), y, rcond=None)[0]
    state, _ = fitted(fit_line(x, y))
    assert np.max(np.abs(plain - LINE)) > 0.5
    assert np.max(np.abs(state - LINE)) < 0.04


def test_covariance_does_not_depend_on_the_unit_of_the_information() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-3.0, 3.0, 60)
    y = LINE[0] * x + LINE[1] + 5.0 * rng.normal(size=60)
    columns = np.column_stack([x, np.ones_like(x)])

    def with_information(scale: float) -> Array:
        def linearise(state: Array) -> Linearised:
            return Linearised((columns @ state - y)[:, None], columns[:, None], np.full((60, 1, 1), scale))

        return fitted(minimise(linearise, add, np.zeros(2), iterations=50, settled=0.0))[1]

    assert np.allclose(with_information(1.0), with_information(100.0), rtol=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_covariance_agrees_with_the_spread_of_many_fits(dimension: int) -> None:
    """Blocks of 1 to 3 values with normal noise: the claimed covariance against that of 400 estimates."""
    rng = np.random.default_rng(dimension)
    jacobian = rng.normal(size=(60, dimension, 2))
    information = np.tile(np.eye(dimension) / 0.2**2, (60, 1, 1))
    estimates, claims = [], []
    for _ in range(400):
        noise = 0.2 * rng.normal(size=(60, dimension))

        def linearise(state: Array, noise: Array = noise) -> Linearised:
            return Linearised(jacobian @ state + noise, jacobian, information)

        state, covariance = fitted(minimise(linearise, add, np.zeros(2)))
        estimates.append(state)
        claims.append(covariance)
    spread = np.cov(np.array(estimates).T)
    claimed = np.mean(claims, axis=0)
    # A variance from 400 samples is good to 7 % (one standard deviation).
    whitened = np.linalg.solve(claimed, spread)
    assert np.all(np.abs(np.linalg.eigvals(whitened).real - 1.0) < 0.25)


def test_prior_alone_decides_where_the_residuals_say_nothing() -> None:
    x = np.zeros(20)
    y = np.full(20, 4.0) + 0.1 * np.random.default_rng(0).normal(size=20)
    prior: Prior[Array] = Prior(lambda state: state - [1.5, 0.0], np.diag([1.0 / 0.3**2, 0.0]))
    state, covariance = fitted(fit_line(x, y, prior))
    assert state[0] == pytest.approx(1.5, abs=1e-9)
    assert covariance[0, 0] == pytest.approx(0.3**2, rel=1e-9)
    assert state[1] == pytest.approx(4.0, abs=0.1)


def test_prior_pulls_by_its_weight() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1.0, 1.0, 50)
    y = LINE[0] * x + LINE[1] + 0.1 * rng.normal(size=50)
    slopes = []
    for deviation in (1e-6, 0.05, 1e6):
        prior: Prior[Array] = Prior(lambda state: state, np.diag([1.0 / deviation**2, 0.0]))
        slopes.append(fitted(fit_line(x, y, prior))[0][0])
    assert slopes[0] == pytest.approx(0.0, abs=1e-6)
    assert 0.1 < slopes[1] < 0.65
    assert slopes[2] == pytest.approx(fitted(fit_line(x, y))[0][0], abs=1e-6)


def test_what_is_not_determined_is_none() -> None:
    assert fit_line(np.full(20, 2.0), np.random.default_rng(0).normal(size=20)) is None


def test_too_few_residuals_are_none() -> None:
    assert fit_line(np.array([1.0]), np.array([1.0])) is None


def test_no_residuals_are_none() -> None:
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert fit_line(np.zeros(0), np.zeros(0)) is None


def test_values_that_are_not_finite_are_none() -> None:
    x = np.array([0.0, 1.0, 2.0, np.nan])
    assert fit_line(x, np.zeros(4)) is None
