"""The settings of the benchmarks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from subpx_ros.config import DEVICES, MODES
from subpx_ros.errors import ConfigError
from subpx_ros.settings import Settings, setting, unknown_name

ENGINES = ("local", "ray")
ESTIMATORS = ("poselib", "magsac", "gcransac")


@dataclass(frozen=True)
class RunnerConfig(Settings):
    """How the items of a benchmark are worked through. No result depends on it."""

    workers: int = setting(1, "Processes that measure at the same time.", minimum=1, maximum=4096)
    engine: str = setting(
        "local",
        "local: processes of this machine; ray: a Ray cluster, whose machines see the same paths.",
        choices=ENGINES,
    )


@dataclass(frozen=True)
class PairBenchConfig(Settings):
    """Benchmarks on image pairs: relative pose, fundamental matrix, homography."""

    data: str = setting("", "Folder, file or recording with the pairs.")
    layout: str = setting("auto", "Name in the table of subpx_ros.datasets.pairs; auto: recognised by its files.")
    gap: int = setting(5, "Recordings: frames from the first image of a pair to the second.", minimum=1, maximum=10000)
    max_pairs: int = setting(0, "Most pairs to measure, spread evenly over all; 0: all.", minimum=0, maximum=10**7)
    resize_px: int = setting(
        0, "Longer side that larger images are reduced to; 0: images as they are.", unit="px", minimum=0, maximum=16384
    )
    presets: str = setting("xfeat", "Presets to compare, separated by commas.")
    estimators: str = setting("poselib", f"Robust estimators, separated by commas, out of {', '.join(ESTIMATORS)}.")
    threshold_px: float = setting(
        1.0, "Largest error of an inlier: epipolar distance, or transfer error.", unit="px", minimum=0.05, maximum=20.0
    )
    weights: str = setting("", "A refiner's checkpoint to compare beside the others; empty: none.")
    device: str = setting("auto", "Where the networks run.", choices=DEVICES)
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.estimator_names:
            if name not in ESTIMATORS:
                raise ConfigError(unknown_name("estimator", name, list(ESTIMATORS)))

    @property
    def preset_names(self) -> list[str]:
        return listed(self.presets)

    @property
    def estimator_names(self) -> list[str]:
        return listed(self.estimators)


@dataclass(frozen=True)
class SequenceBenchConfig(Settings):
    """Odometry over whole recordings."""

    mode: str = setting("auto", "What is made of the cameras of every recording.", choices=MODES)
    presets: str = setting("xfeat", "Presets to compare, separated by commas.")
    weights: str = setting("", "A refiner's checkpoint to compare beside the others; empty: none.")
    device: str = setting("auto", "Where the networks run.", choices=DEVICES)
    vary: str = setting("", "A setting and its values, NAME=VALUE,VALUE: every preset is run with each; empty: none.")
    peers: bool = setting(False, "Run other odometries on the same images.")
    peer_python: str = setting("", "Interpreter that has toy-vo; empty: this one.")
    peers_file: str = setting("", "YAML file of other peers, name: command; empty: none.")
    peer_timeout_s: float = setting(
        7200.0, "Longest time of a peer on a recording.", unit="s", minimum=1.0, maximum=1e6
    )
    runner: RunnerConfig = field(default_factory=RunnerConfig)

    @property
    def preset_names(self) -> list[str]:
        return listed(self.presets)


def listed(text: str) -> list[str]:
    """The names in 'a,b', each once. Raises ConfigError when there is none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"names separated by commas are required; got '{text[:40]}'")
    return names


@dataclass(frozen=True)
class LatencyConfig(Settings):
    """Time per stage."""

    data: str = setting("", "Pairs as the other benchmarks take them; empty: two frames of the rendered street.")
    layout: str = setting("auto", "Name in the table of subpx_ros.datasets.pairs; auto: recognised by its files.")
    gap: int = setting(1, "Recordings: frames from the first image of a pair to the second.", minimum=1, maximum=10000)
    resize_px: int = setting(
        0, "Longer side that larger images are reduced to; 0: images as they are.", unit="px", minimum=0, maximum=16384
    )
    presets: str = setting("xfeat", "Presets to compare, separated by commas.")
    device: str = setting("auto", "Where the networks run.", choices=DEVICES)
    threads: int = setting(0, "CPU threads of the networks; 0: as many as there are cores.", minimum=0, maximum=1024)
    warm_up: int = setting(3, "Rounds before the first that counts.", minimum=0, maximum=1000)
    rounds: int = setting(20, "Rounds that count.", minimum=1, maximum=100000)


@dataclass(frozen=True)
class GrowthConfig(Settings):
    """Time and memory of the odometry against the number of keypoints and the size of the images."""

    preset: str = setting("xfeat", "Preset to measure.")
    keypoints: str = setting("256,512,1024,2048,4096,8192", "Numbers of keypoints, separated by commas.")
    at_size: str = setting("1280x720", "Size of the images while the number of keypoints grows.", unit="px")
    sizes: str = setting(
        "640x480,1280x720,1920x1080,2560x1440,3840x2160", "Sizes of the images, separated by commas.", unit="px"
    )
    at_keypoints: int = setting(
        2048, "Number of keypoints while the images grow.", unit="keypoints", minimum=16, maximum=16384
    )
    device: str = setting("auto", "Where the networks run.", choices=DEVICES)
    threads: int = setting(0, "CPU threads of the networks; 0: as many as there are cores.", minimum=0, maximum=1024)
    rounds: int = setting(3, "Frames that count, after two that do not.", minimum=1, maximum=1000)

    @property
    def counts(self) -> list[int]:
        """Raises ConfigError where they are no numbers."""
        return [int(_matching(r"\d{2,5}", text, "a number of keypoints")) for text in listed(self.keypoints)]

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """Width and height. Raises ConfigError where they are no sizes."""
        return [image_size(text) for text in listed(self.sizes)]


def image_size(text: str) -> tuple[int, int]:
    """Width and height of 'WxH'. Raises ConfigError."""
    width, height = _matching(r"\d{2,5}x\d{2,5}", text, "an image size, WxH").split("x")
    return int(width), int(height)


def _matching(pattern: str, text: str, what: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ConfigError(f"{what} is required; got '{text[:40]}'")
    return text


@dataclass(frozen=True)
class SpeedConfig(Settings):
    """Time per stage and frame against the plain pipeline."""

    source: str = setting("demo", "A recording, or 'demo' for the rendered street.")
    mode: str = setting("auto", "What is made of the cameras.", choices=MODES)
    preset: str = setting("auto", "Preset of the odometry; auto: what the device can do.")
    device: str = setting("auto", "Where the networks run.", choices=DEVICES)
    threads: int = setting(0, "CPU threads of the networks; 0: as many as there are cores.", minimum=0, maximum=1024)
    warm_up: int = setting(3, "Frames before the first that counts.", minimum=2, maximum=1000)
    frames: int = setting(20, "Frames that count.", minimum=1, maximum=100000)
    rounds: int = setting(7, "Rounds of the comparison of Keypt2Subpx that count.", minimum=1, maximum=1000)
