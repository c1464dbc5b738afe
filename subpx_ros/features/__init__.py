"""Keypoint detectors. A new one is a file in this folder and a line in `DETECTORS`; learned ones are imported late."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from subpx_ros.config import FeatureConfig
from subpx_ros.errors import ConfigError
from subpx_ros.settings import unknown_name

if TYPE_CHECKING:
    import torch

    from subpx_ros.features.detector import Detector

DETECTORS = {
    "xfeat": "subpx_ros.features.xfeat:XFeatDetector",
    "aliked-n16": "subpx_ros.features.aliked:AlikedDetector",
    "aliked-t16": "subpx_ros.features.aliked:AlikedDetector",
    "sift": "subpx_ros.features.sift:SiftDetector",
}


def create_detector(
    config: FeatureConfig, device: torch.device, report: Callable[[str], None] = lambda line: None
) -> Detector:
    """The detector that the configuration names, with its weights on the device.

    Raises:
        ConfigError: no such detector.
        WeightsError: its weights cannot be had.
    """
    if config.detector not in DETECTORS:
        raise ConfigError(unknown_name("detector", config.detector, list(DETECTORS)))
    module, kind = DETECTORS[config.detector].split(":")
    detector: Detector = getattr(import_module(module), kind)(config, device, report)
    return detector
