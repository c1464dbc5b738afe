"""Which detectors, matchers and refiners go together, and what is said of those that do not."""

from __future__ import annotations

import pytest

from subpx_ros.checkpoints import CHECKPOINTS
from subpx_ros.config import PRESETS, load_config
from subpx_ros.errors import ConfigError
from subpx_ros.features import DETECTORS
from subpx_ros.fit import check_fit, combinations, keypt2subpx_checkpoint, matcher_checkpoint, shipped_keypt2subpx
from subpx_ros.pipeline import FrontEnd


def config(detector: str, matcher: str = "mutual_nn", refiner: str = "none", **weights: str) -> dict[str, object]:
    return {
        "preset": "xfeat",
        "device": "cpu",
        "refiner": refiner,
        "features": {"detector": detector},
        "matching": {"matcher": matcher, "weights": weights.get("matching", "")},
        "refinement": {"weights": weights.get("refinement", "")},
    }


def test_every_combination_of_the_table_is_accepted() -> None:
    found = list(combinations())
    assert len(set(found)) == len(found)
    for detector in DETECTORS:
        assert (detector, "mutual_nn", "none") in found and (detector, "mutual_nn", "subpx") in found
    assert ("xfeat", "lighterglue", "keypt2subpx") in found and ("dedode-g", "mutual_nn", "keypt2subpx") in found
    for detector, matcher, refiner in found:
        if not matcher.startswith("light") or DETECTORS[detector].matchers[matcher]:
            check_fit(load_config(config(detector, matcher, refiner)))


def test_every_preset_fits_itself() -> None:
    for preset in PRESETS:
        check_fit(load_config({"preset": preset, "device": "cpu"}))


def test_every_checkpoint_of_the_table_is_known() -> None:
    named = {name for entry in DETECTORS.values() for name in (*entry.matchers.values(), *entry.keypt2subpx) if name}
    assert named <= set(CHECKPOINTS)


@pytest.mark.parametrize(
    ("detector", "matcher", "said"),
    [
        (
            "orb",
            "lightglue",
            r"lightglue has no weights for the detector orb, which goes with mutual_nn;.*aliked-n16.*disk",
        ),
        ("xfeat", "lightglue", r"goes with mutual_nn, lighterglue; lightglue goes with aliked-n16"),
        ("aliked-n16", "lighterglue", r"goes with mutual_nn, lightglue; lighterglue goes with xfeat"),
        ("aliked-n16rot", "lightglue", r"no weights for the detector aliked-n16rot"),
        ("sift", "lightglue", r"weights of lightglue for the detector sift are not among.*matching\.weights"),
    ],
)
def test_a_matcher_that_does_not_fit_is_refused_with_those_that_do(detector: str, matcher: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FrontEnd(load_config(config(detector, matcher)))


@pytest.mark.parametrize("detector", ["orb", "sift", "disk", "dedode-b", "aliked-t16"])
def test_a_refiner_that_does_not_fit_is_refused_with_those_that_do(detector: str) -> None:
    said = (
        rf"no published Keypt2Subpx checkpoint fits the detector {detector}, which goes with the refiners none, subpx;"
    )
    with pytest.raises(ConfigError, match=said + r".*xfeat, aliked-n16, superpoint, dedode-g"):
        FrontEnd(load_config(config(detector, refiner="keypt2subpx")))


def test_known_names_of_other_detectors_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lightglue-disk has no weights for the detector aliked-n16"):
        check_fit(load_config(config("aliked-n16", "lightglue", matching="lightglue-disk")))
    with pytest.raises(ConfigError, match=r"keypt2subpx-dedode does not fit the detector superpoint"):
        check_fit(load_config(config("superpoint", refiner="keypt2subpx", refinement="keypt2subpx-dedode")))


def test_weights_of_your_own_may_go_with_any_detector() -> None:
    check_fit(load_config(config("sift", "lightglue", "keypt2subpx", matching="own.pth", refinement="own.pth")))
    assert matcher_checkpoint("sift", "lightglue", "own.pth") == keypt2subpx_checkpoint("sift", "own.pth") == ""


def test_shipped_refiners_fit_by_name_and_are_not_taken_unasked() -> None:
    assert keypt2subpx_checkpoint("xfeat") == "keypt2subpx-xfeat"
    for detector, name in (("xfeat", "keypt2subpx-xfeat-shipped"), ("aliked-n16", "keypt2subpx-aliked-shipped")):
        assert shipped_keypt2subpx(detector) == keypt2subpx_checkpoint(detector, name) == name
    assert shipped_keypt2subpx("superpoint") == shipped_keypt2subpx("sift") == ""


def test_superpoint_has_two_published_refiners() -> None:
    assert keypt2subpx_checkpoint("superpoint") == "keypt2subpx-splg"
    assert keypt2subpx_checkpoint("superpoint", "keypt2subpx-spsg") == "keypt2subpx-spsg"


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector 'xfeta'.*did you mean 'xfeat'"):
        matcher_checkpoint("xfeta", "mutual_nn")
    with pytest.raises(ConfigError, match=r"unknown matcher 'lightgleu'.*did you mean 'lightglue'"):
        matcher_checkpoint("xfeat", "lightgleu")
