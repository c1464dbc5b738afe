"""Constant velocity: what it predicts, when it says nothing, and whether its certainty is right."""

from __future__ import annotations

import numpy as np
import pytest

from subpx_ros.datatypes import Array, PoseStatus, RelativePose
from subpx_ros.dead_reckoning import Step, Uncertainty
from subpx_ros.geometry import exponential, invert, logarithm, rotation_from_vector, se3
from subpx_ros.motion_model import MotionModel, Place

SECOND_NS = 1_000_000_000
PERIOD_NS = SECOND_NS // 10
TWIST = np.array([0.5, -0.1, 8.0, 0.02, 0.3, -0.05])
NOTHING = np.zeros((6, 6))
CERTAIN = Uncertainty(NOTHING)


def driven(model: MotionModel, twist: Array, frames: int, start: int = 0) -> Array:
    """The last pose (4, 4) of so many frames, ten a second, at a constant twist per second."""
    T = model.last.T_odom_camera if model.last else np.eye(4)
    for frame in range(frames):
        T = T @ exponential(0.1 * twist) if model.last else T
        model.measured(Place((start + frame) * PERIOD_NS, T, CERTAIN))
    return T


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-3, 1.0, 5.0])
def test_exponential_and_logarithm_are_inverse(scale: float) -> None:
    np.testing.assert_allclose(logarithm(exponential(scale * TWIST)), scale * TWIST, atol=1e-9)


def test_an_even_motion_goes_on() -> None:
    model = MotionModel()
    last = driven(model, TWIST, 8)
    for frames in (1, 4):
        expected = model.expected(7 * PERIOD_NS, (7 + frames) * PERIOD_NS)
        assert expected is not None
        np.testing.assert_allclose(expected.T_reference_current, exponential(0.1 * frames * TWIST), atol=1e-9)
        pose = RelativePose(PoseStatus.OK, "", exponential(0.1 * frames * TWIST), 1e-6 * np.eye(6), True)
        assert expected.distance(pose) < 1e-6
    assert model.last is not None and np.array_equal(model.last.T_odom_camera, last)


def test_nothing_is_expected_before_the_motion_is_known() -> None:
    model = MotionModel()
    assert model.predicted(0.1) is None
    driven(model, TWIST, 4)
    assert model.predicted(0.1) is not None and model.expected(3 * PERIOD_NS, 4 * PERIOD_NS) is None
    driven(model, TWIST, 1, start=4)
    assert model.expected(4 * PERIOD_NS, 5 * PERIOD_NS) is not None
    model.forget()
    assert model.last is None and model.predicted(0.1) is None and model.expected(0, PERIOD_NS) is None


def test_the_longer_nothing_is_seen_the_less_is_known() -> None:
    model = MotionModel()
    driven(model, TWIST, 8)
    last = 7 * PERIOD_NS

    def spread(begin: int, end: int) -> float:
        expected = model.expected(last + begin * PERIOD_NS, last + end * PERIOD_NS)
        assert expected is not None
        return float(np.trace(expected.covariance))

    assert spread(0, 1) < spread(0, 2) < spread(0, 5)
    assert spread(0, 1) < spread(3, 4)
    # 2 m/s^2 for 0.1 s, from the middle of the last interval on: 2 cm.
    assert spread(0, 1) == pytest.approx(6 * 0.02**2, rel=1e-6)


def test_its_certainty_covers_accelerations_that_it_has_seen() -> None:
    rng, squared = np.random.default_rng(0), []
    size = np.array([8.0, 8.0, 8.0, 4.0, 4.0, 4.0])
    for _ in range(150):
        model, T, velocity = MotionModel(), np.eye(4), TWIST.copy()
        model.measured(Place(0, T, CERTAIN))
        for frame in range(1, 31):
            velocity += 0.1 * size * rng.standard_normal(6)
            T = T @ exponential(0.1 * velocity)
            if frame < 30:
                model.measured(Place(frame * PERIOD_NS, T, CERTAIN))
        assert model.last is not None
        expected = model.expected(29 * PERIOD_NS, 30 * PERIOD_NS)
        assert expected is not None
        found = RelativePose(PoseStatus.OK, "", invert(model.last.T_odom_camera) @ T, 1e-9 * np.eye(6), True)
        squared.append(expected.distance(found) ** 2)
    assert 0.6 < np.mean(squared) / 6 < 1.4


def test_a_place_moves_with_its_covariance() -> None:
    turned = se3(rotation_from_vector(np.array([0.0, 0.0, np.pi / 2])), np.array([1.0, 2.0, 3.0]))
    unsure_heading = np.diag([0.0, 0.0, 0.0, 0.0, 0.0, 0.01])
    ahead = Step(se3(np.eye(3), np.array([2.0, 0.0, 0.0])), NOTHING)
    T, uncertainty = Place(0, turned, Uncertainty(unsure_heading)).moved(ahead)
    np.testing.assert_allclose(T[:3, 3], [1.0, 4.0, 3.0], atol=1e-12)
    # The way leads along y, so that a heading that is off shifts x, by the length of the way.
    np.testing.assert_allclose(np.diag(uncertainty.covariance), [0.04, 0.0, 0.0, 0.0, 0.0, 0.01], atol=1e-12)
