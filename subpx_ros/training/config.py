"""Every setting of training: what the pairs are, how matches are found, what is learned. Defaults live here alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from subpx_ros.config import DEVICES, FeatureConfig, MatchingConfig, read_yaml_table
from subpx_ros.errors import ConfigError
from subpx_ros.settings import Settings, from_mapping, merge, setting

_PAIRS = "Pairs to make; 0 leaves the source out."
_SEED = "Seed of what is drawn."
_MOST_PAIRS = 10_000_000
_MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class StreetSourceConfig(Settings):
    """Pairs of the rendered street: exact pose and depth."""

    pairs: int = setting(0, _PAIRS, minimum=0, maximum=_MOST_PAIRS)
    seed: int = setting(1001, "Seed of the street; another seed is another street.", minimum=0, maximum=_MOST_SEED)
    length_m: float = setting(80.0, "Length of the road.", unit="m", minimum=50.0, maximum=5000.0)
    speed_m: float = setting(1.0, "Mean distance of two frames.", unit="m", minimum=0.05, maximum=3.0)
    gap: int = setting(3, "Most frames between the two of a pair.", unit="frames", minimum=1, maximum=1000)
    stereo: float = setting(0.4, "Share of left-right pairs.", minimum=0.0, maximum=1.0)
    scale: float = setting(1.0, "Image size relative to KITTI's 1226x370.", minimum=0.1, maximum=3.0)


@dataclass(frozen=True)
class WarpsSourceConfig(Settings):
    """Two views of a photograph as a flat scene: exact homography and pose."""

    pairs: int = setting(0, _PAIRS, minimum=0, maximum=_MOST_PAIRS)
    seed: int = setting(1, _SEED, minimum=0, maximum=_MOST_SEED)
    folder: str = setting("", "Folder of photographs; empty: those that scikit-image ships.")
    photographs: str = setting(
        "training", "Which of scikit-image's; the two sets share none.", choices=("training", "held_back")
    )
    width: int = setting(480, "Width of the views.", unit="px", minimum=64, maximum=4096)
    height: int = setting(360, "Height of the views.", unit="px", minimum=64, maximum=4096)
    max_reduction: float = setting(1.5, "Most photograph pixels per pixel of view 0.", minimum=1.0, maximum=2.0)
    max_scale: float = setting(1.3, "Most change of scale between the views.", minimum=1.0, maximum=1.5)
    max_roll_deg: float = setting(12.0, "Largest rotation in the image.", unit="deg", minimum=0.0, maximum=180.0)
    max_tilt_deg: float = setting(25.0, "Largest tilt of the photograph.", unit="deg", minimum=0.0, maximum=60.0)
    max_shift: float = setting(0.15, "Largest shift relative to the size of the views.", minimum=0.0, maximum=0.5)
    max_blur_px: float = setting(1.0, "Largest sigma of defocus.", unit="px", minimum=0.0, maximum=5.0)
    max_motion_blur_px: float = setting(4.0, "Longest motion blur.", unit="px", minimum=0.0, maximum=30.0)
    max_gain: float = setting(0.2, "Largest deviation of exposure from 1.", minimum=0.0, maximum=0.9)
    max_gamma: float = setting(1.4, "Largest gamma; the least is its inverse.", minimum=1.0, maximum=3.0)
    max_noise: float = setting(0.03, "Largest standard deviation of noise, white is 1.", minimum=0.0, maximum=0.3)
    min_jpeg_quality: int = setting(50, "Worst JPEG quality; 100 is none.", minimum=5, maximum=100)


@dataclass(frozen=True)
class RgbdSourceConfig(Settings):
    """Pairs of a posed RGB-D recording: K.txt, poses.txt (camera to world), images/ and depth/ (PNG, mm)."""

    pairs: int = setting(0, _PAIRS, minimum=0, maximum=_MOST_PAIRS)
    seed: int = setting(1, _SEED, minimum=0, maximum=_MOST_SEED)
    folder: str = setting("", "Folder of the recording.")
    gap: int = setting(2, "Most frames between the two of a pair.", unit="frames", minimum=1, maximum=1000)


@dataclass(frozen=True)
class KittiSourceConfig(Settings):
    """Pairs of a KITTI odometry sequence folder with poses."""

    pairs: int = setting(0, _PAIRS, minimum=0, maximum=_MOST_PAIRS)
    seed: int = setting(1, _SEED, minimum=0, maximum=_MOST_SEED)
    folder: str = setting("", "Sequence folder (image_0, calib.txt, poses.txt).")
    gap: int = setting(3, "Most frames between the two of a pair.", unit="frames", minimum=1, maximum=1000)


@dataclass(frozen=True)
class MegaDepthSourceConfig(Settings):
    """Pairs of MegaDepth in the scene_info layout."""

    pairs: int = setting(0, _PAIRS, minimum=0, maximum=_MOST_PAIRS)
    seed: int = setting(1, _SEED, minimum=0, maximum=_MOST_SEED)
    root: str = setting("", "Folder that the paths inside the scene files start from.")
    scene_info: str = setting("scene_info", "Folder of the scenes' npz files, below root, or one such file.")
    min_overlap: float = setting(0.1, "Least overlap of the two images of a pair.", minimum=0.0, maximum=1.0)
    max_overlap: float = setting(0.7, "Largest overlap of the two images of a pair.", minimum=0.0, maximum=1.0)
    max_side: int = setting(1024, "Longer side after resizing.", unit="px", minimum=64, maximum=8192)


@dataclass(frozen=True)
class DataConfig(Settings):
    """The sources of pairs; each contributes as many as it is told to."""

    street: StreetSourceConfig = field(default_factory=StreetSourceConfig)
    warps: WarpsSourceConfig = field(default_factory=WarpsSourceConfig)
    rgbd: RgbdSourceConfig = field(default_factory=RgbdSourceConfig)
    kitti: KittiSourceConfig = field(default_factory=KittiSourceConfig)
    megadepth: MegaDepthSourceConfig = field(default_factory=MegaDepthSourceConfig)


NETWORKS = ("keypt2subpx", "subpx")
DECAYS = ("none", "cosine")
SELECTIONS = ("loss", "auc5", "end_point_px")


@dataclass(frozen=True)
class TrainConfig(Settings):
    """All that a training run needs to know. Step counts are steps of the optimiser."""

    network: str = setting("keypt2subpx", "What is trained.", choices=NETWORKS)
    seed: int = setting(0, "Seed of the initial weights and of the order of the data.", minimum=0, maximum=_MOST_SEED)
    device: str = setting("auto", "Where the networks run; auto: the GPU where there is one.", choices=DEVICES)
    threads: int = setting(
        0, "CPU threads per process; 0: as OMP_NUM_THREADS says, or as many as cores.", minimum=0, maximum=1024
    )
    steps: int = setting(4000, "Steps of the whole training.", minimum=1, maximum=100_000_000)
    batch_pairs: int = setting(8, "Image pairs per step and process.", unit="pairs", minimum=1, maximum=4096)
    matches_per_pair: int = setting(512, "Most matches of a pair per step, drawn anew.", minimum=1, maximum=65536)
    min_matches: int = setting(16, "Pairs with fewer stored matches are left out.", minimum=1, maximum=65536)
    learning_rate: float = setting(1e-4, "Adam's.", minimum=1e-8, maximum=1.0)
    decay: str = setting(
        "none", "How the learning rate falls over `steps`; cosine: from its value to 0.", choices=DECAYS
    )
    loss_threshold_px: float = setting(
        1.5, "Epipolar distance at which a match's loss is clamped.", unit="px", minimum=0.05, maximum=100.0
    )
    validate_every: int = setting(500, "Steps between validations.", minimum=1, maximum=100_000_000)
    save_every: int = setting(500, "Steps between saved states.", minimum=1, maximum=100_000_000)
    select_by: str = setting("loss", "Figure of validation that decides which weights are best.", choices=SELECTIONS)
    initial_weights: str = setting("", "Checkpoint to start from; empty: random weights by seed.")
    features: FeatureConfig = field(default_factory=FeatureConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    training: DataConfig = field(
        default_factory=lambda: DataConfig(StreetSourceConfig(pairs=300), WarpsSourceConfig(pairs=600))
    )
    validation: DataConfig = field(
        default_factory=lambda: DataConfig(
            StreetSourceConfig(pairs=20, seed=2001),
            WarpsSourceConfig(pairs=28, seed=2, photographs="held_back"),
        )
    )


def load_train_config(path: Path) -> TrainConfig:
    """The configuration of a YAML file; what it does not name keeps its default.

    Raises:
        ConfigError: unreadable, an unknown key, a value out of range, or sources that cannot be meant.
    """
    config = from_mapping(TrainConfig, read_yaml_table(path))
    for name, data in (("training", config.training), ("validation", config.validation)):
        if not any(source.pairs for source in (data.street, data.warps, data.rgbd, data.kitti, data.megadepth)):
            raise ConfigError(f"{path}: setting '{name}' needs at least one source with pairs above 0")
    return config


def dry_run_of(config: TrainConfig) -> TrainConfig:
    """The same training in small: every stage from making the pairs to a checkpoint, in well under two minutes.

    Sources in use keep a few pairs and their kind; the rendered street gets a short road and small images.
    """
    small = {"street": {"length_m": 50.0, "scale": 0.5}, "warps": {}, "rgbd": {}, "kitti": {}, "megadepth": {}}

    def reduced(data: DataConfig, most: int) -> DataConfig:
        return merge(
            data,
            {name: extra | {"pairs": min(most, getattr(data, name).pairs)} for name, extra in small.items()},
        )

    # One thread: work this small gains nothing from more, and loses where other programs run.
    sizes = {"threads": 1, "steps": 4, "batch_pairs": 2, "matches_per_pair": 128, "min_matches": 1}
    changed = merge(config, sizes | {"validate_every": 4, "save_every": 2})
    training, validation = reduced(config.training, 3), reduced(config.validation, 2)
    return TrainConfig(**{**changed.__dict__, "training": training, "validation": validation})
