"""Keypoint detectors. A new one is a file in this folder and an entry in `table.DETECTORS`; learned ones are imported late."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from subpx_ros.config import FeatureConfig
from subpx_ros.features.table import DETECTORS, detector_entry

if TYPE_CHECKING:
    import torch

    from subpx_ros.features.detector import Detector

__all__ = ["DETECTORS", "create_detector", "detector_entry"]


def create_detector(
    config: FeatureConfig, device: torch.device, report: Callable[[str], None] = lambda line: None
) -> Detector:
    """The detector that the configuration names, with its weights on the device.

    Raises:
        ConfigError: no such detector.
        WeightsError: its weights cannot be had.
    """
    module, kind = detector_entry(config.detector).implementation.split(":")
    detector: Detector = getattr(import_module(module), kind)(config, device, report)
    return detector
