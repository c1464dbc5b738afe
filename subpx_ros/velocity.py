"""Velocity of the camera from two consecutive results of the odometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Array, OdometryResult
from subpx_ros.geometry import invert, logarithm
from subpx_ros.motion_model import NS_TO_S
from subpx_ros.whereabouts import UNKNOWN_VARIANCE


@dataclass(frozen=True)
class Velocity:
    """Mean velocity of a frame between two instants, in its own axes."""

    twist: Array
    """(6,) linear x, y, z in m/s, then angular x, y, z in rad/s. What is not known is zero."""
    covariance: Array
    """(6, 6) in the same order; UNKNOWN_VARIANCE on the diagonal of what is not known."""


UNKNOWN_VELOCITY = Velocity(np.zeros(6), UNKNOWN_VARIANCE * np.eye(6))


class Velocimeter:
    """Remembers the result before. A velocity is known only between two frames that both have a pose."""

    def __init__(self) -> None:
        self._before: OdometryResult | None = None

    def update(self, result: OdometryResult) -> Velocity:
        """Of the camera, in optical axes, between the frame before and this one."""
        before, self._before = self._before, result
        if before is None or not before.located or not result.located or result.stamp_ns <= before.stamp_ns:
            return UNKNOWN_VELOCITY
        covariance = _covariance_of_step(before, result)
        if covariance is None:
            return UNKNOWN_VELOCITY
        seconds = (result.stamp_ns - before.stamp_ns) * NS_TO_S
        twist = logarithm(_step(before, result)) / seconds
        covariance = covariance / seconds**2
        if not result.metric:
            twist[:3] = 0.0
            covariance[:3] = covariance[:, :3] = 0.0
            covariance[:3, :3] = UNKNOWN_VARIANCE * np.eye(3)
        return Velocity(twist, covariance)


def _step(before: OdometryResult, result: OdometryResult) -> Array:
    """The motion (4, 4) from the frame before to this one.

    Poses of a window also differ by what was learnt of the way up to the frame before, which is no motion.
    """
    stood_still = np.array_equal(before.T_odom_camera, result.T_odom_camera)
    moved = result.relative_pose.T_reference_current
    if moved is None or stood_still or result.reference_stamp_ns != before.stamp_ns:
        return invert(before.T_odom_camera) @ result.T_odom_camera
    return moved


def _covariance_of_step(before: OdometryResult, result: OdometryResult) -> Array | None:
    """(6, 6) of the motion from the frame before to this one, in the axes of the former (first order); None: not known.

    Where both refer to one reference their errors add up at most: what they share, the noise of the reference, cancels.
    """
    now, first = result.relative_pose.covariance, before.relative_pose
    if now is None or result.reference_stamp_ns == before.stamp_ns:
        return now
    shared = result.reference_stamp_ns == before.reference_stamp_ns
    if not shared or first.covariance is None or first.T_reference_current is None:
        return None
    turn = np.kron(np.eye(2), first.T_reference_current[:3, :3].T)
    return turn @ (now + first.covariance) @ turn.T
