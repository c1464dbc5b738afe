"""A single camera's motion in metres, where its height over the ground is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from subpx_ros.datatypes import Array, Camera, RefinedMatches, RelativePose
from subpx_ros.geometry import homogeneous
from subpx_ros.ground_scale import GroundScale, points_of_pair


class MonoScale:
    """Gives motions of unit length their length. What it remembers is the speed, which changes slowly."""

    def __init__(self, camera: Camera, height_m: float) -> None:
        """`height_m` of the camera over the ground."""
        self._camera = camera
        self._scale = GroundScale(camera, height_m)

    def reset(self) -> None:
        """Forget the speed."""
        self._scale.reset()

    def metric(self, pose: RelativePose, matches: RefinedMatches, seconds: float) -> RelativePose:
        """The pose with a translation in metres, or as it is where there is none or its length is not known.

        Args:
            pose: of unit length, from the matches.
            matches: reference (0) to current (1).
            seconds: from the reference to the current frame.
        """
        if pose.T_reference_current is None or pose.covariance is None or seconds <= 0.0:
            return pose
        # With the interval as its length, the factor of a motion is the speed: a longer interval does not change it.
        T_timed = _lengthened(pose.T_reference_current, seconds)
        rays0, rays1 = (
            homogeneous(self._camera.normalise(pixels[pose.inliers])) for pixels in (matches.refined0, matches.refined1)
        )
        found = self._scale.update(points_of_pair(rays0, rays1, T_timed), matches.refined1[pose.inliers], T_timed)
        if found is None:
            return pose
        direction, length = pose.T_reference_current[:3, 3], seconds * found.factor
        units = np.concatenate([np.full(3, length), np.ones(3)])
        covariance = pose.covariance * np.outer(units, units)
        covariance[:3, :3] += seconds**2 * found.variance * np.outer(direction, direction)
        T_metric = _lengthened(pose.T_reference_current, length)
        return replace(pose, T_reference_current=T_metric, covariance=covariance, metric=True)


def _lengthened(T: Array, factor: float) -> Array:
    longer = T.copy()
    longer[:3, 3] *= factor
    return longer
