"""The stages of fixed size find what those of any size find; on a GPU nothing waits between upload and pose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from superpoint_reference import IMAGE

from subpx_ros.config import load_config
from subpx_ros.pipeline import FrontEnd
from subpx_ros.static.capture import Captured
from subpx_ros.static.stages import StaticFeatures, StaticStereoStep, StaticXFeat
from subpx_ros.upload import Uploader

BUDGET = 256
SHIFT_PX = 8
VIEWS = (np.ascontiguousarray(IMAGE[:, :-SHIFT_PX]), np.ascontiguousarray(IMAGE[:, SHIFT_PX:]))
"""Left and right of a plane at a disparity of 8 px."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch sees")


def front_end(device: str = "cpu", budget: int = BUDGET) -> FrontEnd:
    return FrontEnd(load_config({"preset": "xfeat", "device": device, "features": {"max_keypoints": budget}}))


def step_of(front: FrontEnd, budget: int = BUDGET) -> StaticStereoStep:
    detector = StaticXFeat(front.detector, budget, front.detector._config.detection_threshold)  # type: ignore[arg-type]
    return StaticStereoStep(detector, front.refiner._network, front.matcher._config)  # type: ignore[attr-defined]


def described(step: StaticStereoStep, images: torch.Tensor) -> tuple[StaticFeatures, torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        *features, disparity, variance = step.describe(images, torch.tensor(1.0, device=images.device))
    return StaticFeatures(*features), disparity[0], variance[0]


@pytest.mark.parametrize("budget", [64, BUDGET, 4096])
def test_fixed_features_are_the_detector_s(budget: int) -> None:
    front = front_end(budget=budget)
    (expected,) = front.detect(VIEWS[:1])
    with torch.inference_mode():
        found = StaticFeatures(
            *StaticXFeat(front.detector, budget, 0.05)(torch.from_numpy(VIEWS[0])[None])  # type: ignore[arg-type]
        )
    count = int(found.valid.sum())
    assert found.keypoints.shape == (1, budget, 2) and count == len(expected)
    assert found.valid[0].tolist() == [True] * count + [False] * (budget - count)
    order, order_expected = (np.lexsort(each.numpy().T) for each in (found.keypoints[0, :count], expected.keypoints))
    assert torch.equal(found.keypoints[0, order], expected.keypoints[order_expected])
    assert torch.allclose(found.scores[0, order], expected.scores[order_expected], atol=1e-5)
    assert torch.allclose(found.descriptors[0, order], expected.descriptors[order_expected], atol=1e-4)


def test_an_even_image_has_no_features() -> None:
    front = front_end()
    even = torch.full((2, 64, 96), 128, dtype=torch.uint8)
    features, disparity, _ = described(step_of(front), even)
    assert not features.valid.any() and disparity.isnan().all()
    assert all(value.isfinite().all() for value in features)


def test_fixed_disparities_and_matches_are_those_of_the_stages_of_any_size() -> None:
    front = front_end()
    left, right = front.detect(VIEWS)
    found = front.match_along_rows(left, right, 0.0)
    refined = front.refine(left, right, found)
    expected = {
        tuple(point): before[0] - after[0]
        for point, before, after in zip(
            left.keypoints[found.indices0].tolist(), refined.refined0, refined.refined1, strict=True
        )
        if abs(before[1] - after[1]) <= 2.0
    }
    step = step_of(front)
    features, disparity, variance = described(step, torch.from_numpy(np.stack(VIEWS)))
    kept = ~disparity.isnan()
    measured = dict(zip(map(tuple, features.keypoints[0, kept].tolist()), disparity[kept].tolist(), strict=True))
    assert len(expected) > 60 and measured.keys() == expected.keys()
    assert max(abs(measured[point] - expected[point]) for point in expected) < 1e-3
    assert np.median(list(measured.values())) == pytest.approx(SHIFT_PX, abs=0.05) and (variance > 0).all()

    matched = front.match(left, right)
    moved = front.refine(left, right, matched)
    now, _, _ = described(step, torch.from_numpy(np.stack(VIEWS[::-1])))
    images = torch.from_numpy(VIEWS[0])[None], torch.from_numpy(VIEWS[1])[None]
    with torch.inference_mode():
        partner, _, valid, points, covariance = step.relate(features, now, *images)
    rows = valid[0].nonzero()[:, 0]
    static = {
        (*features.keypoints[0, row].tolist(), *now.keypoints[0, partner[0, row]].tolist()): points[0, row].tolist()
        for row in rows
    }
    dynamic = {
        (*before, *after): place
        for before, after, place in zip(
            moved.detected0.tolist(), moved.detected1.tolist(), moved.refined1.tolist(), strict=True
        )
    }
    assert len(dynamic) > 60 and static.keys() == dynamic.keys()
    assert max(np.abs(np.subtract(static[pair], dynamic[pair])).max() for pair in dynamic) < 1e-3
    assert (torch.linalg.eigvalsh(covariance[valid]) > 0).all()


def test_on_a_cpu_a_captured_function_is_the_function() -> None:
    calls = []

    def double(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(values.shape)
        return (2.0 * values,)

    captured = Captured(double)
    for size in (3, 5):
        assert captured(torch.ones(size))[0].tolist() == [2.0] * size
    assert [tuple(shape) for shape in calls] == [(3,), (5,)]


def test_on_a_cpu_uploading_ahead_does_nothing_and_the_batch_is_the_images() -> None:
    uploader = Uploader(torch.device("cpu"))
    uploader.begin(VIEWS)
    assert torch.equal(uploader.batch(VIEWS), torch.from_numpy(np.stack(VIEWS)))


def test_reduced_precision_of_the_network_keeps_keypoints() -> None:
    """What a GPU's bfloat16 does to XFeat, tried on the CPU: most keypoints stay on their pixels."""
    front = front_end()
    detector = StaticXFeat(front.detector, BUDGET, 0.05)  # type: ignore[arg-type]
    images = torch.from_numpy(VIEWS[0])[None]
    with torch.inference_mode():
        exact = StaticFeatures(*detector(images))
        with torch.autocast("cpu", torch.bfloat16):
            reduced = StaticFeatures(*detector(images))
    places = [{tuple(point) for point in each.keypoints[each.valid].tolist()} for each in (exact, reduced)]
    shared = len(places[0] & places[1]) / len(places[0])
    assert shared > 0.75


@needs_cuda
def test_on_a_gpu_the_recorded_step_gives_what_the_step_gives() -> None:
    step = step_of(front_end("cuda"))
    captured = Captured(step.describe)
    least = torch.tensor(1.0, device="cuda")
    for views in (VIEWS, VIEWS[::-1], VIEWS):
        images = torch.from_numpy(np.stack(views)).cuda()
        with torch.inference_mode():
            expected = step.describe(images, least)
        for value, wanted in zip(captured(images, least), expected, strict=True):
            torch.testing.assert_close(value, wanted, equal_nan=True, atol=1e-3, rtol=1e-3)


@needs_cuda
def test_on_a_gpu_nothing_waits_between_upload_and_pose() -> None:
    step, uploader = step_of(front_end("cuda")), Uploader(torch.device("cuda"))
    describe, relate = Captured(step.describe), Captured(_flat(step))
    least = torch.tensor(1.0, device="cuda")

    def frame() -> tuple[torch.Tensor, ...]:
        images = uploader.batch(VIEWS)
        first = describe(images, least)
        return relate(*first[:4], *first[:4], images[:1], images[:1])

    frame()  # records
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        uploader.begin(VIEWS)
        found = frame()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    partner, _, valid = (each[0].cpu() for each in found[:3])
    assert valid.sum() > 60 and (partner[valid] == torch.arange(BUDGET)[valid]).all()


def _flat(step: StaticStereoStep) -> Callable[..., tuple[torch.Tensor, ...]]:
    def relate(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return step.relate(StaticFeatures(*values[:4]), StaticFeatures(*values[4:8]), values[8], values[9])

    return relate
