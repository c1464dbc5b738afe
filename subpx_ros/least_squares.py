"""A small robust Gauss-Newton for poses: few parameters, many independent residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from subpx_ros.datatypes import Array

_State = TypeVar("_State")

FLOOR_PX = 0.05
"""Deviation added to the predicted one of every pixel coordinate, so that no match weighs more than images can be trusted."""
SETTLED = 0.05
"""Standard deviations that the last step is shorter than."""
_CAUCHY_SCALE = 2.0
"""In standard deviations: residuals beyond it lose influence."""
_MEDIAN_OF_CHI = {1: 0.6745, 2: 1.1774, 3: 1.5382}
"""Median length of a standard normal vector by its dimension."""
_GAIN = {1: 1.100, 2: 1.270, 3: 1.447}
"""By dimension: how much more normally distributed residuals tell than their Cauchy-weighted normal matrix claims. The
covariance of an M-estimate is B / A^2 times that of least squares, A the mean slope of the influence function and B its
mean square (Huber and Ronchetti, Robust Statistics, 2nd edition, section 7.6); the weights' mean is neither."""
_LARGEST_CONDITION = 1e14


@dataclass(frozen=True)
class Linearised:
    """M residual blocks of d values at a state with p parameters."""

    residuals: Array
    """(M, d)."""
    jacobian: Array
    """(M, d, p) by a step of the parameters."""
    information: Array
    """(M, d, d) inverse covariance up to one common factor, which is estimated."""


@dataclass(frozen=True)
class Prior(Generic[_State]):
    """What is known of the state beforehand."""

    deviation: Callable[[_State], Array]
    """State to its distance (p,) from the expected one; its derivative by a step is taken to be the identity."""
    information: Array
    """(p, p) inverse covariance; zero for parameters of which nothing is known."""


def minimise(
    linearise: Callable[[_State], Linearised],
    retract: Callable[[_State, Array], _State],
    state: _State,
    prior: Prior[_State] | None = None,
    iterations: int = 10,
    settled: float = SETTLED,
) -> tuple[_State, Array] | None:
    """Iteratively re-weighted Gauss-Newton with a Cauchy loss.

    Args:
        linearise: the residuals at a state.
        retract: state and step (p,) to the next state.
        state: where to start; it must already be near the minimum.
        prior: knowledge beside the residuals.
        iterations: at most so many steps.
        settled: stop after a step that is shorter than so many standard deviations. Re-weighting converges linearly, so
            that what is left to go is about as much.

    Returns:
        The final state and the covariance (p, p) of its parameters, with the residuals' own spread as their noise;
        None where the residuals do not determine the state.
    """
    normal = np.zeros((0, 0))
    for _ in range(iterations):
        at = linearise(state)
        weights, pulls = _weights(at)
        weighted = weights[:, None, None] * (at.information @ at.jacobian)
        by_parameter = at.jacobian.reshape(-1, at.jacobian.shape[2])
        normal = by_parameter.T @ weighted.reshape(by_parameter.shape)
        gradient = by_parameter.T @ (weights[:, None] * pulls).ravel()
        if prior is not None:
            normal = normal + prior.information
            gradient = gradient + prior.information @ prior.deviation(state)
        if not determined(normal):
            return None
        step: Array = -np.asarray(np.linalg.solve(normal, gradient), dtype=np.float64)
        state = retract(state, step)
        if step @ normal @ step < settled**2:
            break
    return state, np.asarray(np.linalg.inv(normal), dtype=np.float64)


def with_shared_errors(covariance: Array, at: Linearised, times_counted: Array) -> Array:
    """The covariance of what `minimise` found where residual blocks err alike.

    Args:
        covariance: (p, p) as it gave it: of independent errors.
        at: the residuals where it ended.
        times_counted: (M,) how often the error of each block is counted, 1 where it is independent of all others.

    With N the normal matrix and B the covariance of the gradient, the estimate has N^-1 B N^-1 (Huber's sandwich, as for
    clustered observations); B exceeds N by what the blocks share.
    """
    weights, _ = _weights(at)
    excess = (weights * (times_counted - 1.0))[:, None, None] * (at.information @ at.jacobian)
    by_parameter = at.jacobian.reshape(-1, at.jacobian.shape[2])
    return np.asarray(covariance + covariance @ (by_parameter.T @ excess.reshape(by_parameter.shape)) @ covariance)


def _weights(at: Linearised) -> tuple[Array, Array]:
    """Of the residual blocks (M,), and the residuals times their information (M, d)."""
    pulls = (at.information @ at.residuals[:, :, None])[:, :, 0]
    squared = (pulls * at.residuals).sum(axis=1)
    variance = robust_variance(squared, at.residuals.shape[1])
    # Fitted residuals are smaller than the noise, by the share that the parameters have taken up.
    variance *= at.residuals.size / max(at.residuals.size - at.jacobian.shape[2], 1)
    return cauchy_weights(squared, variance, at.residuals.shape[1]), pulls


def determined(normal: Array) -> bool:
    """Whether every direction of the parameters is determined, whatever unit and certainty each of them has."""
    scale = np.sqrt(np.diagonal(normal))
    if not np.all(np.isfinite(normal)) or np.min(scale) <= 0.0:
        return False
    return bool(np.linalg.cond(normal / np.outer(scale, scale)) < _LARGEST_CONDITION)


def inverse_symmetric(matrices: Array) -> Array:
    """Inverses of positive definite matrices (M, 3, 3), by cofactors: LAPACK takes a microsecond for each of them."""
    (a, b, c), (_, d, e), (_, _, f) = matrices.transpose(1, 2, 0)
    cofactors = np.array([d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b])
    determinant = a * cofactors[0] + b * cofactors[1] + c * cofactors[2]
    return np.ascontiguousarray((cofactors / determinant)[[0, 1, 2, 1, 3, 4, 2, 4, 5]].T).reshape(-1, 3, 3)


def cauchy_weights(squared: Array, variance: float, dimension: int) -> Array:
    """Weights (M,) of residual blocks with whitened lengths squared (M,), as their information is to be multiplied.

    Args:
        squared: up to one common factor.
        variance: that factor.
        dimension: of a block.
    """
    return np.asarray(_GAIN[dimension] / (variance + squared / _CAUCHY_SCALE**2))


def robust_variance(squared: Array, dimension: int) -> float:
    """Common variance factor from the median of squared lengths, never so small that weights blow up."""
    spread = np.sqrt(np.median(squared)) / _MEDIAN_OF_CHI[dimension]
    return float(max(spread, 1e-3) ** 2)
