"""Matchers on descriptors made by hand, where the right matches can be read off."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from measure_flip_bias import photographs

from subpx_ros.config import FeatureConfig, MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.errors import ConfigError, WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector
from subpx_ros.matching import create_matcher
from subpx_ros.matching.matcher import Matcher
from subpx_ros.matching.mutual_nn import StereoRowMatcher, mutual_nearest, nearest_in_blocks

CPU = torch.device("cpu")


def features(angles_deg: list[float], keypoints: list[tuple[float, float]] | None = None) -> Features:
    """Unit descriptors in the plane, so that similarities are cosines of differences of angles."""
    angles = torch.deg2rad(torch.tensor(angles_deg, dtype=torch.float32))
    positions = torch.tensor(keypoints or [(0.0, 0.0)] * len(angles_deg), dtype=torch.float32).reshape(-1, 2)
    descriptors = torch.stack([angles.cos(), angles.sin()], dim=1).reshape(-1, 2)
    return Features(positions, torch.ones(len(angles_deg)), descriptors, torch.zeros(10, 10))


def pairs(matches: Matches) -> list[tuple[int, int]]:
    assert matches.indices0.dtype == matches.indices1.dtype == torch.int64
    assert len(matches) == len(matches.indices1) == len(matches.scores)
    return list(zip(matches.indices0.tolist(), matches.indices1.tolist(), strict=True))


@pytest.fixture(scope="module")
def sift() -> Detector:
    return create_detector(FeatureConfig(detector="sift", detection_threshold=0.04), CPU)


def mutual_nn(sift: Detector, least: float = 0.5) -> Matcher:
    return create_matcher(MatchingConfig(min_similarity=least), sift, CPU)


def test_nearest_descriptors_are_paired(sift: Detector) -> None:
    found = mutual_nn(sift).match(features([0, 90, 200]), features([195, 5, 92]))
    assert pairs(found) == [(0, 1), (1, 2), (2, 0)]
    expected = np.cos(np.deg2rad([5, 2, 5]))
    assert np.allclose(found.scores.numpy(), expected, atol=1e-6)


def test_only_mutual_neighbours_are_paired(sift: Detector) -> None:
    # 10 and 20 both have 12 as their nearest; 12 prefers 10.
    found = mutual_nn(sift).match(features([10, 20]), features([12]))
    assert pairs(found) == [(0, 0)]
    found = mutual_nn(sift).match(features([12]), features([10, 20]))
    assert pairs(found) == [(0, 0)]


@pytest.mark.parametrize(("degrees", "kept"), [(59.0, True), (61.0, False)])
def test_similarity_below_the_threshold_is_no_match(sift: Detector, degrees: float, kept: bool) -> None:
    found = mutual_nn(sift, least=0.5).match(features([0.0]), features([degrees]))
    assert len(found) == (1 if kept else 0)


def test_scores_lie_between_0_and_1_even_for_opposite_descriptors(sift: Detector) -> None:
    found = mutual_nn(sift, least=-1.0).match(features([0, 1]), features([0, 180]))
    assert len(found) >= 1
    assert float(found.scores.min()) >= 0.0 and float(found.scores.max()) <= 1.0


# Nearest at 10 degrees, second at 20: the distances 2 sin 5 and 2 sin 10 make a ratio of 0.502.
@pytest.mark.parametrize(("largest", "kept"), [(0.51, True), (0.49, False), (1.0, True)])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_second_neighbour_nearly_as_near_is_no_match(
    sift: Detector, largest: float, kept: bool, swapped: bool
) -> None:
    matcher = create_matcher(MatchingConfig(min_similarity=0.0, max_ratio=largest), sift, CPU)
    one, two = features([0.0]), features([10.0, -20.0])
    assert len(matcher.match(two, one) if swapped else matcher.match(one, two)) == int(kept)


def test_the_only_neighbour_passes_the_ratio_test(sift: Detector) -> None:
    matcher = create_matcher(MatchingConfig(min_similarity=0.0, max_ratio=0.5), sift, CPU)
    assert pairs(matcher.match(features([0.0]), features([20.0]))) == [(0, 0)]


@pytest.mark.parametrize(("count0", "count1"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_side_gives_no_matches(sift: Detector, count0: int, count1: int) -> None:
    sides = features([0.0, 40.0, 80.0][:count0]), features([0.0, 40.0, 80.0][:count1])
    assert pairs(mutual_nn(sift).match(*sides)) == []
    assert pairs(StereoRowMatcher(MatchingConfig()).match(*sides, 0.0)) == []


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_one_to_one_also_with_equal_descriptors(sift: Detector, seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles0, angles1 = (rng.integers(0, 12, 40) * 30.0 for _ in range(2))
    rows = rng.uniform(0, 5, (2, 40))
    left = features(list(angles0), [(50.0, y) for y in rows[0]])
    right = features(list(angles1), [(40.0, y) for y in rows[1]])
    for found in (
        pairs(mutual_nn(sift).match(left, right)),
        pairs(StereoRowMatcher(MatchingConfig()).match(left, right, 0.0)),
    ):
        assert found
        for side in zip(*found, strict=True):
            assert len(set(side)) == len(found)


def row_matches(left: Features, right: Features, principal_offset_px: float = 0.0) -> list[tuple[int, int]]:
    config = MatchingConfig(min_similarity=0.5, max_row_difference_px=2.0, min_disparity_px=1.0)
    return pairs(StereoRowMatcher(config).match(left, right, principal_offset_px))


@pytest.mark.parametrize(("difference", "kept"), [(0.0, True), (2.0, True), (-2.0, True), (2.1, False), (-2.1, False)])
def test_rows_may_differ_by_so_much(difference: float, kept: bool) -> None:
    found = row_matches(features([0.0], [(50.0, 20.0)]), features([0.0], [(40.0, 20.0 + difference)]))
    assert len(found) == (1 if kept else 0)


@pytest.mark.parametrize(("disparity", "kept"), [(1.0, True), (0.9, False), (0.0, False), (-5.0, False), (49.0, True)])
def test_disparity_has_a_least_value(disparity: float, kept: bool) -> None:
    found = row_matches(features([0.0], [(50.0, 20.0)]), features([0.0], [(50.0 - disparity, 20.0)]))
    assert len(found) == (1 if kept else 0)


@pytest.mark.parametrize(("offset", "disparity", "kept"), [(7.0, 7.5, False), (7.0, 8.5, True), (-7.0, -5.5, True)])
def test_disparity_counts_from_that_of_infinity(offset: float, disparity: float, kept: bool) -> None:
    found = row_matches(features([0.0], [(50.0, 20.0)]), features([0.0], [(50.0 - disparity, 20.0)]), offset)
    assert len(found) == (1 if kept else 0)


def test_a_better_descriptor_in_another_row_does_not_distract() -> None:
    left = features([0.0], [(50.0, 20.0)])
    right = features([0.0, 10.0], [(40.0, 90.0), (40.0, 20.5)])
    assert row_matches(left, right) == [(0, 1)]


def test_a_pair_that_is_not_allowed_is_none_even_at_the_least_similarity() -> None:
    matcher = StereoRowMatcher(MatchingConfig(min_similarity=-1.0))
    found = matcher.match(features([0.0], [(50.0, 20.0)]), features([0.0], [(60.0, 20.0)]), 0.0)
    assert pairs(found) == []


def test_an_unknown_matcher_is_refused_with_the_known_ones(sift: Detector) -> None:
    with pytest.raises(ConfigError, match=r"'mutual_n'.*did you mean 'mutual_nn'.*lightglue"):
        create_matcher(MatchingConfig(matcher="mutual_n"), sift, CPU)


def test_lightglue_refuses_a_detector_it_was_not_trained_for() -> None:
    orb = create_detector(FeatureConfig(detector="orb"), CPU)
    with pytest.raises(ConfigError, match=r"no weights for the detector orb.*aliked-n16"):
        create_matcher(MatchingConfig(matcher="lightglue"), orb, CPU)


def lightglue_checkpoint(path: Path, input_size: int, scale_and_orientation: bool) -> str:
    """A small LightGlue of random weights, under the names of the published files."""
    from kornia.feature import LightGlue

    torch.manual_seed(0)
    sizes = {"input_dim": input_size, "descriptor_dim": 32, "n_layers": 2, "num_heads": 2}
    network = LightGlue(None, **sizes, add_scale_ori=scale_and_orientation)  # type: ignore[arg-type]
    names = {name: re.sub(r"^transformers\.(\d)\.(\w+_attn)", r"\2.\1", name) for name in network.state_dict()}
    tensors = {names[name]: tensor for name, tensor in network.state_dict().items() if "thresholds" not in name}
    torch.save(tensors | {"log_assignment.0.r": torch.zeros(1)}, path)
    return str(path)


def test_lightglue_of_your_own_takes_its_sizes_from_the_file(sift: Detector, tmp_path: Path) -> None:
    path = lightglue_checkpoint(tmp_path / "own.pth", 128, scale_and_orientation=True)
    config = MatchingConfig(matcher="lightglue", weights=path, min_confidence=0.0, adaptive=False)
    matcher = create_matcher(config, sift, CPU)
    (found,) = sift.detect([photographs()["camera"][:200, :200]])
    assert found.scales is not None and found.orientations is not None
    assert torch.all(found.scales > 0) and torch.all((found.orientations >= 0) & (found.orientations <= 6.2832))
    matches = pairs(matcher.match(found, found))
    for side in zip(*matches, strict=True):
        assert len(set(side)) == len(matches)


def test_lightglue_refuses_checkpoints_that_do_not_fit(sift: Detector, tmp_path: Path) -> None:
    other = lightglue_checkpoint(tmp_path / "other.pth", 64, scale_and_orientation=False)
    with pytest.raises(WeightsError, match=r"other\.pth takes descriptors of 64 values, but sift makes 128"):
        create_matcher(MatchingConfig(matcher="lightglue", weights=other), sift, CPU)
    torch.save({"a": torch.zeros(1)}, tmp_path / "thing.pth")
    with pytest.raises(WeightsError, match=r"thing\.pth is no LightGlue checkpoint"):
        create_matcher(MatchingConfig(matcher="lightglue", weights=str(tmp_path / "thing.pth")), sift, CPU)
    orb = create_detector(FeatureConfig(detector="orb"), CPU)
    framed = lightglue_checkpoint(tmp_path / "framed.pth", 256, scale_and_orientation=True)
    matcher = create_matcher(MatchingConfig(matcher="lightglue", weights=framed), orb, CPU)
    (found,) = orb.detect([photographs()["camera"][:200, :200]])
    with pytest.raises(WeightsError, match="trained with scales and orientations"):
        matcher.match(found, found)


def test_new_limits_hold_for_the_next_pair(sift: Detector) -> None:
    matcher = mutual_nn(sift, 0.5)
    near, far = features([0.0]), features([50.0])
    assert len(matcher.match(near, far)) == 1
    matcher.reconfigure(MatchingConfig(min_similarity=0.9))
    assert len(matcher.match(near, far)) == 0
    similar = features([50.0, 55.0])
    matcher.reconfigure(MatchingConfig(min_similarity=0.5))
    assert len(matcher.match(near, similar)) == 1
    matcher.reconfigure(MatchingConfig(min_similarity=0.5, max_ratio=0.8))
    assert len(matcher.match(near, similar)) == 0


def test_lightglue_takes_a_new_least_confidence() -> None:
    rng = np.random.default_rng(3)
    image = (rng.random((96, 128)) * 255).astype(np.uint8)
    detector = create_detector(FeatureConfig(detector="aliked-n16", detection_threshold=0.0, max_keypoints=64), CPU)
    matcher = create_matcher(MatchingConfig(matcher="lightglue", min_confidence=0.0), detector, CPU)
    (seen,), (shifted,) = detector.detect([image]), detector.detect([np.roll(image, 3, axis=1)])
    assert len(matcher.match(seen, shifted)) > 10
    matcher.reconfigure(MatchingConfig(matcher="lightglue", min_confidence=1.0))
    assert len(matcher.match(seen, shifted)) == 0


@pytest.mark.parametrize(("left", "right"), [(1, 1), (3, 700), (700, 3), (513, 600), (1200, 1024)])
def test_blocks_find_what_the_whole_matrix_of_similarities_does(left: int, right: int) -> None:
    generator = torch.Generator().manual_seed(left)
    size = torch.tensor([600.0, 200.0])
    keypoints0 = (torch.rand(left, 2, generator=generator) * size).round()
    descriptors0 = torch.nn.functional.normalize(torch.randn(left, 16, generator=generator), dim=1)
    chosen = torch.randint(left, (right,), generator=generator)
    noise = torch.randn(right, 2, generator=generator) * torch.tensor([8.0, 1.5])
    keypoints1 = keypoints0[chosen] - torch.tensor([15.0, 0.0]) + noise
    seen = descriptors0[chosen] + 0.1 * torch.randn(right, 16, generator=generator)
    descriptors1 = torch.nn.functional.normalize(seen, dim=1)
    similarity = descriptors0 @ descriptors1.T

    whole, blocks = mutual_nearest(similarity, 0.5), nearest_in_blocks(descriptors0, descriptors1, 0.5)
    assert pairs(blocks) == pairs(whole) != []
    assert torch.allclose(blocks.scores, whole.scores, atol=1e-6)

    difference = keypoints0[:, None] - keypoints1[None]
    allowed = (difference[..., 1].abs() <= 2.0) & (difference[..., 0] - 0.5 >= 1.0)
    whole = mutual_nearest(similarity.masked_fill(~allowed, -1.0), 0.5)
    image = torch.zeros(8, 8)
    features0 = Features(keypoints0, torch.ones(left), descriptors0, image)
    features1 = Features(keypoints1, torch.ones(right), descriptors1, image)
    rows = StereoRowMatcher(MatchingConfig(min_similarity=0.5)).match(features0, features1, 0.5)
    assert pairs(rows) == pairs(whole) != []
    assert rows.indices0.tolist() == sorted(rows.indices0.tolist())
