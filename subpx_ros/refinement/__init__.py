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
        name: one of `subpx_ros.config.REFINERS`; 'auto' is subpx, which serves every detector, or what the given
            checkpoint holds.
        config: the stage's settings.
        detector: whose features will be refined.
        device: where the network runs.
        report: called with lines for people (downloads).

    Raises:
        ConfigError: there is none for the detector.
        WeightsError: the weights cannot be had or do not fit.
    """
    if name == "auto":
        name = _kind_of(config.weights, report) if config.weights else "subpx"
    if name == "none":
        from subpx_ros.refinement.refiner import NoRefiner

        return NoRefiner()
    if name == "keypt2subpx":
        from subpx_ros.refinement.keypt2subpx import Keypt2SubpxRefiner

        return Keypt2SubpxRefiner(config, detector, device, report)
    from subpx_ros.refinement.subpx import SubpxRefiner

    return SubpxRefiner(config, device, report)


def _kind_of(chosen: str, report: Callable[[str], None]) -> str:
    tensors, _ = weights.load_chosen(chosen, chosen, report)
    return "keypt2subpx" if "conv1a.weight" in tensors else "subpx"
