"""A training that is small enough for tests: SIFT on little views of photographs, no weights to fetch."""

from __future__ import annotations

from typing import Any

from subpx_ros.config import FeatureConfig, MatchingConfig
from subpx_ros.settings import merge
from subpx_ros.training.config import DataConfig, TrainConfig, WarpsSourceConfig

VIEW: dict[str, Any] = {
    "width": 160,
    "height": 120,
    "max_tilt_deg": 10.0,
    "max_roll_deg": 5.0,
    "max_blur_px": 0.3,
    "max_noise": 0.01,
}


def small_training(**changes: Any) -> TrainConfig:
    """Four training pairs, four for validation, two pairs a step."""
    config = TrainConfig(
        device="cpu",
        threads=1,
        steps=4,
        batch_pairs=2,
        matches_per_pair=24,
        min_matches=4,
        learning_rate=1e-3,
        validate_every=100,
        save_every=100,
        features=FeatureConfig(detector="sift", max_keypoints=200, detection_threshold=0.02),
        matching=MatchingConfig(min_similarity=0.8),
        training=DataConfig(warps=WarpsSourceConfig(pairs=4, seed=1, **VIEW)),
        validation=DataConfig(warps=WarpsSourceConfig(pairs=4, seed=2, photographs="held_back", **VIEW)),
    )
    return merge(config, changes)
