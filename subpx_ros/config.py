"""Every setting of the package, one dataclass per stage, and the presets. Defaults live here and nowhere else.

Precedence: command line or ROS parameter, then configuration file, then preset, then the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from subpx_ros.errors import ConfigError
from subpx_ros.settings import Settings, merge, setting, unknown_name


@dataclass(frozen=True)
class FeatureConfig(Settings):
    """Keypoint detection and description."""

    detector: str = setting("xfeat", "Name in the table of subpx_ros.features.")
    weights: str = setting(
        "",
        "Path of a checkpoint for the detector (DeDoDe: folder of its files), or a name of 'subpx weights list'; empty: the "
        "published one.",
    )
    max_keypoints: int = setting(2048, "Best-scored keypoints kept per image.", minimum=16, maximum=16384, live=True)
    detection_threshold: float = setting(
        0.05,
        "Least detector score of a keypoint; the scale is the detector's own.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    min_contrast: float = setting(
        64.0,
        "An image with fewer levels of grey (of 255) between its darkest and its brightest hundredth, as in the dark or in "
        "haze, is stretched, and smoothed as its noise asks for, before keypoints are looked for; 0: none is.",
        minimum=0.0,
        maximum=255.0,
        live=True,
    )


STEREO_METHODS = ("auto", "patches", "rows")


@dataclass(frozen=True)
class MatchingConfig(Settings):
    """Matching of two views, and of the two images of a rectified stereo pair."""

    matcher: str = setting("mutual_nn", "Name in the table of subpx_ros.matching.")
    min_similarity: float = setting(
        0.82, "mutual_nn: least cosine similarity of two descriptors.", minimum=-1.0, maximum=1.0, live=True
    )
    max_ratio: float = setting(
        1.0,
        "mutual_nn: largest distance of a match's descriptors relative to that of the second nearest (Lowe's ratio); "
        "1: no such test.",
        minimum=0.1,
        maximum=1.0,
        live=True,
    )
    min_confidence: float = setting(
        0.1, "lightglue, lighterglue: least confidence of a match.", minimum=0.0, maximum=1.0, live=True
    )
    adaptive: bool = setting(
        True, "lightglue, lighterglue: stop early and drop hopeless keypoints on the way, which changes a few matches."
    )
    weights: str = setting(
        "",
        "lightglue, lighterglue: path of a checkpoint, or a name of 'subpx weights list'; empty: the one that was trained "
        "for the detector.",
    )
    stereo: str = setting(
        "auto",
        "stereo: patches finds the right point of every keypoint that is needed by correlating patches along its row; "
        "rows matches keypoints of both images by their descriptors; auto: patches with the refiner subpx, else rows.",
        choices=STEREO_METHODS,
    )
    max_disparity_px: float = setting(
        256.0,
        "stereo by patches: range of disparities that is searched, from the least one on.",
        unit="px",
        minimum=4.0,
        maximum=4096.0,
        live=True,
    )
    max_row_difference_px: float = setting(
        2.0,
        "stereo: largest difference of the rows of a left-right match.",
        unit="px",
        minimum=0.0,
        maximum=50.0,
        live=True,
    )
    min_disparity_px: float = setting(
        1.0, "stereo: least disparity of a match that gets a depth.", unit="px", minimum=0.01, maximum=100.0, live=True
    )


@dataclass(frozen=True)
class RefinementConfig(Settings):
    """Moving matched keypoints to sub-pixel positions."""

    weights: str = setting(
        "",
        "Path of a checkpoint, or a name of 'subpx weights list'; empty: the shipped one of subpx, or the published one "
        "of the detector.",
    )


@dataclass(frozen=True)
class PoseConfig(Settings):
    """Robust relative pose, polish and covariance."""

    epipolar_threshold_px: float = setting(
        1.0, "mono: largest Sampson distance of an inlier.", unit="px", minimum=0.05, maximum=20.0, live=True
    )
    reprojection_threshold_px: float = setting(
        2.0, "stereo: largest reprojection error of an inlier.", unit="px", minimum=0.05, maximum=20.0, live=True
    )
    confidence: float = setting(
        0.9999,
        "Probability with which RANSAC must have seen a sample without outliers.",
        minimum=0.5,
        maximum=0.999999,
        live=True,
    )
    min_iterations: int = setting(50, "Least RANSAC iterations.", minimum=1, maximum=100000, live=True)
    max_iterations: int = setting(5000, "Most RANSAC iterations.", minimum=1, maximum=1000000, live=True)
    seed: int = setting(0, "Seed of RANSAC's sampling.", minimum=0, maximum=2**31 - 1, live=True)
    min_matches: int = setting(
        12, "Fewer matches than this are not given to the solver.", minimum=5, maximum=10000, live=True
    )
    min_inliers: int = setting(12, "A pose with fewer inliers is refused.", minimum=5, maximum=10000, live=True)
    min_inlier_ratio: float = setting(
        0.15, "A pose with a smaller share of inliers is refused.", minimum=0.0, maximum=1.0, live=True
    )
    min_spread_px: float = setting(
        3.0,
        "Least standard deviation of the inliers across their main direction in the image; points along one line do "
        "not determine a pose.",
        unit="px",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    min_parallax_px: float = setting(
        0.5,
        "mono: median motion of the inliers that a rotation alone leaves unexplained; below it the direction of "
        "translation is not observable and the pose is called degenerate.",
        unit="px",
        minimum=0.0,
        maximum=50.0,
        live=True,
    )
    use_match_covariance: bool = setting(
        True,
        "The polish weighs every match with the covariance that its refiner predicts; refiners that predict none are "
        "not concerned.",
        live=True,
    )


@dataclass(frozen=True)
class OdometryConfig(Settings):
    """How relative poses become odometry."""

    keyframe_min_motion_px: float = setting(
        2.0,
        "The reference frame is kept while the median motion of the inliers stays below this, so that standing "
        "still does not drift.",
        unit="px",
        minimum=0.0,
        maximum=200.0,
        live=True,
    )
    standstill_sigmas: float = setting(
        10.0,
        "While the reference is kept, a metric pose stays exactly where it was until three frames in a row say that it "
        "moved by more than so many standard deviations; 0: it follows every estimate.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    max_gap_s: float = setting(
        1.0,
        "A longer time between two frames is not bridged: odometry goes on from where it was, with a covariance that "
        "says that nobody knows where that is.",
        unit="s",
        minimum=0.001,
        maximum=1e6,
        live=True,
    )
    bridge_frames: int = setting(
        5,
        "Frames in a row without a pose whose place is predicted from the motion before, as DEGRADED and with a covariance "
        "that grows, for max_gap_s at most; then, or before the motion is known well, or in units other than metres: "
        "LOST. 0: every frame without a pose is.",
        unit="frames",
        minimum=0,
        maximum=30,
        live=True,
    )
    refine_within_px: float = setting(
        6.0,
        "stereo and rgbd: a match that lies farther from a rough pose, of all matches as they are detected, is not refined, "
        "since no refinement would make it agree; while nothing is expected of the motion, or it is another, all are. 0: "
        "always all.",
        unit="px",
        minimum=0.0,
        maximum=100.0,
        live=True,
    )
    motion_gate_sigmas: float = setting(
        6.0,
        "stereo and rgbd: a pose farther from the predicted one than so many standard deviations is that of something large "
        "that moves by itself; it gives way to the next pose that fits the prediction, or counts as none. 0: the pose "
        "with the most matches counts, whatever was predicted.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    degraded_inliers: int = setting(
        30,
        "A pose with fewer inliers, or in metres with fewer that have a depth in the current frame too, is called DEGRADED.",
        minimum=0,
        maximum=10000,
        live=True,
    )
    degraded_inlier_ratio: float = setting(
        0.3, "A pose with a smaller share of inliers is called DEGRADED.", minimum=0.0, maximum=1.0, live=True
    )
    estimate_right_centre: bool = setting(
        True,
        "stereo: estimate the right camera's principal point along the row while driving, from its calibrated value on; "
        "rectification often leaves a fraction of a pixel over, which far points feel.",
        live=True,
    )
    common_error_share: float = setting(
        0.2,
        "Variance of the error that a motion has in common with those after it, because all their matches see the same "
        "surfaces, as a share of that of its own noise. The covariance of the odometry grows faster with it.",
        minimum=0.0,
        maximum=100.0,
        live=True,
    )
    common_error_frames: float = setting(
        20.0,
        "After so many frames the correlation of these common errors has fallen to 37 % (1/e).",
        unit="frames",
        minimum=0.1,
        maximum=10000.0,
        live=True,
    )
    window_keyframes: int = setting(
        0,
        "Stereo and rgbd: keyframes whose poses are estimated together with the points that they share; 8 of them drift by "
        "a third to two thirds as much on a street and take 20 ms a frame on two cores. 0: every frame is related to the one "
        "before it alone.",
        unit="frames",
        minimum=0,
        maximum=30,
        live=True,
    )
    window_followed: int = setting(
        400,
        "Points that no match shows, looked for in every frame of a window where they are expected, those found most surely "
        "first; 100 of them take 1 to 2 ms on two cores.",
        minimum=0,
        maximum=10000,
        live=True,
    )
    camera_height_m: float = setting(
        0.0,
        "mono: height of the camera over the ground that it drives along, from which its motion gets metres; 0: not known, "
        "every motion has unit length, unless something else says how far it goes.",
        unit="m",
        minimum=0.0,
        maximum=100.0,
    )
    wheel_odometry: bool = setting(
        False,
        "mono: motions get their length from another odometry, of wheels for instance: the node hears it on wheel_odom, "
        "'subpx run' takes it with --scale-from. Goes before camera_height_m.",
    )
    wheel_deviation: float = setting(
        0.02,
        "wheel_odometry: relative standard deviation of its distances, where its messages claim no covariance of the twist.",
        minimum=0.0001,
        maximum=1.0,
    )
    speed_mps: float = setting(
        0.0,
        "mono: the one speed that the camera has whenever it moves, as on a rail or a conveyor; 0: not known. Goes behind "
        "wheel_odometry and camera_height_m.",
        unit="m/s",
        minimum=0.0,
        maximum=200.0,
    )
    depth_baseline_m: float = setting(
        0.075,
        "rgbd: depth is taken as the disparity of a pair with this baseline, whose error in depth grows with its square "
        "as that of structured light and stereo cameras does.",
        unit="m",
        minimum=0.001,
        maximum=10.0,
    )


MODES = ("auto", "mono", "stereo", "rgbd")
NODE_MODES = MODES[1:]
"""Offline, mode auto looks for a right image. The node must know what to wait for."""
DEVICES = ("auto", "cpu", "cuda")
FIXED_SIZE = ("auto", "on", "off")
REFINERS = ("auto", "none", "keypt2subpx", "subpx")


@dataclass(frozen=True)
class Config(Settings):
    """All that the odometry needs to know."""

    preset: str = setting("auto", "Named set of settings; auto: xfeat on a CPU, aliked on a GPU.")
    mode: str = setting(
        "auto", "Cameras to use; auto: stereo where there is a right image, rgbd where there is depth.", choices=MODES
    )
    refiner: str = setting(
        "auto",
        "Refiner of matched keypoints; auto: subpx, whose weights the package ships.",
        choices=REFINERS,
    )
    device: str = setting("auto", "Where the networks run; auto: the GPU where there is one.", choices=DEVICES)
    threads: int = setting(
        0, "CPU threads of the networks; 0: as OMP_NUM_THREADS says, or as many as cores.", minimum=0, maximum=1024
    )
    fixed_size: str = setting(
        "auto",
        "XFeat, mutual_nn and subpx compute features.max_keypoints rows whatever an image shows, and mask what is none: a GPU "
        "then replays what it did before instead of waiting for numbers in between; auto: on a GPU.",
        choices=FIXED_SIZE,
    )
    features: FeatureConfig = field(default_factory=FeatureConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    odometry: OdometryConfig = field(default_factory=OdometryConfig)


@dataclass(frozen=True)
class DiagnosticsConfig(Settings):
    """Limits of /diagnostics. Beyond one the level is WARN, or ERROR where the text says so.

    Beside them: LOST, or no images after there were some, is ERROR; DEGRADED, INITIALISING, a refused set of images, a
    camera whose place on the robot is not known, a GPU that is not there and a halved number of keypoints are WARN.
    """

    min_rate_hz: float = setting(
        3.0, "Least rate of processed frames.", unit="Hz", minimum=0.0, maximum=1000.0, live=True
    )
    max_latency_s: float = setting(
        0.5,
        "Largest median time from the arrival of the images to the odometry; ERROR beyond four times as much.",
        unit="s",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    )
    max_drop_ratio: float = setting(
        0.8, "Largest share of the sets of images that newer ones replaced.", minimum=0.0, maximum=1.0, live=True
    )
    min_inlier_ratio: float = setting(
        0.25, "Least median share of inliers among the matches.", minimum=0.0, maximum=1.0, live=True
    )
    max_sync_difference_s: float = setting(
        0.01,
        "Largest median difference between the stamps of a set of images.",
        unit="s",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    max_gpu_memory_ratio: float = setting(
        0.95, "Largest share of the GPU's memory in use, by whomever.", minimum=0.0, maximum=1.0, live=True
    )


@dataclass(frozen=True)
class NodeConfig(Settings):
    """What only the ROS node needs. Its parameters stand beside those of Config."""

    autostart: bool = setting(True, "Configure and activate without waiting for a lifecycle manager.")
    odom_frame: str = setting("odom", "Parent frame of odometry and of the transform.")
    base_frame: str = setting("base_link", "Robot frame (x forward, y left, z up).")
    publish_tf: bool = setting(True, "Broadcast odom_frame to base_frame on /tf.", live=True)
    camera_in_base: str = setting(
        "",
        "Pose of the left or only camera's body axes (x forward, y left, z up) in base_frame: x y z roll pitch yaw; "
        "empty: from /tf_static, base_frame to the frame_id of the images.",
        unit="m, rad",
    )
    extrinsics_timeout_s: float = setting(
        2.0,
        "Longest wait for /tf_static after the first image; then the camera is taken to sit in base_frame, looking "
        "forward.",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    rectify: bool = setting(
        False,
        "Subscribe to image_raw instead of image_rect, and undistort and rectify with D, K, R and P of camera_info.",
    )
    reliable: bool = setting(False, "Subscribe reliably and keep every message instead of sensor data QoS; for replay.")
    keep_all: bool = setting(False, "Process every frame in order instead of the newest; for replay, never on a robot.")
    convert_ahead: str = setting(
        "auto",
        "Decode and rectify the next images in a second thread while the node works on the last ones; auto: where the "
        "networks run on a GPU or leave two cores free, as threads says.",
        choices=("auto", "on", "off"),
        live=True,
    )
    image_transport: str = setting(
        "raw",
        "Form of the images: sensor_msgs/Image, or sensor_msgs/CompressedImage on the topic's name plus /compressed.",
        choices=("raw", "compressed"),
    )
    sync_slop_s: float = setting(
        0.0, "Largest stamp difference of left and right; 0: equal stamps.", unit="s", minimum=0.0, maximum=1.0
    )
    path_length: int = setting(
        10000, "Poses kept in the published path.", unit="poses", minimum=1, maximum=10**7, live=True
    )
    diagnostics: DiagnosticsConfig = field(default_factory=DiagnosticsConfig)


PRESETS: dict[str, dict[str, Any]] = {
    "xfeat": {"features": {"detector": "xfeat"}},
    "aliked": {
        "features": {"detector": "aliked-n16", "max_keypoints": 1024, "detection_threshold": 0.2},
        "matching": {"matcher": "lightglue"},
    },
    "superpoint": {
        "features": {"detector": "superpoint", "detection_threshold": 0.005},
        "matching": {"matcher": "lightglue"},
    },
    "disk": {
        "features": {"detector": "disk", "detection_threshold": 0.0},
        "matching": {"matcher": "lightglue"},
    },
    "dedode": {
        "features": {"detector": "dedode-g", "detection_threshold": 0.5},
        "matching": {"min_similarity": 0.5},
    },
    "sift": {
        "features": {"detector": "sift", "detection_threshold": 0.04},
        "matching": {"min_similarity": 0.85},
    },
    "orb": {
        "features": {"detector": "orb", "detection_threshold": 0.08},
        "matching": {"min_similarity": 0.5},
    },
}


def load_config(overrides: Mapping[str, Any] | None = None, file: Path | None = None) -> Config:
    """The configuration that default, preset, file and overrides (nested, strongest last) make together.

    Raises:
        ConfigError: unknown preset or key, value out of range, or a file that is no YAML table.
    """
    from_file = read_yaml_table(file) if file else {}
    overrides = overrides or {}
    preset = overrides.get("preset", from_file.get("preset", "auto"))
    if preset not in ("auto", *PRESETS):
        raise ConfigError(unknown_name("preset", preset, ["auto", *PRESETS]))
    if preset == "auto":
        device = overrides.get("device", from_file.get("device", "auto"))
        preset = _preset_for(device)
    config = merge(Config(), PRESETS[preset])
    config = merge(config, from_file)
    config = merge(config, overrides)
    return merge(config, {"preset": preset})


def _preset_for(device: Any) -> str:
    if device == "cpu":
        return "xfeat"
    import torch

    return "aliked" if torch.cuda.is_available() else "xfeat"


def read_yaml_table(path: Path) -> dict[str, Any]:
    """A YAML file that holds one table, read without executing anything in it."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error}") from None
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # Beside its own errors PyYAML lets those of malformed scalars out, such as IndexError for an empty !!int.
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a table of settings; got {type(content).__name__}")
    return content
