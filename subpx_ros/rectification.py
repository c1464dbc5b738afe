"""What rectification left over: the right camera's principal point, estimated while driving.

A pair whose disparities are all too small by a fraction of a pixel sees everything too far away, and the farther the more.
Two views of a moving rig contradict each other then, which makes the shift observable: KITTI's grey pairs carry
about 0.2 px, as seen by every detector, which is one percent of the distance travelled.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from subpx_ros.datatypes import Rig

_INITIAL_STANDARD_DEVIATION_PX = 0.3
_DRIFT_PER_FRAME_PX = 0.003
_SHARE_OF_INFORMATION = 0.25
"""Neighbouring pairs share a view, and matching errors are not independent: a pair counts for less than it claims."""
_DISPARITY_BIAS_PX = 0.01
"""By so much all disparities of a pair may be off together for other reasons, in each scene in a way of its own: matching of
sub-pixels has 0.003 to 0.01 px on exact data. No pair tells it from the centre. See docs/performance.md."""
_FIXED_VARIANCE_PX2 = 1e-12


@dataclass(frozen=True)
class RightCentre:
    """Shift of the right camera's principal point along the row against its calibration, pixels, and its variance.

    Without arguments it is as calibrated, for certain.
    """

    shift_px: float = 0.0
    variance_px2: float = _FIXED_VARIANCE_PX2

    @classmethod
    def unknown(cls) -> RightCentre:
        """Before the first pair: as calibrated, give or take what rectification usually leaves over."""
        return cls(0.0, _INITIAL_STANDARD_DEVIATION_PX**2)

    @property
    def disparity_variance_px2(self) -> float:
        """Of what all disparities are off by together, when this is taken for the centre."""
        certain = self.variance_px2 == _FIXED_VARIANCE_PX2
        return self.variance_px2 + (0.0 if certain else _DISPARITY_BIAS_PX**2)

    def applied_to(self, rig: Rig) -> Rig:
        """The rig with the right principal point shifted."""
        assert rig.right is not None
        return dataclasses.replace(rig, right=dataclasses.replace(rig.right, cx=rig.right.cx + self.shift_px))

    def updated(self, posterior: RightCentre) -> RightCentre:
        """What is known after a pair whose own estimate, with this as its prior, is `posterior`."""
        if self.variance_px2 == _FIXED_VARIANCE_PX2:
            return self
        before = 1.0 / self.variance_px2
        gained = _SHARE_OF_INFORMATION * max(1.0 / posterior.variance_px2 - before, 0.0)
        # In information form the pair's own estimate is the posterior without the prior.
        pull = _SHARE_OF_INFORMATION * (posterior.shift_px - self.shift_px) / posterior.variance_px2
        variance = 1.0 / (before + gained)
        grown = min(variance + _DRIFT_PER_FRAME_PX**2, _INITIAL_STANDARD_DEVIATION_PX**2)
        return RightCentre(self.shift_px + pull * variance, grown)


def share_kept(variance_before_px2: float, variance_px2: float) -> float:
    """How much of what disparities were off by together is still in them later, from the variances of either.

    What a pair adds is independent of the error before, which it lessens by the factor by which the variance falls; then
    the centre drifts. A bias that no pair sees stays, and is in both variances.
    """
    if variance_before_px2 <= 0.0:
        return 0.0
    return float(np.clip((variance_px2 - _DRIFT_PER_FRAME_PX**2) / variance_before_px2, 0.0, 1.0))
