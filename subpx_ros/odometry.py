"""Visual odometry, one camera or a rectified stereo pair: each frame is described once and related to a reference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from subpx_ros.config import Config
from subpx_ros.datatypes import (
    Array,
    Features,
    Frame,
    Matches,
    OdometryResult,
    PoseStatus,
    RefinedMatches,
    RelativePose,
    Rig,
    TrackingState,
)
from subpx_ros.errors import DataError
from subpx_ros.geometry import hat
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import estimate_mono, estimate_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import Disparities

UNKNOWN_VARIANCE = 1e6
"""m^2 and rad^2 on the diagonal of the covariance of a pose that is not known."""


@dataclass(frozen=True)
class _View:
    """What is kept of a frame for as long as others refer to it."""

    stamp_ns: int
    features: Features
    disparities: Disparities
    T_odom_camera: Array
    covariance: Array


@dataclass
class _Record:
    """Times and counts of the frame in work."""

    stage_ms: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.stage_ms[name] = self.stage_ms.get(name, 0.0) + 1e3 * (time.perf_counter() - start)


class VisualOdometry:
    """Turns frames into poses. Loads its models when made; one thread at a time may call it."""

    def __init__(
        self,
        config: Config,
        rig: Rig,
        report: Callable[[str], None] = lambda line: None,
        front_end: FrontEnd | None = None,
    ) -> None:
        """
        Args:
            config: all settings; its mode must fit the rig.
            rig: the cameras of every frame to come.
            report: called with lines for people while models load.
            front_end: models that are loaded already, for the same configuration.

        Raises:
            DataError: stereo was asked for and the rig has one camera.
            SubpxError: a model, its weights or the device cannot be had.
        """
        if config.mode == "stereo" and not rig.stereo:
            raise DataError(
                "mode 'stereo' needs a rig of two cameras; got one: choose mode 'mono' or give the right one"
            )
        self._config = config
        self._rig = rig
        self._stereo = rig.stereo and config.mode != "mono"
        self._front_end = front_end or FrontEnd(config, report)
        self.reset()

    @property
    def mode(self) -> str:
        return "stereo" if self._stereo else "mono"

    @property
    def detector(self) -> str:
        return self._front_end.detector.name

    @property
    def matcher(self) -> str:
        return self._front_end.matcher.name

    @property
    def refiner(self) -> str:
        return self._front_end.refiner.name

    @property
    def device(self) -> str:
        return str(self._front_end.device)

    def reset(self) -> None:
        """Forget all frames; the next one becomes the origin."""
        self._reference: _View | None = None
        self._T_odom_camera = np.eye(4)
        self._covariance = np.zeros((6, 6))
        estimated = self._config.odometry.estimate_right_centre
        self._right_centre = RightCentre.unknown() if estimated else RightCentre()

    def process(self, frame: Frame) -> OdometryResult:
        """The pose of the next frame.

        Raises:
            DataError: the frame comes from another rig.
        """
        if frame.rig != self._rig:
            raise DataError(f"a frame of the rig {self._rig} was required; got one of {frame.rig}: make a new odometry")
        record = _Record()
        with record.stage("total"):
            features, disparities = self._describe(frame, record)
            reference = self._reference
            if reference is None:
                matches, relative = _no_matches(), self._beginning(features, disparities)
            else:
                matches, relative = self._relate(reference, features, disparities, record)
                self._advance(reference, relative)
            state = self._judge(matches, relative)
            if state is TrackingState.LOST:
                # Whatever is related to this frame later inherits that nobody knows where it was.
                self._covariance = UNKNOWN_VARIANCE * np.eye(6)
            view = _View(frame.stamp_ns, features, disparities, self._T_odom_camera, self._covariance)
            if self._becomes_reference(view, state, matches, relative):
                self._reference = view
        record.counts["keypoints"] = len(features)
        record.counts["stereo_matches"] = disparities.found
        record.counts["matches"] = len(matches)
        record.counts["inliers"] = int(np.count_nonzero(relative.inliers))
        return OdometryResult(
            stamp_ns=frame.stamp_ns,
            state=state,
            T_odom_camera=self._T_odom_camera,
            covariance=self._covariance,
            relative_pose=relative,
            reference_stamp_ns=reference.stamp_ns if reference else None,
            matches=matches,
            counts=record.counts,
            stage_ms=_total_last(record.stage_ms),
        )

    def _describe(self, frame: Frame, record: _Record) -> tuple[Features, Disparities]:
        """Features of the left image and their disparities."""
        if not self._stereo:
            with record.stage("features"):
                (features,) = self._front_end.detect([frame.image])
            return features, Disparities(np.full(len(features), np.nan))
        assert frame.right_image is not None and self._rig.right is not None
        with record.stage("features"):
            left, right = self._front_end.detect([frame.image, frame.right_image])
        with record.stage("stereo"):
            found = self._front_end.match_along_rows(left, right, self._rig.left.cx - self._rig.right.cx)
        with record.stage("refinement"):
            refined = self._front_end.refine(left, right, found)
        return left, self._disparities(len(left), found, refined)

    def _disparities(self, count: int, found: Matches, refined: RefinedMatches) -> Disparities:
        difference = refined.refined0 - refined.refined1
        plausible = np.abs(difference[:, 1]) <= self._config.matching.max_row_difference_px
        indices = found.indices0.cpu().numpy()[plausible]

        def spread(values: Array) -> Array:
            every = np.full(count, np.nan)
            every[indices] = values[plausible]
            return every

        covariance = refined.covariance1
        return Disparities(spread(difference[:, 0]), None if covariance is None else spread(covariance[:, 0, 0]))

    def _relate(
        self, reference: _View, features: Features, disparities: Disparities, record: _Record
    ) -> tuple[RefinedMatches, RelativePose]:
        """Matches of the reference to the current view, and the pose they give."""
        with record.stage("matching"):
            found = self._front_end.match(reference.features, features)
        with record.stage("refinement"):
            matches = self._front_end.refine(reference.features, features, found)
        with record.stage("pose"):
            if self._stereo:
                indices0, indices1 = (indices.cpu().numpy() for indices in (found.indices0, found.indices1))
                # The first point is where it is seen: what is uncertain is where the second image shows it.
                certain = None if matches.covariance1 is None else np.zeros_like(matches.covariance1)
                before = reference.disparities.points(indices0, matches.refined0, certain)
                now = disparities.points(indices1, matches.refined1, matches.covariance1)
                relative, found_centre = estimate_stereo(before, now, self._rig, self._config.pose, self._right_centre)
                self._right_centre = self._right_centre.updated(found_centre)
            else:
                camera = self._rig.left
                points = matches.refined0, matches.refined1
                relative = estimate_mono(*points, camera, camera, self._config.pose, matches.covariance1)
        return matches, relative

    def _beginning(self, features: Features, disparities: Disparities) -> RelativePose:
        """No pose yet, and why: this is the first frame, or it is too empty to be one."""
        usable, needed = self._usable(features, disparities), self._config.pose.min_matches
        what = "left-right matches" if self._stereo else "keypoints"
        reason = "first frame" if usable >= needed else f"{usable} {what}, {needed} needed to begin"
        return RelativePose(PoseStatus.NO_REFERENCE, reason)

    def _judge(self, matches: RefinedMatches, relative: RelativePose) -> TrackingState:
        if relative.status is PoseStatus.NO_REFERENCE:
            return TrackingState.INITIALISING
        if relative.ok:
            return TrackingState.TRACKING
        if relative.status is PoseStatus.DEGENERATE and not self._stereo:
            # One camera that stands still is where it was; one that turns on the spot is not, but will be found again
            # once it has moved away from the reference.
            return TrackingState.TRACKING if self._stands_still(matches, relative) else TrackingState.DEGRADED
        return TrackingState.LOST

    def _advance(self, reference: _View, relative: RelativePose) -> None:
        """Compose the odometry where a pose was found; stay put where it was not."""
        if relative.T_reference_current is None or relative.covariance is None:
            return
        self._T_odom_camera = reference.T_odom_camera @ relative.T_reference_current
        self._covariance = _compose_covariance(reference, relative.T_reference_current, relative.covariance)

    def _becomes_reference(
        self, view: _View, state: TrackingState, matches: RefinedMatches, relative: RelativePose
    ) -> bool:
        """Whether the next frames are related to this one.

        A frame that hardly moved does not replace its reference, so that standing still does not drift. One that
        could not be related does, unless there is too little in it to relate others to, as in a black image.
        """
        if relative.ok:
            return not self._stands_still(matches, relative)
        if state in (TrackingState.TRACKING, TrackingState.DEGRADED):
            return False
        return self._usable(view.features, view.disparities) >= self._config.pose.min_matches

    def _usable(self, features: Features, disparities: Disparities) -> int:
        """How many features another frame can be related to."""
        return disparities.found if self._stereo else len(features)

    def _stands_still(self, matches: RefinedMatches, relative: RelativePose) -> bool:
        """Whether the matches, those that agree on a pose where there is one, hardly move in the image."""
        motion = np.linalg.norm(matches.refined1 - matches.refined0, axis=1)
        if relative.ok:
            motion = motion[relative.inliers]
        return float(np.median(motion)) < self._config.odometry.keyframe_min_motion_px


def _no_matches() -> RefinedMatches:
    empty = np.zeros((0, 2))
    return RefinedMatches(empty, empty, empty, empty, np.zeros(0, dtype=np.float32))


def _compose_covariance(reference: _View, T_reference_current: Array, covariance: Array) -> Array:
    """Covariance of T_odom_reference @ T_reference_current, both independent, in the odometry axes (first order)."""
    rotation = reference.T_odom_camera[:3, :3]
    lever = np.eye(6)
    lever[:3, 3:] = -hat(rotation @ T_reference_current[:3, 3])
    turned = np.kron(np.eye(2), rotation)
    return lever @ reference.covariance @ lever.T + turned @ covariance @ turned.T


def _total_last(stage_ms: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in stage_ms.items() if name != "total"} | {"total": stage_ms["total"]}
