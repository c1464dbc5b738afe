"""Metres from another odometry: how far it says the robot moved, carried over to the camera.

The camera sits at the end of a lever from what is tracked, so the robot's turning moves it too. How the robot turned is
taken from the images, which see it better than wheels do: with X = T_tracked_camera, its lever l and the tracked frame's
displacement d, the camera moves by d + (R - 1) l, R = X R_reference_current X^-1, in tracked axes.
"""

from __future__ import annotations

import numpy as np

from subpx_ros.datatypes import Array
from subpx_ros.geometry import angle_between
from subpx_ros.scale.length import Length, LengthSource, UnitMotion
from subpx_ros.scale.other_odometry import OtherOdometry, Travel

_LEAST_SIGMAS = 3.0
"""A length must exceed its deviation so many times: wheels that stand do not tell how far the camera slid."""
_LARGEST_ANGLE = np.pi / 3.0
"""Between the directions in which the wheels and the images say that the camera moved."""
_SPIN = 1.5
"""Wheels that moved so many times as far as they should, while the camera hardly did, have spun."""
_SPIN_DEVIATION = 0.1
"""Relative standard deviation of a length that is taken from a part of the motion."""


class FromWheels(LengthSource):
    """From the poses of another odometry at the stamps of both frames."""

    def __init__(self, other: OtherOdometry, deviation: float) -> None:
        """`deviation`: relative standard deviation of distances, where `other` does not claim one."""
        self._other = other
        self._deviation = deviation

    def length(self, motion: UnitMotion) -> Length:
        mount = self._other.mount
        if mount is None:
            return Length(reason=f"wheel odometry: {self._other.unmounted}")
        travel, share = self._travel(motion)
        if travel.displacement is None:
            return Length(reason=f"wheel odometry: {travel.reason}")
        rotation, lever = mount[:3, :3], mount[:3, 3]
        turned = rotation @ motion.T_reference_current[:3, :3] @ rotation.T
        moved = travel.displacement / share + turned @ lever - lever
        metres, deviation = float(np.linalg.norm(moved)), self._deviation_m(motion, travel, share, lever)
        if metres < _LEAST_SIGMAS * deviation:
            return Length(reason=f"wheel odometry moved the camera by {metres:.3f} m, give or take {deviation:.3f} m")
        apart = angle_between(rotation.T @ moved, motion.direction)
        if apart > _LARGEST_ANGLE:
            return Length(
                reason=f"wheel odometry moved the camera {np.degrees(apart):.0f} deg away from where the images show it going"
            )
        return Length(metres, deviation**2)

    def _travel(self, motion: UnitMotion) -> tuple[Travel, float]:
        """What was tracked over the motion, or over the share of it that came after a rest on which the wheels spun."""
        whole = self._other.travel(motion.reference_ns, motion.current_ns)
        if motion.moving_since_ns == motion.reference_ns:
            return whole, 1.0
        since = self._other.travel(motion.moving_since_ns, motion.current_ns)
        if since.displacement is None:
            return whole, 1.0
        spun = whole.displacement is None or whole.metres > _SPIN * since.metres / motion.moving_share
        return (since, motion.moving_share) if spun else (whole, 1.0)

    def _deviation_m(self, motion: UnitMotion, travel: Travel, share: float, lever: Array) -> float:
        """Standard deviation of the length: of the distance, of its ends, of the turning at the lever."""
        assert travel.displacement is not None
        of_distance = self._deviation * travel.metres
        claimed = travel.velocity_covariance
        if claimed is not None and travel.metres > 0.0:
            along = travel.displacement / travel.metres
            variance = float(along @ claimed @ along)
            of_distance = travel.seconds * float(np.sqrt(variance)) if variance > 0.0 else of_distance
        of_lever = float(np.linalg.norm(lever) * np.sqrt(np.trace(motion.covariance[3:, 3:])))
        of_spin = _SPIN_DEVIATION * travel.metres if share < 1.0 else 0.0
        whole = np.array([of_distance, travel.deviation_m, of_spin]) / share
        return float(np.linalg.norm([*whole, of_lever]))
