"""The records that travel through the pipeline, each with shape, dtype and unit per field.

Conventions: integer pixel coordinates are pixel centres, x right, y down. `T_a_b` is a 4x4 float64 matrix that maps
points of frame b into frame a. Camera frames are optical (z forward). Stamps are integer nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subpx_ros.errors import DataError

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion. Focal lengths and principal point in pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = np.array([self.fx, self.fy, self.cx, self.cy], dtype=float)
        if not np.all(np.isfinite(values)) or self.fx <= 0 or self.fy <= 0:
            raise DataError(
                f"a camera needs finite intrinsics with fx, fy > 0; got fx={self.fx}, fy={self.fy}, "
                f"cx={self.cx}, cy={self.cy}: check the calibration"
            )
        if self.width < 1 or self.height < 1:
            raise DataError(f"a camera needs a positive image size; got {self.width}x{self.height}")

    @property
    def matrix(self) -> Array:
        """K, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def normalise(self, pixels: NDArray[np.floating]) -> Array:
        """Pixels (N, 2) to normalised image coordinates (N, 2) on the plane z = 1."""
        pixels = np.asarray(pixels, dtype=np.float64)
        return (pixels - [self.cx, self.cy]) / [self.fx, self.fy]

    def project(self, points: NDArray[np.floating]) -> Array:
        """Points (N, 3) of the camera frame, metres, z > 0, to pixels (N, 2)."""
        points = np.asarray(points, dtype=np.float64)
        return points[:, :2] / points[:, 2:3] * [self.fx, self.fy] + [self.cx, self.cy]

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the image resized to (width, height): its corners, at -1/2, keep their places."""
        scale_x, scale_y = width / self.width, height / self.height
        centre = (self.cx + 0.5) * scale_x - 0.5, (self.cy + 0.5) * scale_y - 0.5
        return Camera(self.fx * scale_x, self.fy * scale_y, *centre, width, height)


@dataclass(frozen=True)
class Rig:
    """One camera, perhaps with depth, or a rectified stereo pair: equal rows, the right camera at +baseline along x."""

    left: Camera
    right: Camera | None = None
    baseline_m: float | None = None
    depth: bool = False
    """Whether every frame has a depth image, registered to the only camera."""

    def __post_init__(self) -> None:
        if self.depth and self.right is not None:
            raise DataError("a rig has a right camera or a depth image; got both: leave one out")
        if (self.right is None) != (self.baseline_m is None):
            raise DataError("a stereo rig needs both a right camera and a baseline; got only one of them")
        if self.right is None or self.baseline_m is None:
            return
        if not np.isfinite(self.baseline_m) or self.baseline_m <= 0:
            raise DataError(
                f"a stereo rig needs a positive baseline in metres; got {self.baseline_m}: "
                "are left and right swapped? (P[0, 3] of the right camera is -fx * baseline)"
            )
        if (self.left.width, self.left.height) != (self.right.width, self.right.height):
            raise DataError(
                f"left and right cameras must have one image size; got {self.left.width}x{self.left.height} and "
                f"{self.right.width}x{self.right.height}"
            )

    @property
    def stereo(self) -> bool:
        return self.right is not None

    @property
    def mode(self) -> str:
        """All that can be made of it: stereo, rgbd or mono."""
        return "stereo" if self.stereo else "rgbd" if self.depth else "mono"


@dataclass(frozen=True)
class Frame:
    """What the cameras saw at one instant."""

    stamp_ns: int
    image: NDArray[np.uint8]
    """Left (or only) image: (H, W) uint8 grey, rectified."""
    rig: Rig
    right_image: NDArray[np.uint8] | None = None
    """Right image: (H, W) uint8 grey, rectified; None for one camera."""
    depth: NDArray[np.float32] | None = None
    """(H, W) float32: z in metres at the pixel centres of `image`, NaN where unknown; None where the rig has none."""

    def __post_init__(self) -> None:
        if self.rig.stereo != (self.right_image is not None):
            raise DataError("a stereo rig needs a right image, and a single camera must not have one")
        if self.rig.depth != (self.depth is not None):
            raise DataError("a rig with depth needs a depth image in every frame, and one without must not have any")
        for name, image in (("left", self.image), ("right", self.right_image)):
            if image is None:
                continue
            expected = (self.rig.left.height, self.rig.left.width)
            if image.dtype != np.uint8 or image.shape != expected:
                raise DataError(
                    f"the {name} image must be grey uint8 of {expected[1]}x{expected[0]} as its calibration says; "
                    f"got {image.dtype} with shape {image.shape}"
                )
        if self.depth is not None and (self.depth.dtype != np.float32 or self.depth.shape != self.image.shape):
            raise DataError(
                f"depth must be float32 of the image's shape {self.image.shape}; got {self.depth.dtype} with shape "
                f"{self.depth.shape}"
            )


@dataclass(frozen=True)
class Features:
    """Keypoints of one image with all that matching and refinement need. Tensors share one device."""

    keypoints: torch.Tensor
    """(N, 2) float32, pixels."""
    scores: torch.Tensor
    """(N,) float32, higher is better."""
    descriptors: torch.Tensor
    """(N, D) float32, unit length."""
    image: torch.Tensor
    """(H, W) float32 in [0, 1]."""
    score_map: torch.Tensor | None = None
    """(H, W) float32, the detector's dense score, where it has one."""
    scales: torch.Tensor | None = None
    """(N,) float32 pixels, the diameter of what a keypoint describes, where the detector finds one."""
    orientations: torch.Tensor | None = None
    """(N,) float32 radians from x towards y, where the detector finds one."""
    descriptor_norms: torch.Tensor | None = None
    """(N,) float32, the length of the descriptors before it became one, where a matcher was trained with it."""

    def __len__(self) -> int:
        return int(self.keypoints.shape[0])

    @property
    def places(self) -> Array:
        """The keypoints as (N, 2) float64 pixels."""
        return np.asarray(self.keypoints.cpu().numpy().astype(np.float64))


@dataclass(frozen=True)
class Predicted:
    """What surfaces and the motion tell of M matches, on the features' device."""

    warps: torch.Tensor
    """(M, 3, 2) float32, where the first view shows the surroundings of the second keypoint (`surfaces.patch_warps`)."""
    places: torch.Tensor | None = None
    """(M, 2) float32 pixels where the second view shows the first keypoint, good to a pixel or two; NaN where nobody can
    tell. None: the motion is only expected."""

    def __getitem__(self, kept: torch.Tensor | slice) -> Predicted:
        """Of the matches that a mask (M,), indices (K,) int64 or a slice select."""
        return Predicted(self.warps[kept], None if self.places is None else self.places[kept])


@dataclass(frozen=True)
class Matches:
    """Index pairs between two sets of features."""

    indices0: torch.Tensor
    """(M,) int64 into the first features."""
    indices1: torch.Tensor
    """(M,) int64 into the second features."""
    scores: torch.Tensor
    """(M,) float32 in [0, 1]: cosine similarity or the matcher's confidence."""
    predicted: Predicted | None = None
    """Where it is known how the first view's surfaces look in the second one."""

    def __len__(self) -> int:
        return int(self.indices0.shape[0])

    def __getitem__(self, kept: torch.Tensor | slice) -> Matches:
        """The matches that a mask (M,), indices (K,) int64 or a slice select."""
        predicted = None if self.predicted is None else self.predicted[kept]
        return Matches(self.indices0[kept], self.indices1[kept], self.scores[kept], predicted)


@dataclass(frozen=True)
class RefinedMatches:
    """Matched keypoints before and after refinement, all (M, 2) float64 pixels; scores (M,) float32."""

    detected0: Array
    detected1: Array
    refined0: Array
    refined1: Array
    scores: NDArray[np.float32]
    covariance1: Array | None = None
    """(M, 2, 2) px^2 of refined1 as the place that refined0 shows; None where the refiner does not predict it."""

    def __len__(self) -> int:
        return len(self.refined0)


class PoseStatus(Enum):
    """Why a relative pose is there, or is not. The values equal the constants of msg/RelativePose.msg."""

    OK = 0
    NO_REFERENCE = 1
    """The first frame, or the first after a reset: there is nothing to relate it to."""
    FEW_MATCHES = 2
    """Fewer matches than the solver or the configuration asks for."""
    FEW_INLIERS = 3
    """The solver found no pose that enough matches agree with."""
    DEGENERATE = 4
    """The matches do not determine the pose, for example a monocular pair without parallax."""
    LOST = 5
    """Tracking was interrupted before this frame, by a gap in the stamps: there is nothing left to relate it to."""


@dataclass(frozen=True)
class RightCentreEffect:
    """What the error of the right camera's principal point, as it was known beforehand, makes of a stereo pose; and whatever
    else all disparities are off by together."""

    by_shift: Array
    """(6,) step of the pose per pixel of that error, metres and radians, in the axes of RelativePose.covariance."""
    variance_px2: float
    """Of that error."""


@dataclass(frozen=True)
class RelativePose:
    """The current camera in the reference camera, or the reason why it is not known."""

    status: PoseStatus
    reason: str = ""
    """One clause for people: why there is no pose, or why one that should be metric is not; empty where all is well."""
    T_reference_current: Array | None = None
    """(4, 4); translation in metres, or of unit length when not metric. None unless status is OK."""
    covariance: Array | None = None
    """(6, 6), order (x, y, z, rotation about x, y, z), m^2 and rad^2: a small motion of the current camera expressed in
    the reference camera's axes, as geometry_msgs/PoseWithCovariance means it. For a pose that is not metric the translation part lives on
    the unit sphere (rank 2)."""
    metric: bool = False
    inliers: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """(M,) which matches agree with the pose."""
    right_centre: RightCentreEffect | None = None
    """In stereo: the part of the covariance that this pose has in common with others."""

    @property
    def ok(self) -> bool:
        return self.status is PoseStatus.OK


class TrackingState(Enum):
    """The values equal the constants of msg/OdometryStatus.msg."""

    INITIALISING = 0
    TRACKING = 1
    DEGRADED = 2
    LOST = 3


@dataclass(frozen=True)
class OdometryResult:
    """What one frame gave."""

    stamp_ns: int
    state: TrackingState
    reason: str
    """One clause for people: why the state is not TRACKING; empty where it is."""
    T_odom_camera: Array
    """(4, 4): the camera in the odometry frame, which is the first camera's optical frame. When lost: where it stood before."""
    covariance: Array
    """(6, 6) of T_odom_camera, same order as RelativePose.covariance, in the odometry frame's axes."""
    located: bool
    """Whether the camera is at T_odom_camera, within the covariance: not while lost, nor before the first frame that
    others can be related to, nor when a single camera has turned on the spot."""
    metric: bool
    """Whether translations are in metres; else their scale is arbitrary."""
    relative_pose: RelativePose
    reference_stamp_ns: int | None
    """The frame that relative_pose refers to; None for the first."""
    matches: RefinedMatches
    """Reference (0) to current (1); empty when there is no reference."""
    points: Array
    """(M, 3) the matched points in the current camera, metres; NaN where there is no depth."""
    counts: dict[str, int]
    """keypoints, stereo_matches (keypoints known to have a disparity or depth), matches, inliers."""
    stage_ms: dict[str, float]
    """Milliseconds per stage, in the order they ran, and 'total'."""
    bridged: bool = False
    """Whether T_odom_camera is predicted from the motion before, as no pose was found; the state is DEGRADED then."""

    @property
    def inliers(self) -> NDArray[np.bool_]:
        """(M,) which matches agree with the pose; none where there is no pose."""
        found = self.relative_pose.inliers
        return found if len(found) == len(self.matches) else np.zeros(len(self.matches), dtype=bool)
