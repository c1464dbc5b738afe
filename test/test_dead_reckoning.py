"""The uncertainty of a way against many ways whose motions err as they are said to."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Array, PoseStatus, RelativePose, RightCentreEffect
from subpx_ros.dead_reckoning import Step, Uncertainty, with_common_error
from subpx_ros.geometry import rotation_from_vector, se3, vector_from_rotation
from subpx_ros.rectification import RightCentre, share_kept

BEND = se3(rotation_from_vector(np.array([0.01, -0.04, 0.005])), np.array([0.03, -0.01, 0.8]))
NOISE = 1e-3 * np.array([0.3, 0.2, 0.5, 0.02, 0.03, 0.02])
"""Metres and radians that a motion errs by, by itself."""
BY_SHIFT = np.array([0.004, -0.001, 0.05, 0.0002, 0.0001, 0.0])
"""Metres and radians per pixel."""
SHARE, FRAMES = 0.4, 8.0
CONFIG = replace(OdometryConfig(), common_error_share=SHARE, common_error_frames=FRAMES)
BEGIN = Uncertainty(np.zeros((6, 6)))
MOTIONS = 30
WAYS = 200


def own_covariance() -> Array:
    """(6, 6) with correlations between translation and rotation."""
    mixed = np.eye(6) + 0.3 * np.eye(6, k=3) - 0.2 * np.eye(6, k=-2)
    return np.asarray((NOISE[:, None] * mixed) @ (NOISE[:, None] * mixed).T)


def centre_variances(falling: bool) -> list[float]:
    """Of the right centre before each motion: as it is learnt, or as it stays."""
    centre, variances = RightCentre(0.0, 0.02**2), []
    for _ in range(MOTIONS):
        variances.append(centre.variance_px2)
        if falling:
            centre = centre.updated(RightCentre(0.0, 0.8 * centre.variance_px2))
    return variances


def pose_with(centre_variance: float) -> RelativePose:
    effect = RightCentreEffect(BY_SHIFT, centre_variance)
    covariance = own_covariance() + centre_variance * np.outer(BY_SHIFT, BY_SHIFT)
    return with_common_error(RelativePose(PoseStatus.OK, "", BEND, covariance, True, right_centre=effect), CONFIG)


def claimed(steps: list[Step]) -> tuple[Array, list[Uncertainty]]:
    """The pose (4, 4) after steps from the origin, and the uncertainty after each of them."""
    T, uncertainty, all_of_them = np.eye(4), BEGIN, []
    for step in steps:
        uncertainty = step.after(T, uncertainty)
        T = T @ step.T_here_there
        all_of_them.append(uncertainty)
    return T, all_of_them


def steps_of(variances: list[float], config: OdometryConfig) -> list[Step]:
    poses = [pose_with(variance) for variance in variances]
    return [Step.measured(BEND, pose.covariance, pose, config) for pose in poses if pose.covariance is not None]


def erring_way(rng: np.random.Generator, variances: list[float]) -> Array:
    """The pose (4, 4) that motions give which err by their own noise, by a common error, and by the right centre."""
    own, kept = np.linalg.cholesky(own_covariance()), np.exp(-1.0 / FRAMES)
    root = symmetric_root(own_covariance())
    common, shift, T = rng.standard_normal(6), np.sqrt(variances[0]) * rng.standard_normal(), np.eye(4)
    for number, variance in enumerate(variances):
        if number:
            common = kept * common + np.sqrt(1.0 - kept**2) * rng.standard_normal(6)
            share = share_kept(variances[number - 1], variance)
            shift = share * shift + np.sqrt(variance - share**2 * variances[number - 1]) * rng.standard_normal()
        error = own @ rng.standard_normal(6) + np.sqrt(SHARE) * root @ common + shift * BY_SHIFT
        T = T @ se3(rotation_from_vector(error[3:]) @ BEND[:3, :3], BEND[:3, 3] + error[:3])
    return T


def symmetric_root(covariance: Array) -> Array:
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return np.asarray(scale[:, None] * (vectors * np.sqrt(values)) @ vectors.T)


def mean_nees(T_claimed: Array, covariance: Array, variances: list[float]) -> float:
    rng, values = np.random.default_rng(3), []
    for _ in range(WAYS):
        T = erring_way(rng, variances)
        turned = vector_from_rotation(T[:3, :3] @ T_claimed[:3, :3].T)
        error = np.concatenate([T[:3, 3] - T_claimed[:3, 3], turned])
        values.append(error @ np.linalg.solve(covariance, error))
    return float(np.mean(values))


@pytest.mark.parametrize("falling", [True, False])
def test_errors_that_motions_share_are_in_the_uncertainty_of_the_way(falling: bool) -> None:
    variances = centre_variances(falling)
    T, uncertainties = claimed(steps_of(variances, CONFIG))
    low, high = chi2.ppf([0.025, 0.975], 6 * WAYS) / WAYS
    assert low < mean_nees(T, uncertainties[-1].covariance, variances) < high


def test_a_way_of_independent_motions_would_claim_too_much() -> None:
    variances = centre_variances(falling=False)
    independent = [replace(step, right_centre=None, by_common=np.zeros((6, 6))) for step in steps_of(variances, CONFIG)]
    T, uncertainties = claimed(independent)
    assert mean_nees(T, uncertainties[-1].covariance, variances) > 2.0 * 6.0


def test_a_shared_error_that_stays_adds_up_with_the_length_and_others_with_its_root() -> None:
    T_ahead = se3(np.eye(3), np.array([0.0, 0.0, 1.0]))
    ahead = np.diag([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    noise = [Step(T_ahead, ahead) for _ in range(16)]
    assert claimed(noise)[1][-1].covariance[2, 2] == pytest.approx(16.0)
    forever = [replace(step, by_common=ahead, kept=1.0) for step in noise]
    assert claimed(forever)[1][-1].covariance[2, 2] == pytest.approx(16.0**2)


def test_uncertainty_is_positive_definite_and_grows() -> None:
    _, uncertainties = claimed(steps_of(centre_variances(falling=True), CONFIG))
    spreads = [np.diag(uncertainty.covariance) for uncertainty in uncertainties]
    assert all(np.all(np.linalg.eigvalsh(uncertainty.covariance) > 0.0) for uncertainty in uncertainties)
    assert all(np.all(later > earlier) for earlier, later in pairwise(spreads))


def test_one_motion_claims_what_its_estimate_claims() -> None:
    pose = pose_with(0.01**2)
    assert pose.covariance is not None
    after = Step.measured(BEND, pose.covariance, pose, CONFIG).after(np.eye(4), BEGIN)
    np.testing.assert_allclose(after.covariance, pose.covariance, rtol=1e-12, atol=0.0)


def test_a_motion_of_certain_length_has_common_errors_across_it_only() -> None:
    spread = np.diag([1e-4, 1e-4, 0.0, 1e-6, 1e-6, 1e-6])
    pose = with_common_error(RelativePose(PoseStatus.OK, "", BEND, spread), CONFIG)
    step = Step.measured(BEND, spread, pose, CONFIG)
    np.testing.assert_allclose(step.by_common @ step.by_common.T, SHARE * spread, atol=1e-18)


@pytest.mark.parametrize("noise_px", [0.005, 0.05, 1.0])
def test_the_centre_keeps_as_much_of_an_error_as_is_said(noise_px: float) -> None:
    def next_centre(shift_px: float) -> RightCentre:
        before = RightCentre(shift_px, 0.02**2)
        # What a pair sees, 0.01 px, together with what was known.
        variance = 1.0 / (1.0 / before.variance_px2 + 1.0 / noise_px**2)
        seen = variance * (shift_px / before.variance_px2 + 0.01 / noise_px**2)
        return before.updated(RightCentre(seen, variance))

    kept = (next_centre(0.001).shift_px - next_centre(0.0).shift_px) / 0.001
    assert share_kept(0.02**2, next_centre(0.0).variance_px2) == pytest.approx(kept, rel=1e-6)


def test_a_pose_that_was_not_found_has_no_errors() -> None:
    lost = RelativePose(PoseStatus.LOST, "dark")
    assert with_common_error(lost, CONFIG) is lost


def test_nothing_is_kept_of_what_was_never_unsure() -> None:
    assert share_kept(0.0, 0.01) == 0.0
