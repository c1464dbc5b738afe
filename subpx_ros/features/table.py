"""The detectors by name, with all that can be known of them before their weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from subpx_ros.errors import ConfigError
from subpx_ros.settings import unknown_name


@dataclass(frozen=True)
class DetectorEntry:
    """A detector: where it is implemented, what its features are, and which published checkpoints fit them."""

    implementation: str
    """module:class, imported when the detector is asked for."""
    descriptor_size: int
    """Values of a descriptor."""
    has_score_map: bool = False
    """Whether features carry the dense score, which some refiners take."""
    matchers: dict[str, str] = field(default_factory=dict)
    """Learned matchers that were trained for these features, each with its known checkpoint; empty: given by path."""
    keypt2subpx: tuple[str, ...] = ()
    """Known Keypt2Subpx checkpoints that were trained for these features: the preferred published one first."""
    learned: bool = True
    """Whether it is a network: such detectors run on GPUs and can be exported."""


_ALIKED = "subpx_ros.features.aliked:AlikedDetector"
_DEDODE = "subpx_ros.features.dedode:DedodeDetector"

DETECTORS = {
    "xfeat": DetectorEntry(
        "subpx_ros.features.xfeat:XFeatDetector",
        64,
        matchers={"lighterglue": "lighterglue-xfeat"},
        keypt2subpx=("keypt2subpx-xfeat", "keypt2subpx-xfeat-shipped"),
    ),
    "aliked-n16": DetectorEntry(
        _ALIKED,
        128,
        has_score_map=True,
        matchers={"lightglue": "lightglue-aliked"},
        keypt2subpx=("keypt2subpx-aliked", "keypt2subpx-aliked-shipped"),
    ),
    "aliked-t16": DetectorEntry(_ALIKED, 64, has_score_map=True),
    "aliked-n16rot": DetectorEntry(_ALIKED, 128, has_score_map=True),
    "aliked-n32": DetectorEntry(_ALIKED, 128, has_score_map=True),
    "superpoint": DetectorEntry(
        "subpx_ros.features.superpoint:SuperPointDetector",
        256,
        has_score_map=True,
        matchers={"lightglue": "lightglue-superpoint"},
        keypt2subpx=("keypt2subpx-splg", "keypt2subpx-spsg"),
    ),
    "disk": DetectorEntry(
        "subpx_ros.features.disk:DiskDetector", 128, has_score_map=True, matchers={"lightglue": "lightglue-disk"}
    ),
    # The published refiner was trained with the descriptors G.
    "dedode-g": DetectorEntry(
        _DEDODE,
        256,
        matchers={"lightglue": ""},
        keypt2subpx=("keypt2subpx-dedode",),
    ),
    "dedode-b": DetectorEntry(_DEDODE, 256, matchers={"lightglue": "lightglue-dedode-b"}),
    "sift": DetectorEntry("subpx_ros.features.sift:SiftDetector", 128, matchers={"lightglue": ""}, learned=False),
    "orb": DetectorEntry("subpx_ros.features.orb:OrbDetector", 256, learned=False),
}


def detector_entry(name: str) -> DetectorEntry:
    """The table's entry. Raises ConfigError naming the known ones."""
    if name not in DETECTORS:
        raise ConfigError(unknown_name("detector", name, list(DETECTORS)))
    return DETECTORS[name]
