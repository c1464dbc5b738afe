"""The refiners that every benchmark compares: none, Keypt2Subpx published and trained by us, ours, and a given one."""

from __future__ import annotations

from collections.abc import Callable

from subpx_ros.config import RefinementConfig
from subpx_ros.console import note
from subpx_ros.errors import WeightsError
from subpx_ros.fit import shipped_keypt2subpx
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement import create_refiner
from subpx_ros.refinement.refiner import NoRefiner, Refiner

DETECTED, PUBLISHED, RETRAINED, OURS, GIVEN = "detected", "published", "retrained", "ours", "given"
COLOURS = {DETECTED: "#D55E00", PUBLISHED: "#E69F00", RETRAINED: "#CC79A7", OURS: "#0072B2", GIVEN: "#009E73"}
"""Told apart by colour-blind readers (Okabe and Ito)."""


def refiners_for(front_end: FrontEnd, skip: Callable[[str], None] = note, weights: str = "") -> dict[str, Refiner]:
    """Refiners by label, for the detector of a front end.

    Args:
        front_end: whose features are refined.
        skip: called with a line for people where the published refiner cannot be had, which is left out then.
        weights: a checkpoint to compare beside them; none if empty.

    Raises:
        WeightsError: our weights or the given ones cannot be had or do not fit.
    """
    detector, device = front_end.detector, front_end.device
    refiners: dict[str, Refiner] = {DETECTED: NoRefiner()}
    if detector.keypt2subpx is None:
        skip(f"{PUBLISHED}: there is no published refiner for {detector.name}")
    else:
        try:
            refiners[PUBLISHED] = create_refiner("keypt2subpx", RefinementConfig(), detector, device, note)
        except WeightsError as error:
            skip(f"{PUBLISHED} for {detector.name}: {error}")
    shipped = shipped_keypt2subpx(detector.name)
    if shipped:
        refiners[RETRAINED] = create_refiner("keypt2subpx", RefinementConfig(shipped), detector, device, note)
    refiners[OURS] = create_refiner("subpx", RefinementConfig(), detector, device, note)
    if weights:
        refiners[GIVEN] = create_refiner("auto", RefinementConfig(weights=weights), detector, device, note)
    return refiners
