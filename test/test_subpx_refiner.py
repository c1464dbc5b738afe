"""Our own refiner: exact shifts found again, borders, batches, flips, its covariance, and what is shipped."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from subpx_ros import weights
from subpx_ros.config import FeatureConfig, RefinementConfig
from subpx_ros.datatypes import Array, Features, Matches, Predicted, RefinedMatches
from subpx_ros.errors import WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector
from subpx_ros.refinement import create_refiner
from subpx_ros.refinement.following import follow_points
from subpx_ros.refinement.keypt2subpx import Keypt2SubpxNetwork
from subpx_ros.refinement.patches import FirstPoints, PatchSource, sample_patches
from subpx_ros.refinement.refiner import Refiner
from subpx_ros.refinement.subpx import SubpxRefiner, refine_second
from subpx_ros.refinement.subpx_network import PATCH_SIZE, SubpxNetwork
from subpx_ros.surfaces import magnified

CPU = torch.device("cpu")
Image = NDArray[np.float32]
HEIGHT, WIDTH = 240, 320


@pytest.fixture(scope="module")
def sift() -> Detector:
    return create_detector(FeatureConfig(detector="sift", detection_threshold=0.04), CPU)


@pytest.fixture(scope="module")
def refiner() -> SubpxRefiner:
    return SubpxRefiner(RefinementConfig(), CPU, lambda line: None)


def smooth_noise(seed: int = 0) -> Image:
    """(H, W) float32 in [0, 1] without structure finer than a few pixels, so that it can be shifted exactly enough."""
    noise = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.8)
    return np.clip(0.5 + 0.15 * blurred / blurred.std(), 0.0, 1.0).astype(np.float32)


def shifted(image: Image, x: float, y: float) -> Image:
    """The image moved by (x, y) pixels through its Fourier transform, around its ends."""
    phase = np.fft.fftfreq(WIDTH)[None] * x + np.fft.fftfreq(HEIGHT)[:, None] * y
    return np.real(np.fft.ifft2(np.fft.fft2(image) * np.exp(-2j * np.pi * phase))).astype(np.float32)


def features(image: Image, keypoints: torch.Tensor) -> Features:
    return Features(keypoints, torch.ones(len(keypoints)), torch.zeros(len(keypoints), 128), torch.from_numpy(image))


def grid_keypoints(margin: float = 20.0) -> torch.Tensor:
    x, y = torch.meshgrid(
        torch.arange(margin, WIDTH - margin, 13.0), torch.arange(margin, HEIGHT - margin, 13.0), indexing="xy"
    )
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def refine(
    refiner: Refiner, image0: Image, keypoints0: torch.Tensor, image1: Image, keypoints1: torch.Tensor
) -> RefinedMatches:
    indices = torch.arange(len(keypoints0))
    return refiner.refine(
        features(image0, keypoints0), features(image1, keypoints1), Matches(indices, indices, torch.ones(len(indices)))
    )


def naive_bilinear(image: Image, x: float, y: float) -> float:
    height, width = image.shape
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(np.floor(x)), int(np.floor(y))
    right, below = min(left + 1, width - 1), min(top + 1, height - 1)
    upper = (1 - (x - left)) * image[top, left] + (x - left) * image[top, right]
    lower = (1 - (x - left)) * image[below, left] + (x - left) * image[below, right]
    return float((1 - (y - top)) * upper + (y - top) * lower)


def test_patches_are_sampled_at_the_true_position_and_continue_the_border() -> None:
    image = torch.rand(30, 41, generator=torch.Generator().manual_seed(0))
    keypoints = torch.tensor([[20.0, 15.0], [20.3, 14.75], [0.0, 0.0], [40.0, 29.0], [-2.5, 3.2], [39.6, 31.0]])
    patches = sample_patches(image, keypoints, 7)
    assert patches.shape == (6, 7, 7)
    for patch, (x, y) in zip(patches.numpy(), keypoints.tolist(), strict=True):
        for row in range(7):
            for column in range(7):
                expected = naive_bilinear(image.numpy(), x + column - 3, y + row - 3)
                assert patch[row, column] == pytest.approx(expected, abs=1e-4)


def test_the_cubic_through_four_pixels_gives_cubics_back_and_continues_the_border() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")

    def grey(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 1e-3 * (0.02 * x**3 - x**2 + 0.03 * y**3 + x * y)

    source = PatchSource(grey(x, y), 7)
    keypoints = torch.tensor([[20.0, 15.0], [20.3, 14.75], [30.9, 25.51]])
    steps = torch.arange(-3.0, 4.0)
    columns, rows = keypoints[:, 0, None, None] + steps, keypoints[:, 1, None, None] + steps[:, None]
    assert torch.allclose(source.sample_cubic(keypoints, 7), grey(columns, rows), atol=1e-4)
    outside = torch.tensor([[-100.0, -100.0], [500.0, 20.0], [-3.0, 39.9]])
    beyond = source.sample_cubic(outside, 7)
    assert torch.allclose(beyond[0], grey(x, y)[0, 0].expand(7, 7)) and torch.isfinite(beyond).all()
    assert torch.allclose(beyond[1], grey(x, y)[17:24, -1:].expand(7, 7), atol=1e-5)


@pytest.mark.parametrize("shift", [0.15, 0.3, 0.7])
def test_followed_points_are_hardly_pulled_between_two_pixels(shift: float) -> None:
    """Bilinear patches pull them by 0.01 px on this texture."""
    first = grid_keypoints()
    places = first + torch.tensor([shift, 0.0])
    image, later = (torch.from_numpy(each) for each in (smooth_noise(), shifted(smooth_noise(), shift, 0.0)))
    with torch.inference_mode():
        warps = torch.from_numpy(magnified(np.ones(len(first)))).float()
        points = FirstPoints([image], torch.zeros(len(first), dtype=torch.long), first, warps)
        found, _ = follow_points(points, later, places)
    assert abs(float((found - places)[:, 0].median())) < 0.005


def test_patches_of_an_image_of_one_pixel() -> None:
    assert torch.equal(sample_patches(torch.full((1, 1), 0.25), torch.zeros(1, 2), 3), torch.full((1, 3, 3), 0.25))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, -0.25), (-1.3, 0.8), (1.7, 1.6)], ids=str)
def test_a_known_shift_is_found(refiner: SubpxRefiner, shift: tuple[float, float]) -> None:
    image0 = smooth_noise()
    keypoints = grid_keypoints()
    refined = refine(refiner, image0, keypoints, shifted(image0, *shift), keypoints)
    errors = np.linalg.norm(refined.refined1 - refined.detected1 - shift, axis=1)
    assert np.median(errors) < 0.1
    assert np.array_equal(refined.refined0, refined.detected0), "only the second keypoint moves"


def test_exposure_does_not_matter(refiner: SubpxRefiner) -> None:
    image0 = smooth_noise()
    keypoints = grid_keypoints()
    image1 = shifted(image0, 0.6, -0.4)
    plain = refine(refiner, image0, keypoints, image1, keypoints)
    darker = refine(refiner, image0, keypoints, 0.5 * image1 + 0.1, keypoints)
    assert np.median(np.linalg.norm(plain.refined1 - darker.refined1, axis=1)) < 0.05


def test_flipped_images_give_flipped_results(refiner: SubpxRefiner) -> None:
    image0, keypoints = smooth_noise(3), grid_keypoints()
    image1 = shifted(image0, 0.7, -0.9)
    plain = refine(refiner, image0, keypoints, image1, keypoints)
    last = torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])
    for axis, flip in ((0, np.fliplr), (1, np.flipud)):
        mirrored = keypoints.clone()
        mirrored[:, axis] = last[axis] - mirrored[:, axis]
        flipped = refine(
            refiner, np.ascontiguousarray(flip(image0)), mirrored, np.ascontiguousarray(flip(image1)), mirrored
        )
        back = flipped.refined1.copy()
        back[:, axis] = float(last[axis]) - back[:, axis]
        # A bias towards one side would show up as a mean of twice its size.
        assert np.all(np.abs(np.mean(back - plain.refined1, axis=0)) < 0.1)


def test_covariance_is_symmetric_positive_and_tells_an_edge_from_texture(refiner: SubpxRefiner) -> None:
    edge = np.full((HEIGHT, WIDTH), 0.2, dtype=np.float32)
    edge[:, WIDTH // 2 :] = 0.8
    noise = 0.004 * np.random.default_rng(0).standard_normal(edge.shape)
    edge = (cv2.GaussianBlur(edge, (0, 0), 1.2) + noise).astype(np.float32)
    on_edge = torch.tensor([[WIDTH // 2 - 0.5, y] for y in (60.0, 90.0, 120.0, 150.0)])
    covariance = refine(refiner, edge, on_edge, edge, on_edge).covariance1
    assert covariance is not None and covariance.shape == (4, 2, 2) and covariance.dtype == np.float64
    assert np.allclose(covariance, covariance.transpose(0, 2, 1)) and np.all(np.linalg.eigvalsh(covariance) > 0)
    assert np.all(covariance[:, 1, 1] > 4 * covariance[:, 0, 0]), "along an edge nothing can be located"
    texture = smooth_noise()
    keypoints = grid_keypoints()
    certain = refine(refiner, texture, keypoints, texture, keypoints).covariance1
    assert certain is not None and np.median(certain[:, 1, 1]) < 0.25 * np.median(covariance[:, 1, 1])


def test_an_even_surface_moves_nothing_far_and_is_called_uncertain(refiner: SubpxRefiner) -> None:
    even = np.full((HEIGHT, WIDTH), 0.5, dtype=np.float32)
    keypoints = grid_keypoints()
    refined = refine(refiner, even, keypoints, even, keypoints)
    assert refined.covariance1 is not None
    assert np.abs(refined.refined1 - refined.detected1).max() < 1.0
    assert np.sqrt(refined.covariance1[:, 0, 0]).min() > 0.2


def test_keypoints_near_the_border_are_refined_and_those_outside_stay(refiner: SubpxRefiner) -> None:
    image = smooth_noise()
    border = torch.tensor([[0.0, 0.0], [WIDTH - 1.0, HEIGHT - 1.0], [2.4, 120.0], [160.0, 0.3]])
    outside = torch.tensor([[-0.5, 20.0], [WIDTH - 0.5, 20.0], [30.0, -1e6], [500.0, 900.0]])
    keypoints = torch.cat([border, outside])
    for first, second in ((keypoints, keypoints), (grid_keypoints()[:8], keypoints), (keypoints, grid_keypoints()[:8])):
        refined = refine(refiner, image, first, image, second)
        assert refined.covariance1 is not None
        assert np.all(np.isfinite(refined.refined1)) and np.all(np.isfinite(refined.covariance1))
        assert np.array_equal(refined.refined1[4:], refined.detected1[4:])
        assert np.allclose(refined.covariance1[4:], 9.0 * np.eye(2))
        assert np.abs(refined.refined1 - refined.detected1).max() < 8.0


def test_an_image_smaller_than_a_patch(refiner: SubpxRefiner) -> None:
    image = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    keypoints = torch.tensor([[1.0, 2.0]])
    assert np.all(np.isfinite(refine(refiner, image, keypoints, image, keypoints).refined1))


def test_many_matches_are_refined_as_few_are_and_always_the_same(refiner: SubpxRefiner) -> None:
    image0, image1 = smooth_noise(), shifted(smooth_noise(), 0.4, 0.3)
    generator = torch.Generator().manual_seed(0)
    keypoints = torch.rand(700, 2, generator=generator) * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])
    together = refine(refiner, image0, keypoints, image1, keypoints)
    again = refine(refiner, image0, keypoints, image1, keypoints)
    assert np.array_equal(together.refined1, again.refined1)
    assert together.covariance1 is not None
    for part in (slice(0, 3), slice(250, 262), slice(690, 700)):
        alone = refine(refiner, image0, keypoints[part], image1, keypoints[part])
        assert alone.covariance1 is not None
        assert np.allclose(alone.refined1, together.refined1[part], atol=1e-4)
        assert np.allclose(alone.covariance1, together.covariance1[part], rtol=1e-3)


def test_indices_of_the_matches_are_followed(refiner: SubpxRefiner) -> None:
    image = smooth_noise()
    keypoints = grid_keypoints()
    matches = Matches(torch.tensor([7, 2]), torch.tensor([11, 0]), torch.tensor([0.3, 0.2]))
    refined = refiner.refine(features(image, keypoints), features(image, keypoints), matches)
    assert np.array_equal(refined.detected0, keypoints[[7, 2]].double().numpy())
    assert np.array_equal(refined.detected1, keypoints[[11, 0]].double().numpy())
    assert np.allclose(refined.scores, [0.3, 0.2])


def test_matches_with_several_first_views_are_refined_as_with_each_alone(refiner: SubpxRefiner) -> None:
    """In any order, also where some view has none; with warps, which take another way through the refiner, and without."""
    firsts = [features(smooth_noise(seed), grid_keypoints()) for seed in (0, 1, 2)]
    second = features(0.5 * (smooth_noise(0) + smooth_noise(2)), grid_keypoints() + 0.4)
    number = np.array([2, 0, 2, 2, 0] * 30)
    rng = np.random.default_rng(3)
    indices0, indices1 = (torch.from_numpy(rng.permutation(len(second))[: len(number)]) for _ in range(2))
    scores = torch.linspace(0.0, 1.0, len(number))
    warped = torch.from_numpy(magnified(np.linspace(0.9, 1.4, len(number)))).float()
    warped[:, 0, 1], warped[:, 2, 0] = 0.1, 0.003
    for predicted in (None, Predicted(warped)):
        together = refiner.refine_tracked(firsts, number, second, Matches(indices0, indices1, scores, predicted))
        assert together.covariance1 is not None
        for view in (0, 2):
            own = torch.from_numpy(np.flatnonzero(number == view))
            chosen = None if predicted is None else predicted[own]
            matches = Matches(indices0[own], indices1[own], scores[own], chosen)
            alone = refiner.refine(firsts[view], second, matches)
            assert alone.covariance1 is not None
            for name in ("detected0", "detected1", "refined0", "refined1", "scores", "covariance1"):
                assert np.allclose(getattr(together, name)[own], getattr(alone, name), atol=1e-4), name


def test_where_the_place_is_predicted_least_squares_find_it(refiner: SubpxRefiner) -> None:
    """To a fiftieth of a pixel, wherever the detector found the second keypoint. Where nothing is predicted, the network
    does as it does without. What is not where it is predicted stays as detected, and is called vague."""
    image, first = smooth_noise(), grid_keypoints()
    shift = torch.tensor([0.37, -0.21])
    second = shifted(image, *shift.tolist())
    detected = first + shift + 0.8 * torch.from_numpy(np.random.default_rng(4).normal(size=first.shape)).float()
    warps = torch.from_numpy(magnified(np.ones(len(first)))).float()
    places = first + shift + torch.tensor([0.4, 0.3])
    places[::5], places[1::5] = torch.nan, places[1::5] + torch.tensor([9.0, 0.0])
    views = features(image, first), features(second, detected)
    every = torch.arange(len(first))

    def refined(predicted: Predicted) -> RefinedMatches:
        return refiner.refine(*views, Matches(every, every, torch.ones(len(first)), predicted))

    told, network = refined(Predicted(warps, places)), refined(Predicted(warps))
    errors = np.linalg.norm(told.refined1 - (first + shift).numpy(), axis=1)
    untold, elsewhere = (every % 5 == 0).numpy(), (every % 5 == 1).numpy()
    found = ~untold & ~elsewhere
    assert np.median(errors[found]) < 0.02 and errors[found].max() < 0.1
    assert np.array_equal(told.refined1[elsewhere], told.detected1[elsewhere])
    assert told.covariance1 is not None and np.all(told.covariance1[elsewhere] == 9.0 * np.eye(2))
    assert np.allclose(told.refined1[untold], network.refined1[untold], atol=1e-4)
    assert network.covariance1 is not None
    assert np.allclose(told.covariance1[untold], network.covariance1[untold], atol=1e-5)


def test_in_views_of_one_drive_least_squares_find_what_moved_grew_and_turned(refiner: SubpxRefiner) -> None:
    """More exactly than the network, which has what they do not find: here, what is not there."""
    image, first = smooth_noise(), grid_keypoints(40.0)
    change = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 2.0, 1.05)
    true = torch.from_numpy(cv2.transform(first.numpy()[:, None], change)[:, 0])
    warped = cv2.warpAffine(image, change, (WIDTH, HEIGHT), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT)
    second: Image = np.asarray(warped, dtype=np.float32)
    second[: HEIGHT // 3] = smooth_noise(1)[: HEIGHT // 3]
    detected = true + 0.8 * torch.from_numpy(np.random.default_rng(4).normal(size=first.shape)).float()
    views, every = (features(image, first), features(second, detected)), torch.arange(len(first))
    still = Predicted(torch.from_numpy(magnified(np.ones(len(first)))).float())

    def refined(predicted: Predicted | None) -> tuple[RefinedMatches, Array]:
        matches = refiner.refine(*views, Matches(every, every, torch.ones(len(first)), predicted))
        return matches, np.linalg.norm(matches.refined1 - true.numpy(), axis=1)

    (alike, errors), (network, network_errors) = refined(still), refined(None)
    gone = (true[:, 1] < HEIGHT / 3 - 12).numpy()
    there = (true[:, 1] > HEIGHT / 3 + 12).numpy()
    assert np.median(errors[there]) < 0.025 and np.median(errors[there]) < 0.7 * np.median(network_errors[there])
    same = np.all(np.isclose(alike.refined1, network.refined1, atol=1e-3), axis=1)
    assert same[gone].mean() > 0.8 and same[there].mean() < 0.1
    assert alike.covariance1 is not None and network.covariance1 is not None
    assert np.allclose(alike.covariance1[same & gone], network.covariance1[same & gone], rtol=1e-2)
    assert np.all(np.linalg.eigvalsh(alike.covariance1) > 0.0)


def test_no_matches(refiner: SubpxRefiner) -> None:
    refined = refine(refiner, smooth_noise(), torch.zeros(0, 2), smooth_noise(), torch.zeros(0, 2))
    assert len(refined) == 0 and refined.refined1.shape == (0, 2)
    view, none = features(smooth_noise(), grid_keypoints()), torch.zeros(0, dtype=torch.long)
    refined = refiner.refine_tracked([view], np.zeros(0, dtype=np.intp), view, Matches(none, none, torch.zeros(0)))
    assert len(refined) == 0 and refined.refined1.shape == (0, 2)


def test_the_covariance_inverts_the_whitening() -> None:
    network = SubpxNetwork()
    network.covariance_scale.fill_(1.0)
    whitening = torch.tensor([[0.5, -2.0, 1.5], [-9.0, 0.0, 9.0]])
    covariance = network.covariances(whitening).double().numpy()
    U = np.array([[np.exp(0.5), -2.0], [0.0, np.exp(1.5)]])
    assert np.allclose(U @ covariance[0] @ U.T, np.eye(2), atol=1e-5)
    bounds: Array = np.diag([np.exp(6.0), np.exp(-10.0)])
    assert np.allclose(covariance[1], bounds, rtol=1e-4)


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    network = SubpxNetwork()
    patches = torch.rand(4, PATCH_SIZE, PATCH_SIZE)
    estimates = network(patches, lambda shift, size: patches[:, :size, :size].flip(0))
    assert len(estimates) == 3 and estimates[-1].shift.shape == (4, 2) and estimates[-1].whitening.shape == (4, 3)
    sum(estimate.shift.sum() + estimate.whitening.sum() for estimate in estimates).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_shipped_weights_are_found_without_any_folder_or_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sift: Detector
) -> None:
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = weights.find("subpx")
    assert path is not None and path.stat().st_size < 2_000_000
    for name in ("auto", "subpx"):
        assert isinstance(create_refiner(name, RefinementConfig(), sift, CPU), SubpxRefiner)


def test_a_given_checkpoint_is_taken_and_another_kind_is_refused(tmp_path: Path, sift: Detector) -> None:
    own, published = tmp_path / "own.safetensors", tmp_path / "published.safetensors"
    torch.manual_seed(1)
    network = SubpxNetwork()
    save_file(network.state_dict(), own)
    save_file(Keypt2SubpxNetwork(128, False).state_dict(), published)
    image, keypoints = smooth_noise(), grid_keypoints()[:5]
    with torch.inference_mode():
        expected, _ = refine_second(
            network, (keypoints, keypoints), (torch.from_numpy(image), torch.from_numpy(shifted(image, 1.0, 0.0)))
        )
    for name in ("auto", "subpx"):
        given = create_refiner(name, RefinementConfig(str(own)), sift, CPU)
        refined = refine(given, image, keypoints, shifted(image, 1.0, 0.0), keypoints)
        assert np.allclose(refined.refined1, expected.numpy(), atol=1e-6)
    assert create_refiner("auto", RefinementConfig(str(published)), sift, CPU).name == "keypt2subpx"
    with pytest.raises(WeightsError, match=r"published\.safetensors do not fit SubpxNetwork"):
        create_refiner("subpx", RefinementConfig(str(published)), sift, CPU)
