"""Matchers of two views. A new one is a file in this folder and a line in `MATCHERS`; learned ones are imported late."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from subpx_ros.config import MatchingConfig
from subpx_ros.errors import ConfigError
from subpx_ros.settings import unknown_name

if TYPE_CHECKING:
    import torch

    from subpx_ros.features.detector import Detector
    from subpx_ros.matching.matcher import Matcher

MATCHERS = {
    "mutual_nn": "subpx_ros.matching.mutual_nn:MutualNearestNeighbours",
    "lightglue": "subpx_ros.matching.lightglue:LightGlueMatcher",
    "lighterglue": "subpx_ros.matching.lightglue:LightGlueMatcher",
}


def create_matcher(
    config: MatchingConfig, detector: Detector, device: torch.device, report: Callable[[str], None] = lambda line: None
) -> Matcher:
    """The matcher that the configuration names, for the detector's features.

    Raises:
        ConfigError: no such matcher, or it does not work with the detector.
        WeightsError: its weights cannot be had.
    """
    if config.matcher not in MATCHERS:
        raise ConfigError(unknown_name("matcher", config.matcher, list(MATCHERS)))
    module, kind = MATCHERS[config.matcher].split(":")
    matcher: Matcher = getattr(import_module(module), kind)(config, detector, device, report)
    return matcher
