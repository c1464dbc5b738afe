"""Refiners of matched keypoints. A new one is a file in this folder and a line in `create_refiner`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from subpx_ros import weights

if TYPE_CHECKING:
    import torch

    from subpx_ros.config import RefinementConfig
    from subpx_ros.features.detector import Detector
    from subpx_ros.refinement.refiner import Refiner


def create_refiner(
    name: str,
    config: RefinementConfig,
    detector: Detector,
    device: torch.device,
    report: Callable[[str], None] = lambda line: None,
) -> Refiner:
    """The refiner of that name for the detector's features.

    Args:
        name: one of `subpx_ros.config.REFINERS`; 'auto' is Keypt2Subpx where its weights are on this machine.
        config: the stage's settings.
        detector: whose features will be refined.
        device: where the network runs.
        report: called with lines for people (downloads, what 'auto' chose).

    Raises:
        WeightsError: the weights cannot be had or do not fit the detector.
    """
    from subpx_ros.refinement.keypt2subpx import Keypt2SubpxRefiner
    from subpx_ros.refinement.refiner import NoRefiner

    if name == "auto":
        name = _best_at_hand(config, detector, report)
    if name == "none":
        return NoRefiner()
    return Keypt2SubpxRefiner(config, detector, device, report)


def _best_at_hand(config: RefinementConfig, detector: Detector, report: Callable[[str], None]) -> str:
    if config.weights:
        return "keypt2subpx"
    if detector.keypt2subpx is None:
        return "none"
    if weights.find(detector.keypt2subpx):
        return "keypt2subpx"
    report(
        f"no refinement: the weights {detector.keypt2subpx} are not on this machine "
        f"('subpx weights get {detector.keypt2subpx}' fetches them)"
    )
    return "none"
