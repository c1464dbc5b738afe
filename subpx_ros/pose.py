"""Relative pose of two views: the only file that calls solvers.

PoseLib finds the pose and its inliers (LO-RANSAC); a weighted robust polish then gives the estimate and its covariance.
A pose that cannot be found is a `RelativePose` whose status says why, never an identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import poselib
from numpy.typing import NDArray

from subpx_ros.config import PoseConfig
from subpx_ros.crowding import times_counted
from subpx_ros.datatypes import Array, Camera, PoseStatus, RelativePose, Rig
from subpx_ros.geometry import (
    essential_matrix,
    homogeneous,
    invert,
    nearest_rotation,
    sampson_distance,
    se3,
    transform_points,
)
from subpx_ros.least_squares import FLOOR_PX, SETTLED
from subpx_ros.polish import StereoPolish, polish_mono, polish_stereo
from subpx_ros.rectification import RightCentre
from subpx_ros.triangulation import MINIMUM_DEPTH_M, StereoPoints, triangulate

_ON_THE_WAY = 0.5
"""Standard deviations: a step that is shorter ends a polish that another one follows."""
_CHOSEN_ANEW = (_ON_THE_WAY, SETTLED)
"""Rounds of leaving out what is far from the polished pose, and polishing again until a step is shorter than this."""
_NEAR_SIGMAS = 4.0
"""By the residuals' own spread in the image: what moves a little by itself lies beyond, within the threshold of inliers. The
Cauchy loss alone lets it pull all the same, and all of it pulls one way."""
_NEAR_PX = 0.3
"""So near is always near."""
_MEDIAN_OF_LENGTH = 1.1774
"""Median length of a standard normal vector in the image."""


@dataclass(frozen=True)
class RoughPose:
    """What `rough_stereo` finds."""

    T_0_1: Array
    """(4, 4), metres."""
    near: NDArray[np.bool_]
    """(M,) the matches that agree with it."""

    @property
    def pose(self) -> RelativePose:
        """As if it was certain."""
        return RelativePose(PoseStatus.OK, "", self.T_0_1, np.zeros((6, 6)), metric=True, inliers=self.near)


class _NotFound(Exception):
    """Inside this file: why there is no pose."""

    def __init__(self, status: PoseStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def as_pose(self, matches: int) -> RelativePose:
        return RelativePose(self.status, str(self), inliers=np.zeros(matches, dtype=bool))


def estimate_mono(
    points0: Array,
    points1: Array,
    camera0: Camera,
    camera1: Camera,
    config: PoseConfig,
    covariance1: Array | None = None,
) -> RelativePose:
    """Pose of view 1 in view 0; its translation has unit length.

    Args:
        points0: (M, 2) matched pixels of view 0.
        points1: the same of view 1.
        camera0: of points0.
        camera1: of points1.
        config: thresholds.
        covariance1: (M, 2, 2) px^2 of points1 as the places that points0 show; None: all alike.
    """
    try:
        return _solve_mono(points0, points1, camera0, camera1, config, covariance1)
    except _NotFound as failure:
        return failure.as_pose(len(points0))


def ransac_mono(
    points0: Array, points1: Array, camera0: Camera, camera1: Camera, config: PoseConfig
) -> tuple[Array, NDArray[np.bool_]] | None:
    """PoseLib's own answer, as pose accuracy is compared in the literature: no polish, no check for degenerate motion.

    Args:
        points0: (M, 2) pixels.
        points1: (M, 2) pixels.
        camera0: of points0.
        camera1: of points1.
        config: threshold, iterations and seed.

    Returns:
        T_0_1 (4, 4) with a translation of unit length and the inliers (M,); None where there is no pose.
    """
    if len(points0) < 5:
        return None
    found, inliers = _ransac_relative(points0, points1, camera0, camera1, config)
    try:
        return _initial_pose(found), inliers
    except _NotFound:
        return None


def estimate_stereo(
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    config: PoseConfig,
    right_centre: RightCentre,
    start: Array | None = None,
) -> tuple[RelativePose, RightCentre]:
    """Pose of the current rig in the reference one, in metres, and what the pair says of the right principal point.

    Args:
        reference: M matched points in the reference pair; those without disparity take no part. The polish weighs with
            the covariances of both where they have them.
        current: the same in the current pair; where there is a disparity it takes part in the polish.
        rig: the cameras as calibrated.
        config: thresholds.
        right_centre: what is known of the right principal point; returned as it is where no pose is found.
        start: a pose (4, 4) whose inliers are polished; None: RANSAC's.
    """
    try:
        return _solve_stereo(reference, current, rig, config, right_centre, start)
    except _NotFound as failure:
        return failure.as_pose(len(reference.left)), right_centre


def rough_stereo(
    reference: StereoPoints, current: Array, rig: Rig, config: PoseConfig, threshold_px: float
) -> RoughPose | None:
    """RANSAC's pose of matches that are not refined yet; None where fewer agree with it than a pose needs.

    Args:
        reference: M matched points in the reference pair, all with disparity.
        current: (M, 2) their pixels in the current left image.
        rig: the cameras.
        config: iterations and seed.
        threshold_px: largest reprojection error of a match that agrees.
    """
    if len(current) < config.min_matches:
        return None
    points = triangulate(reference, rig)
    try:
        T_0_1, _ = _ransac_absolute(points, current, rig.left, config, threshold_px)
    except _NotFound:
        return None
    near = _reprojection_errors(T_0_1, points, current, rig.left) < threshold_px
    return RoughPose(T_0_1, near) if np.count_nonzero(near) >= config.min_inliers else None


def _solve_mono(
    points0: Array, points1: Array, camera0: Camera, camera1: Camera, config: PoseConfig, covariance1: Array | None
) -> RelativePose:
    _require_matches(len(points0), config)
    rays0, rays1 = camera0.normalise(points0), camera1.normalise(points1)
    pixels_per_unit = (camera0.fx + camera0.fy + camera1.fx + camera1.fy) / 4.0
    parallax = pixels_per_unit * _motion_beyond_rotation(rays0, rays1)
    if parallax < config.min_parallax_px:
        reason = f"{parallax:.2f} px parallax, {config.min_parallax_px} needed to see the direction of translation"
        raise _NotFound(PoseStatus.DEGENERATE, reason)

    found, inliers = _ransac_relative(points0, points1, camera0, camera1, config)
    _require_inliers(inliers, config)
    _require_spread(points0[inliers], config)
    covariances = None
    if covariance1 is not None and config.use_match_covariance:
        covariances = _ray_covariances(covariance1[inliers], camera0, camera1)
    counted = times_counted(points0[inliers])
    polished = polish_mono(_initial_pose(found), rays0[inliers], rays1[inliers], covariances, counted)
    if polished is None:
        raise _NotFound(PoseStatus.DEGENERATE, "the inliers do not determine rotation and direction")

    T_0_1, covariance = polished
    distance = pixels_per_unit * np.abs(sampson_distance(essential_matrix(T_0_1), rays0, rays1))
    inliers = distance < config.epipolar_threshold_px
    _require_inliers(inliers, config)
    return RelativePose(PoseStatus.OK, "", T_0_1, covariance, metric=False, inliers=inliers)


def _solve_stereo(
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    config: PoseConfig,
    right_centre: RightCentre,
    start: Array | None,
) -> tuple[RelativePose, RightCentre]:
    points = triangulate(reference, right_centre.applied_to(rig))
    usable = np.isfinite(points[:, 2])
    _require_matches(int(np.count_nonzero(usable)), config, "matches with depth")

    if start is None:
        threshold_px = config.reprojection_threshold_px
        start, inliers = _ransac_absolute(points, current.left, rig.left, config, threshold_px)
    else:
        inliers = _reprojection_errors(start, points, current.left, rig.left) < config.reprojection_threshold_px
    _require_inliers(inliers, config)
    _require_spread(reference.left[inliers], config)
    polished = _polish(start, inliers, reference, current, rig, config, right_centre, _ON_THE_WAY, True)
    if polished is None:
        raise _NotFound(PoseStatus.DEGENERATE, "the inliers do not determine the motion")
    polished = _narrowed(polished, inliers, reference, current, rig, config, right_centre)

    points = triangulate(reference, polished.right_centre.applied_to(rig))
    errors = _reprojection_errors(polished.T_0_1, points, current.left, rig.left)
    inliers = errors < config.reprojection_threshold_px
    _require_inliers(inliers, config)
    found = polished.T_0_1, polished.covariance
    pose = RelativePose(PoseStatus.OK, "", *found, metric=True, inliers=inliers, right_centre=polished.effect)
    return pose, polished.right_centre


def _polish(
    start: Array,
    chosen: NDArray[np.bool_],
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    config: PoseConfig,
    right_centre: RightCentre,
    settled: float,
    neighbours_err_alike: bool = False,
) -> StereoPolish | None:
    before, now = (_weighable(each[chosen], config) for each in (reference, current))
    return polish_stereo(start, before, now, rig, right_centre, settled, neighbours_err_alike)


def _narrowed(
    polished: StereoPolish,
    inliers: NDArray[np.bool_],
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    config: PoseConfig,
    right_centre: RightCentre,
) -> StereoPolish:
    """The pose of the nearest of the inliers, with the covariance of all: what is chosen by its residuals has smaller ones
    than its noise makes."""
    first = polished
    for settled in _CHOSEN_ANEW:
        near = _nearest(polished, inliers, reference, current, rig, config)
        if np.count_nonzero(near) < config.min_inliers:
            break
        polished = _polish(polished.T_0_1, near, reference, current, rig, config, right_centre, settled) or polished
    centre = replace(polished.right_centre, variance_px2=first.right_centre.variance_px2)
    return StereoPolish(polished.T_0_1, first.covariance, centre, first.effect)


def _nearest(
    polished: StereoPolish,
    inliers: NDArray[np.bool_],
    reference: StereoPoints,
    current: StereoPoints,
    rig: Rig,
    config: PoseConfig,
) -> NDArray[np.bool_]:
    """Which points (M,) agree with a pose as closely as most of its inliers do."""
    points = triangulate(reference, polished.right_centre.applied_to(rig))
    errors = _reprojection_errors(polished.T_0_1, points, current.left, rig.left)
    sigma_px = np.median(errors[inliers]) / _MEDIAN_OF_LENGTH
    return errors < min(max(_NEAR_SIGMAS * sigma_px, _NEAR_PX), config.reprojection_threshold_px)


def _ransac_absolute(
    points: Array, pixels: Array, camera: Camera, config: PoseConfig, threshold_px: float
) -> tuple[Array, NDArray[np.bool_]]:
    """T_0_1 (4, 4) of points (M, 3), NaN allowed, seen at pixels (M, 2) of camera 1, and the inliers (M,)."""
    usable = np.isfinite(points[:, 2])
    options = ransac_options(config) | {"max_reproj_error": threshold_px}
    found, info = poselib.estimate_absolute_pose(pixels[usable], points[usable], _poselib(camera), options)
    inliers = np.zeros(len(usable), dtype=bool)
    inliers[usable] = info["inliers"]
    return _initial_pose(found), inliers


def _ransac_relative(
    points0: Array, points1: Array, camera0: Camera, camera1: Camera, config: PoseConfig
) -> tuple[Any, NDArray[np.bool_]]:
    """PoseLib's pose and the inliers (M,)."""
    options = ransac_options(config) | {"max_epipolar_error": config.epipolar_threshold_px}
    found, info = poselib.estimate_relative_pose(points0, points1, _poselib(camera0), _poselib(camera1), options)
    return found, np.array(info["inliers"], dtype=bool)


def _ray_covariances(covariance1: Array, camera0: Camera, camera1: Camera) -> tuple[Array, Array]:
    """Covariances (M, 2, 2) in normalised coordinates of either view from (M, 2, 2) px^2 of the second points."""
    floor = np.broadcast_to(FLOOR_PX**2 * np.eye(2), covariance1.shape)
    scales = (np.array([camera.fx, camera.fy]) for camera in (camera0, camera1))
    first, second = (each / np.outer(scale, scale) for each, scale in zip((floor, floor + covariance1), scales))
    return first, second


def _weighable(points: StereoPoints, config: PoseConfig) -> StereoPoints:
    """The points with their covariances over the floor, or with none."""
    covariance = points.covariance if config.use_match_covariance else None
    return replace(points, covariance=None if covariance is None else covariance + FLOOR_PX**2 * np.eye(3))


def _motion_beyond_rotation(rays0: Array, rays1: Array) -> float:
    """Median distance, in units of the plane z = 1, that the best common rotation leaves between matched rays."""
    bearings0, bearings1 = (_unit(homogeneous(rays)) for rays in (rays0, rays1))
    weights = np.ones(len(rays0))
    turned = bearings0
    for _ in range(5):
        # Weighted orthogonal Procrustes (Wahba's problem), re-weighted towards the least sum of absolute distances.
        rotation = nearest_rotation((weights[:, None] * bearings1).T @ bearings0)
        turned = bearings0 @ rotation.T
        weights = 1.0 / np.maximum(np.linalg.norm(turned - bearings1, axis=1), 1e-6)
    turned = turned / np.maximum(turned[:, 2:], 1e-6)
    return float(np.median(np.linalg.norm(turned[:, :2] - rays1, axis=1)))


def _reprojection_errors(T_0_1: Array, points0: Array, pixels1: Array, camera: Camera) -> Array:
    """Distance (M,) px of points (M, 3), NaN allowed, from their pixels (M, 2) in camera 1; infinite where it cannot see
    them."""
    points1 = transform_points(invert(T_0_1), points0)
    errors = np.full(len(points1), np.inf)
    seen = points1[:, 2] > MINIMUM_DEPTH_M
    errors[seen] = np.linalg.norm(camera.project(points1[seen]) - pixels1[seen], axis=1)
    return errors


def _require_matches(count: int, config: PoseConfig, what: str = "matches") -> None:
    if count < config.min_matches:
        raise _NotFound(PoseStatus.FEW_MATCHES, f"{count} {what}, {config.min_matches} needed")


def _require_inliers(inliers: NDArray[np.bool_], config: PoseConfig) -> None:
    agreeing, count = np.count_nonzero(inliers), len(inliers)
    least = max(config.min_inliers, int(np.ceil(config.min_inlier_ratio * count)))
    if agreeing < least:
        raise _NotFound(PoseStatus.FEW_INLIERS, f"{agreeing} of {count} matches agree on a pose, {least} needed")


def _require_spread(pixels: Array, config: PoseConfig) -> None:
    """Points along one line of the image leave a motion free that their noise would then decide."""
    across = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)[1] / np.sqrt(len(pixels))
    if across < config.min_spread_px:
        reason = f"the matches that agree lie along a line, {across:.1f} px across it, {config.min_spread_px} needed"
        raise _NotFound(PoseStatus.DEGENERATE, reason)


def _initial_pose(found: Any) -> Array:
    """T_0_1 of PoseLib's world-to-camera pose."""
    T_1_0 = se3(np.asarray(found.R, dtype=np.float64), np.asarray(found.t, dtype=np.float64))
    if not np.all(np.isfinite(T_1_0)):
        raise _NotFound(PoseStatus.DEGENERATE, "the solver returned no finite pose")
    return invert(T_1_0)


def ransac_options(config: PoseConfig) -> dict[str, Any]:
    return {
        "success_prob": config.confidence,
        "min_iterations": config.min_iterations,
        "max_iterations": config.max_iterations,
        "seed": config.seed,
    }


def _poselib(camera: Camera) -> dict[str, Any]:
    return {
        "model": "PINHOLE",
        "width": camera.width,
        "height": camera.height,
        "params": [camera.fx, camera.fy, camera.cx, camera.cy],
    }


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
