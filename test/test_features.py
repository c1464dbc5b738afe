"""Detectors: coordinates, descriptors, limits, and what mirroring does to keypoints."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from measure_flip_bias import detector_shift, distances, photographs, refiner_shift
from numpy.typing import NDArray

from subpx_ros import weights
from subpx_ros.config import FeatureConfig, load_config
from subpx_ros.errors import ConfigError
from subpx_ros.features import DETECTORS, create_detector
from subpx_ros.features.detector import Detector, local_maxima, pad_to_multiple
from subpx_ros.pipeline import FrontEnd

CPU = torch.device("cpu")
THRESHOLDS = {
    "xfeat": 0.05,
    "aliked-n16": 0.2,
    "aliked-t16": 0.2,
    "disk": 0.0,
    "sift": 0.04,
    "orb": 0.08,
}
VARIANTS = ("aliked-n16rot", "aliked-n32")
"""Other weights in the network of aliked-n16."""
UNPUBLISHED = ("superpoint", "dedode-b", "dedode-g")
"""Without weights that tests could fetch: see test_superpoint.py and test_dedode.py."""
STRIDE = 32


@cache
def detector(name: str, max_keypoints: int = 1024) -> Detector:
    threshold = THRESHOLDS.get(name, 0.2)
    config = FeatureConfig(detector=name, max_keypoints=max_keypoints, detection_threshold=threshold)
    return create_detector(config, CPU)


@cache
def photograph(name: str = "coffee") -> NDArray[np.uint8]:
    return photographs()[name]


def test_every_detector_of_the_table_is_tested() -> None:
    assert {*THRESHOLDS, *VARIANTS, *UNPUBLISHED} == set(DETECTORS)


def test_unknown_detector_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'xfeat'"):
        create_detector(FeatureConfig(detector="xfeta"), CPU)


@pytest.mark.parametrize("name", [*THRESHOLDS, *VARIANTS])
def test_features_are_what_their_record_says(name: str) -> None:
    image = photograph()[:301, :435]
    (features,) = detector(name).detect([image])
    count = len(features)
    assert 100 < count <= 1024
    assert features.keypoints.shape == (count, 2)
    assert features.scores.shape == (count,)
    assert features.descriptors.shape == (count, detector(name).descriptor_size)
    assert {tensor.dtype for tensor in (features.keypoints, features.scores, features.descriptors)} == {torch.float32}
    assert torch.all(features.keypoints >= 0)
    assert torch.all(features.keypoints <= torch.tensor([434.0, 300.0]))
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(count), atol=1e-4, rtol=0)
    np.testing.assert_allclose(features.image.numpy() * 255, image, atol=1e-3)
    assert (features.score_map is not None) == detector(name).has_score_map
    if features.score_map is not None:
        assert features.score_map.shape == image.shape


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_reconfigured_detector_is_as_one_made_so(name: str) -> None:
    image = photograph()[:301, :435]
    made = detector(name, 200)
    changed = create_detector(FeatureConfig(detector=name, max_keypoints=1024, detection_threshold=0.5), CPU)
    changed.reconfigure(FeatureConfig(detector=name, max_keypoints=200, detection_threshold=THRESHOLDS[name]))
    (expected,), (found,) = made.detect([image]), changed.detect([image])
    assert len(expected) > 50
    torch.testing.assert_close(found.keypoints, expected.keypoints, atol=0, rtol=0)
    torch.testing.assert_close(found.descriptors, expected.descriptors, atol=0, rtol=0)


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("grey", [0, 255])
def test_an_empty_image_has_no_keypoints(name: str, grey: int) -> None:
    (features,) = detector(name).detect([np.full((120, 200), grey, np.uint8)])
    assert len(features) == 0
    assert features.descriptors.shape == (0, detector(name).descriptor_size)


@pytest.mark.parametrize("name", THRESHOLDS)
def test_the_budget_keeps_the_best(name: str) -> None:
    (many,) = detector(name).detect([photograph()])
    (few,) = detector(name, 64).detect([photograph()])
    assert len(few) <= 64 < len(many)
    assert float(few.scores.min()) > float(many.scores.median())
    assert float(distances(few.keypoints, many.keypoints).min(dim=1).values.max()) < 1e-3


@pytest.mark.parametrize("name", THRESHOLDS)
def test_images_of_a_batch_do_not_disturb_each_other(name: str) -> None:
    images = [photograph("camera"), photograph("brick")]
    together = detector(name).detect(images)
    for image, features in zip(images, together, strict=True):
        (alone,) = detector(name).detect([image])
        assert abs(len(alone) - len(features)) <= 2
        nearest = distances(features.keypoints, alone.keypoints).min(dim=1).values
        # Rounding decides about equal scores at the end of the budget.
        assert int((nearest > 1e-3).sum()) <= 4


@pytest.mark.parametrize("name", THRESHOLDS)
def test_cropping_by_whole_strides_moves_keypoints_by_just_that(name: str) -> None:
    image = photograph()
    (whole,) = detector(name).detect([image])
    (part,) = detector(name).detect([image[STRIDE:, 2 * STRIDE :]])
    distance = distances(part.keypoints + torch.tensor([2.0 * STRIDE, STRIDE]), whole.keypoints)
    nearest, index = distance.min(dim=1)
    same = nearest < 0.5
    assert int(same.sum()) > 0.6 * len(part)
    shift = (part.keypoints + torch.tensor([2.0 * STRIDE, STRIDE]) - whole.keypoints[index])[same]
    # The pixels of ORB's pyramid levels lie elsewhere in an image of another size.
    assert torch.all(shift.mean(dim=0).abs() < (0.05 if name == "orb" else 0.02))


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_size_that_is_no_multiple_of_the_stride_leaves_keypoints_in_place(name: str) -> None:
    image = photograph()[: 9 * STRIDE, : 12 * STRIDE]
    larger = np.pad(image, ((0, 7), (0, 13)), mode="edge")
    (plain,) = detector(name).detect([image])
    (padded,) = detector(name).detect([larger])
    nearest, index = distances(plain.keypoints, padded.keypoints).min(dim=1)
    same = nearest < 0.5
    assert int(same.sum()) > 0.6 * len(plain)
    assert torch.all((padded.keypoints[index] - plain.keypoints)[same].mean(dim=0).abs() < 0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_mirroring_mirrors_sift(axis: int) -> None:
    front_end = FrontEnd(load_config({"preset": "sift", "refiner": "none"}))
    for name in ("astronaut", "coffee", "camera"):
        assert abs(detector_shift(front_end, photograph(name), axis)) < 0.01


@pytest.mark.parametrize("axis", [0, 1])
def test_mirroring_mirrors_orb_to_a_tenth_of_its_pixel(axis: int) -> None:
    front_end = FrontEnd(load_config({"preset": "orb", "refiner": "none"}))
    shifts = [
        detector_shift(front_end, photograph(name), axis) for name in ("astronaut", "coffee", "camera", "chelsea")
    ]
    # Corners lie on whole pixels of pyramid levels; OpenCV's own coordinates are off by a third of a pixel.
    assert abs(np.mean(shifts)) < 0.1


# The learned detectors place keypoints beside the structure they respond to, always in the same way; the numbers
# (x, y in pixels) are properties of the published weights. See docs/benchmarks.md for why they are left as they are.
@pytest.mark.parametrize(
    ("name", "published"), [("xfeat", (0.25, -1.42)), ("aliked-n16", (1.50, 1.73)), ("aliked-t16", (1.60, 1.95))]
)
def test_mirroring_shifts_learned_keypoints_by_their_published_bias(name: str, published: tuple[float, float]) -> None:
    settings = {
        "refiner": "none",
        "features": {"detector": name, "max_keypoints": 1024, "detection_threshold": THRESHOLDS[name]},
    }
    front_end = FrontEnd(load_config({"preset": "xfeat", **settings}))
    images = [photograph("astronaut"), photograph("coffee")]
    for axis, expected in zip((1, 0), published, strict=True):
        shift = np.mean([detector_shift(front_end, image, axis) for image in images])
        assert shift == pytest.approx(expected, abs=0.35)


def test_the_published_refiner_for_aliked_has_no_bias_of_its_own() -> None:
    if weights.find("keypt2subpx-aliked") is None:
        pytest.skip("needs the weights keypt2subpx-aliked on this machine")
    front_end = FrontEnd(
        load_config({"preset": "aliked", "refiner": "keypt2subpx", "matching": {"matcher": "mutual_nn"}})
    )
    for axis in (0, 1):
        shifts = [refiner_shift(front_end, photograph(name), axis) for name in ("astronaut", "coffee", "camera")]
        assert abs(np.mean(shifts)) < 0.08


def test_local_maxima_are_strict_about_threshold_and_border() -> None:
    scores = torch.zeros(1, 1, 9, 9)
    scores[0, 0, 4, 4], scores[0, 0, 4, 5], scores[0, 0, 1, 4], scores[0, 0, 6, 7] = 0.9, 0.8, 0.9, 0.9
    scores[0, 0, 7, 2] = 0.05
    found = local_maxima(scores, radius=2, threshold=0.05)[0, 0].nonzero().tolist()
    assert found == [[4, 4]]


def test_padding_repeats_the_border_on_the_far_sides_only() -> None:
    images = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = pad_to_multiple(images, 5)
    assert padded.shape == (1, 1, 5, 5)
    torch.testing.assert_close(padded[..., :3, :4], images)
    assert padded[0, 0, 4].tolist() == [8.0, 9.0, 10.0, 11.0, 11.0]
    assert torch.equal(pad_to_multiple(padded, 5), padded)
