"""Which detectors, matchers and refiners go together. Light: nothing is loaded to answer this."""

from __future__ import annotations

from collections.abc import Iterator

from subpx_ros.checkpoints import CHECKPOINTS, Shipped
from subpx_ros.config import Config
from subpx_ros.errors import ConfigError
from subpx_ros.features.table import DETECTORS, detector_entry
from subpx_ros.matching import MATCHERS
from subpx_ros.settings import unknown_name

_FOR_ALL_MATCHERS = ("mutual_nn",)
_FOR_ALL_REFINERS = ("none", "subpx")


def matchers_for(detector: str) -> list[str]:
    """Names of the matchers that there are for a detector."""
    return [*_FOR_ALL_MATCHERS, *detector_entry(detector).matchers]


def refiners_for(detector: str) -> list[str]:
    """Names of the refiners that there are for a detector, without one of your own training."""
    return [*_FOR_ALL_REFINERS, *(["keypt2subpx"] if detector_entry(detector).keypt2subpx else [])]


def combinations() -> Iterator[tuple[str, str, str]]:
    """Every detector with every matcher and every refiner that fits it."""
    for detector in DETECTORS:
        for matcher in matchers_for(detector):
            for refiner in refiners_for(detector):
                yield detector, matcher, refiner


def check_fit(config: Config) -> None:
    """Raises ConfigError, with what does fit, unless detector, matcher and refiner go together."""
    matcher_checkpoint(config.features.detector, config.matching.matcher, config.matching.weights)
    if config.refiner == "keypt2subpx":
        keypt2subpx_checkpoint(config.features.detector, config.refinement.weights)


def matcher_checkpoint(detector: str, matcher: str, chosen: str = "") -> str:
    """Name of the known checkpoint of a matcher for a detector; empty where it has none or another one was chosen.

    Raises:
        ConfigError: unknown names, or the matcher has no weights for the detector.
    """
    entry = detector_entry(detector)
    if matcher not in MATCHERS:
        raise ConfigError(unknown_name("matcher", matcher, list(MATCHERS)))
    if matcher in _FOR_ALL_MATCHERS or (chosen and chosen not in CHECKPOINTS):
        return ""
    fitting = [name for name, other in DETECTORS.items() if matcher in other.matchers]
    if matcher not in entry.matchers or chosen not in ("", entry.matchers[matcher]):
        raise ConfigError(
            f"the matcher {chosen or matcher} has no weights for the detector {detector}, which goes with "
            f"{', '.join(matchers_for(detector))}; {matcher} goes with {', '.join(fitting)}: choose one of these, or "
            "give weights of your own by matching.weights"
        )
    if not entry.matchers[matcher]:
        raise ConfigError(
            f"the weights of {matcher} for the detector {detector} are not among those that can be fetched: give their "
            "path by matching.weights"
        )
    return entry.matchers[matcher]


def keypt2subpx_checkpoint(detector: str, chosen: str = "") -> str:
    """Name of the known Keypt2Subpx checkpoint for a detector; empty where one of the user's own was chosen.

    Raises:
        ConfigError: unknown detector, or no published checkpoint was trained for it.
    """
    if chosen and chosen not in CHECKPOINTS:
        return ""
    published = detector_entry(detector).keypt2subpx
    if published and chosen in ("", *published):
        return chosen or published[0]
    fitting = ", ".join(name for name, entry in DETECTORS.items() if entry.keypt2subpx)
    raise ConfigError(
        f"{chosen or 'no published Keypt2Subpx checkpoint'} {'does not fit' if chosen else 'fits'} the detector "
        f"{detector}, which goes with the refiners {', '.join(refiners_for(detector))}; there are published ones for "
        f"{fitting}: choose one of these, or give weights of your own by refinement.weights"
    )


def shipped_keypt2subpx(detector: str) -> str:
    """Name of the Keypt2Subpx checkpoint for a detector that this project trained and ships; empty where there is none."""
    names = detector_entry(detector).keypt2subpx
    return next((name for name in names if isinstance(CHECKPOINTS[name].source, Shipped)), "")
