"""The refiners: parity with the published module, borders, batches, and checkpoints that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from subpx_ros import weights
from subpx_ros.checkpoints import CHECKPOINTS
from subpx_ros.config import FeatureConfig, RefinementConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.errors import ConfigError, WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector
from subpx_ros.refinement import create_refiner
from subpx_ros.refinement.keypt2subpx import (
    PATCH_RADIUS,
    Keypt2SubpxNetwork,
    Keypt2SubpxRefiner,
    network_for,
    refine_pairs,
)
from subpx_ros.refinement.patches import crop_patches
from subpx_ros.refinement.subpx import SubpxRefiner

CPU = torch.device("cpu")
GOLDEN = ("aliked", "dedode", "splg", "spsg", "xfeat")
DESCRIPTOR_SIZE = 128


@pytest.fixture(scope="module")
def sift() -> Detector:
    return create_detector(FeatureConfig(detector="sift", detection_threshold=0.04), CPU)


def random_network(descriptor_size: int = DESCRIPTOR_SIZE, use_score_map: bool = False) -> Keypt2SubpxNetwork:
    torch.manual_seed(0)
    return Keypt2SubpxNetwork(descriptor_size, use_score_map).eval()


def checkpoint(folder: Path, network: Keypt2SubpxNetwork) -> str:
    path = folder / "refiner.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def features(keypoints: torch.Tensor, seed: int = 0, height: int = 60, width: int = 80) -> Features:
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.randn(len(keypoints), DESCRIPTOR_SIZE, generator=generator)
    image = torch.rand(height, width, generator=generator)
    scores = torch.rand(len(keypoints), generator=generator)
    return Features(keypoints, scores, torch.nn.functional.normalize(descriptors, dim=1), image)


def inner_keypoints(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 8.0 + torch.rand(count, 2, generator=generator) * torch.tensor([63.0, 43.0])


def all_of(count: int) -> Matches:
    indices = torch.arange(count)
    return Matches(indices, indices, torch.linspace(0, 1, count))


@pytest.mark.parametrize("name", GOLDEN)
def test_refined_keypoints_equal_those_of_the_published_module(
    name: str, shared_file: Callable[[str, str], Path]
) -> None:
    golden = np.load(shared_file("golden", f"keypt2subpx_{name}.npz"))
    published = shared_file("weights", f"k2s_{name}_pretrained.pth")
    network = network_for(weights.load_tensors(published), name).eval()
    tensors = {key: torch.from_numpy(golden[key]) for key in golden.files}
    height, width = golden["image0"].shape
    for key in ("keypoints0", "keypoints1"):
        assert golden[key].min() >= 6 and np.all(golden[key] <= [width - 7, height - 7])

    layers = ("image", "scores") if network.use_score_map else ("image",)
    maps = tuple(torch.stack([tensors[f"{layer}{view}"] for layer in layers]) for view in (0, 1))
    with torch.inference_mode():
        refined = refine_pairs(
            network,
            (tensors["keypoints0"], tensors["keypoints1"]),
            (maps[0], maps[1]),
            (tensors["descriptors0"], tensors["descriptors1"]),
        )
    for view in (0, 1):
        assert np.abs(refined[view].numpy() - golden[f"refined{view}"]).max() < 1e-4
        moved = np.linalg.norm(golden[f"refined{view}"] - golden[f"keypoints{view}"], axis=1)
        assert np.median(moved) > 0.01, "keypoints that hardly move would prove nothing"


def naive_patch(image: np.ndarray, keypoint: tuple[float, float], radius: int) -> np.ndarray:
    """Pixel by pixel: centre truncated to whole pixels and held inside of the image, zeros outside."""
    height, width = image.shape
    centre_x = min(max(int(keypoint[0]), 0), width - 1)
    centre_y = min(max(int(keypoint[1]), 0), height - 1)
    patch = np.zeros((2 * radius + 1, 2 * radius + 1), dtype=image.dtype)
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            y, x = centre_y + row, centre_x + column
            if 0 <= y < height and 0 <= x < width:
                patch[row + radius, column + radius] = image[y, x]
    return patch


BORDER_KEYPOINTS = [
    (20.0, 15.0), (20.99, 15.99), (0.0, 0.0), (79.0, 59.0), (79.9, 0.3), (4.9, 5.1), (-0.7, 30.0), (-3.0, -8.0),
    (80.0, 60.0), (500.0, 20.0), (30.0, -1e6), (74.5, 54.5),
]  # fmt: skip


def test_patches_are_zero_outside_of_the_image() -> None:
    maps = torch.rand(2, 60, 80, generator=torch.Generator().manual_seed(0)) + 0.1
    patches = crop_patches(maps, torch.tensor(BORDER_KEYPOINTS), PATCH_RADIUS)
    assert patches.shape == (len(BORDER_KEYPOINTS), 2, 11, 11)
    for patch, keypoint in zip(patches.numpy(), BORDER_KEYPOINTS, strict=True):
        for channel in (0, 1):
            assert np.array_equal(patch[channel], naive_patch(maps[channel].numpy(), keypoint, PATCH_RADIUS))


def test_patches_of_an_image_smaller_than_a_patch() -> None:
    maps = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0))
    (patch,) = crop_patches(maps, torch.tensor([[2.0, 1.0]]), PATCH_RADIUS).numpy()
    assert np.array_equal(patch[0], naive_patch(maps[0].numpy(), (2.0, 1.0), PATCH_RADIUS))


def test_keypoints_at_and_beyond_the_border_are_refined_to_finite_places(tmp_path: Path, sift: Detector) -> None:
    refiner = create_refiner("keypt2subpx", RefinementConfig(checkpoint(tmp_path, random_network())), sift, CPU)
    keypoints = torch.tensor(BORDER_KEYPOINTS)
    refined = refiner.refine(features(keypoints), features(keypoints, seed=1), all_of(len(keypoints)))
    for places in (refined.refined0, refined.refined1):
        assert np.all(np.isfinite(places))
        # The response is 5x5 and its expectation is scaled by 2.5.
        assert np.all(np.abs(places - refined.detected0) <= 5.0)


def test_many_matches_are_refined_as_few_are() -> None:
    network = random_network()
    count = 2600
    views = [features(inner_keypoints(count, seed), seed) for seed in (0, 1)]

    def refine(kept: slice) -> tuple[torch.Tensor, torch.Tensor]:
        keypoints, descriptors = (
            [getattr(view, name)[kept] for view in views] for name in ("keypoints", "descriptors")
        )
        maps = (views[0].image[None], views[1].image[None])
        with torch.inference_mode():
            return refine_pairs(network, (keypoints[0], keypoints[1]), maps, (descriptors[0], descriptors[1]))

    together = refine(slice(None))
    for start in (0, 2000, 2500):
        part = slice(start, start + 100)
        for whole, alone in zip(together, refine(part), strict=True):
            assert torch.allclose(whole[part], alone, atol=1e-5)


def test_refiner_follows_the_indices_of_the_matches(tmp_path: Path, sift: Detector) -> None:
    refiner = create_refiner("keypt2subpx", RefinementConfig(checkpoint(tmp_path, random_network())), sift, CPU)
    view0, view1 = features(inner_keypoints(10, 0), 0), features(inner_keypoints(12, 1), 1)
    some = Matches(torch.tensor([7, 2, 9]), torch.tensor([11, 0, 2]), torch.tensor([0.3, 0.2, 0.1]))
    together = refiner.refine(view0, view1, some)
    assert np.array_equal(together.detected0, view0.keypoints[[7, 2, 9]].double().numpy())
    assert np.array_equal(together.detected1, view1.keypoints[[11, 0, 2]].double().numpy())
    assert np.allclose(together.scores, [0.3, 0.2, 0.1])
    for position in range(3):
        one = some[position : position + 1]
        alone = refiner.refine(view0, view1, one)
        assert np.allclose(alone.refined0[0], together.refined0[position], atol=1e-5)
        assert np.allclose(alone.refined1[0], together.refined1[position], atol=1e-5)


@pytest.mark.parametrize("name", ["none", "keypt2subpx"])
def test_no_matches_are_refined_to_none(name: str, tmp_path: Path, sift: Detector) -> None:
    refiner = create_refiner(name, RefinementConfig(checkpoint(tmp_path, random_network())), sift, CPU)
    refined = refiner.refine(features(inner_keypoints(5)), features(inner_keypoints(0)), all_of(0))
    assert len(refined) == 0
    for places in (refined.detected0, refined.detected1, refined.refined0, refined.refined1):
        assert places.shape == (0, 2) and places.dtype == np.float64
    assert refined.scores.shape == (0,)


def test_no_refiner_leaves_keypoints_as_detected(sift: Detector) -> None:
    refiner = create_refiner("none", RefinementConfig(), sift, CPU)
    view0, view1 = features(inner_keypoints(8, 0), 0), features(inner_keypoints(8, 1), 1)
    refined = refiner.refine(view0, view1, all_of(8))
    assert refiner.name == "none"
    assert np.array_equal(refined.refined0, view0.keypoints.double().numpy())
    assert np.array_equal(refined.refined1, view1.keypoints.double().numpy())
    assert np.array_equal(refined.detected0, refined.refined0) and np.array_equal(refined.detected1, refined.refined1)


def test_auto_takes_the_given_checkpoint(tmp_path: Path, sift: Detector) -> None:
    given = RefinementConfig(checkpoint(tmp_path, random_network()))
    assert isinstance(create_refiner("auto", given, sift, CPU), Keypt2SubpxRefiner)


def test_weights_are_also_known_by_name(sift: Detector) -> None:
    assert isinstance(create_refiner("auto", RefinementConfig("subpx"), sift, CPU), SubpxRefiner)
    with pytest.raises(ConfigError, match="keypt2subpx-xfeat-shipped does not fit the detector sift"):
        create_refiner("auto", RefinementConfig("keypt2subpx-xfeat-shipped"), sift, CPU)


class XFeatLike(Detector):
    """Has all that a refiner asks of XFeat, without its weights."""

    def _detect(self, images: torch.Tensor) -> list[Features]:
        raise NotImplementedError


def test_without_the_published_weights_the_shipped_ones_are_offered_and_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = dataclasses.replace(CHECKPOINTS["keypt2subpx-xfeat"], source="http://127.0.0.1:9/absent")
    monkeypatch.setitem(CHECKPOINTS, "keypt2subpx-xfeat", published)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SUBPX_WEIGHTS", raising=False)
    detector = XFeatLike(FeatureConfig(), CPU, lambda line: None)
    with pytest.raises(WeightsError, match=r"refinement\.weights: keypt2subpx-xfeat-shipped needs no download"):
        create_refiner("keypt2subpx", RefinementConfig(), detector, CPU)
    offered = RefinementConfig("keypt2subpx-xfeat-shipped")
    assert isinstance(create_refiner("keypt2subpx", offered, detector, CPU), Keypt2SubpxRefiner)


def test_a_detector_without_published_refiner_is_told_so(sift: Detector) -> None:
    with pytest.raises(ConfigError, match=r"no published Keypt2Subpx checkpoint fits the detector sift.*none.*xfeat"):
        create_refiner("keypt2subpx", RefinementConfig(), sift, CPU)


def test_a_checkpoint_of_other_descriptors_is_refused(tmp_path: Path, sift: Detector) -> None:
    given = RefinementConfig(checkpoint(tmp_path, random_network(64)))
    with pytest.raises(WeightsError, match=r"descriptors of 64 values, but sift makes 128.*trained for sift"):
        create_refiner("keypt2subpx", given, sift, CPU)


def test_a_checkpoint_that_needs_a_score_map_is_refused_without_one(tmp_path: Path, sift: Detector) -> None:
    given = RefinementConfig(checkpoint(tmp_path, random_network(use_score_map=True)))
    with pytest.raises(WeightsError, match="takes the detector's score map, and sift has none"):
        create_refiner("keypt2subpx", given, sift, CPU)


def test_tensors_of_something_else_are_no_refiner() -> None:
    with pytest.raises(WeightsError, match=r"thing\.pth is no Keypt2Subpx checkpoint"):
        network_for({"weight": torch.zeros(3)}, "thing.pth")


@pytest.mark.parametrize("change", ["missing", "left over", "shape"])
def test_a_checkpoint_that_nearly_fits_is_refused_by_name(change: str) -> None:
    tensors = dict(random_network().state_dict())
    if change == "missing":
        del tensors["conv2a.bias"]
    elif change == "left over":
        tensors["conv9.bias"] = torch.zeros(1)
    else:
        tensors["conv2a.bias"] = torch.zeros(7)
    with pytest.raises(WeightsError, match=r"thing\.pth do not fit Keypt2SubpxNetwork.*conv[29]"):
        network_for(tensors, "thing.pth")


def test_an_absent_checkpoint_is_named(tmp_path: Path, sift: Detector) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*absent\.pth"):
        create_refiner("keypt2subpx", RefinementConfig(str(tmp_path / "absent.pth")), sift, CPU)
