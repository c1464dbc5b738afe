"""How the uncertainty of a pose grows where one motion is added to the next, and motions err alike.

Three things make an error of a motion: noise of its own; the error of the right camera's principal point, which moves every
motion by its known effect and is slowly learnt anew; and what successive motions have in common because they see the same
surfaces. The last is a first-order Gauss-Markov process in the axes of the camera, as inertial navigation models the
bias of a sensor (Groves, Principles of GNSS, Inertial, and Multisensor Integrated Navigation, 2nd edition, section 14.2). All
three are carried as cross-covariances with the pose, which is the error-state covariance of a filter without its measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from subpx_ros.config import OdometryConfig
from subpx_ros.datatypes import Array, RelativePose, RightCentreEffect
from subpx_ros.geometry import hat
from subpx_ros.rectification import share_kept


@dataclass(frozen=True)
class Uncertainty:
    """Of a pose in the odometry frame, and how it hangs together with what the next motion will err by."""

    covariance: Array
    """(6, 6) as OdometryResult defines it."""
    with_common: Array = field(default_factory=lambda: np.zeros((6, 6)))
    """(6, 6) with the common error of the motion that led here, in the camera's axes and of unit covariance."""
    with_centre: Array = field(default_factory=lambda: np.zeros(6))
    """(6,) with the error of the right principal point as that motion assumed it, metres and radians times pixels."""
    centre_variance_px2: float = 0.0
    """Of that error."""


@dataclass(frozen=True)
class Step:
    """A motion from one place to another."""

    T_here_there: Array
    """(4, 4)"""
    covariance: Array
    """(6, 6) as RelativePose defines it, all its errors together."""
    by_common: Array = field(default_factory=lambda: np.zeros((6, 6)))
    """(6, 6) what the common error, which has unit covariance, makes of it; part of the covariance."""
    kept: float = 0.0
    """Correlation of the common error with that of the motion before."""
    right_centre: RightCentreEffect | None = None
    """Part of the covariance as well."""

    @classmethod
    def measured(cls, T_here_there: Array, covariance: Array, pose: RelativePose, config: OdometryConfig) -> Step:
        """A motion that images gave, with errors that others share.

        Args:
            T_here_there: (4, 4).
            covariance: (6, 6), not less than that of `pose`.
            pose: the estimate that it comes from, `with_common_error`.
            config: size and length of the common error.
        """
        assert pose.covariance is not None
        share = config.common_error_share / (1.0 + config.common_error_share)
        by_common = np.sqrt(share) * _root(_beside_centre(pose.covariance, pose.right_centre))
        kept = float(np.exp(-1.0 / config.common_error_frames))
        return cls(T_here_there, covariance, by_common, kept, pose.right_centre)

    def after(self, T_odom_here: Array, here: Uncertainty) -> Uncertainty:
        """The uncertainty of T_odom_here (4, 4) T_here_there, first order."""
        rotation = T_odom_here[:3, :3]
        turned = np.kron(np.eye(2), rotation)
        lever = np.eye(6)
        lever[:3, 3:] = -hat(rotation @ self.T_here_there[:3, 3])

        by_common = turned @ self.by_common
        with_common = self.kept * lever @ here.with_common
        covariance = lever @ here.covariance @ lever.T + turned @ self.covariance @ turned.T
        covariance += _both_ways(with_common @ by_common.T)
        with_common = with_common + by_common

        effect = self.right_centre
        if effect is None:
            return Uncertainty(covariance, with_common)
        by_centre = turned @ effect.by_shift
        with_centre = share_kept(here.centre_variance_px2, effect.variance_px2) * (lever @ here.with_centre)
        covariance += _both_ways(np.outer(with_centre, by_centre))
        with_centre = with_centre + effect.variance_px2 * by_centre
        return Uncertainty(covariance, with_common, with_centre, effect.variance_px2)


def with_common_error(pose: RelativePose, config: OdometryConfig) -> RelativePose:
    """The pose with a covariance that has the error in it which matches have in common, and motions with each other: the solver
    takes matches for independent, at least those that are far apart."""
    if pose.covariance is None:
        return pose
    common = config.common_error_share * _beside_centre(pose.covariance, pose.right_centre)
    return replace(pose, covariance=pose.covariance + common)


def _beside_centre(covariance: Array, effect: RightCentreEffect | None) -> Array:
    """The part (6, 6) of a pose's covariance that is not the right centre's."""
    if effect is None:
        return covariance
    return np.asarray(covariance - effect.variance_px2 * np.outer(effect.by_shift, effect.by_shift))


def _both_ways(cross: Array) -> Array:
    return np.asarray(cross + cross.T)


def _root(covariance: Array) -> Array:
    """A square root (6, 6) of a covariance, by the symmetric one of its correlations: it depends on no unit, changes little from
    motion to motion, and exists where a direction is certain, as the length of one camera's motions is."""
    scale = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    safe = np.where(scale > 0.0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(safe, safe))
    return np.asarray(scale[:, None] * ((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T))
