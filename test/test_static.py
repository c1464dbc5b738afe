"""The stages of fixed size find what those of any size find; nothing of what is recorded waits for a GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_street import RIG, small_street
from superpoint_reference import IMAGE
from torch.fx.experimental.proxy_tensor import make_fx
from waiting import DATALESS, WaitsForTheGpu, runs_without_waiting

from subpx_ros.config import Config, load_config
from subpx_ros.datatypes import Features, Matches, Predicted, Rig
from subpx_ros.matching import mutual_nn
from subpx_ros.odometry import VisualOdometry
from subpx_ros.parallel import one_thread_an_operation
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.least_squares import _by_elimination
from subpx_ros.static import capture, stages
from subpx_ros.static.capture import Captured, Tensors
from subpx_ros.upload import Uploader

BUDGET = 256
SHIFT_PX = 8
VIEWS = (np.ascontiguousarray(IMAGE[:, :-SHIFT_PX]), np.ascontiguousarray(IMAGE[:, SHIFT_PX:]))
"""Left and right of a plane at a disparity of 8 px."""
EVEN = np.full_like(VIEWS[0], 128)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch sees")


def settings(fixed_size: str, device: str = "cpu", **features: Any) -> Config:
    features = {"max_keypoints": BUDGET} | features
    return load_config({"preset": "xfeat", "device": device, "fixed_size": fixed_size, "features": features})


@cache
def loaded(fixed_size: str) -> FrontEnd:
    return FrontEnd(settings(fixed_size))


def both(**features: Any) -> tuple[FrontEnd, FrontEnd]:
    """Front ends with stages of any size and of fixed size."""
    pair = loaded("off"), loaded("on")
    for front, fixed_size in zip(pair, ("off", "on"), strict=True):
        front.reconfigure(settings(fixed_size, **features))
    return pair


def assert_same_features(found: Features, expected: Features) -> None:
    order, order_expected = (np.lexsort(each.keypoints.numpy().T) for each in (found, expected))
    assert torch.equal(found.keypoints[order], expected.keypoints[order_expected])
    assert torch.allclose(found.scores[order], expected.scores[order_expected], atol=1e-5)
    assert torch.allclose(found.descriptors[order], expected.descriptors[order_expected], atol=1e-4)
    assert torch.equal(found.image, expected.image)


def assert_same_matches(found: Matches, expected: Matches) -> None:
    assert torch.equal(found.indices0, expected.indices0) and torch.equal(found.indices1, expected.indices1)
    assert torch.allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("budget", [16, 64, BUDGET, 4096])
def test_fixed_features_are_the_detector_s(budget: int) -> None:
    off, on = both(max_keypoints=budget)
    for found, expected in zip(on.detect(VIEWS), off.detect(VIEWS), strict=True):
        assert len(found) == len(expected) == (budget if budget <= 64 else len(found))
        assert_same_features(found, expected)


def test_an_even_image_has_no_features_and_one_beside_it_has() -> None:
    off, on = both()
    for front in (off, on):
        shown, even = front.detect((VIEWS[0], EVEN))
        assert len(shown) > 100 and len(even) == 0
        assert len(front.match(shown, even)) == len(front.match(even, shown)) == 0
        assert len(front.refine(shown, even, front.match(shown, even))) == 0


@pytest.mark.parametrize("budget", [16, 64, 4096])
def test_fixed_matches_and_refined_places_are_those_of_any_size(budget: int) -> None:
    off, on = both(max_keypoints=budget)
    first, second = off.detect(VIEWS)
    expected, found = off.match(first, second), on.match(first, second)
    assert len(expected) > budget // 4 or len(expected) > 60
    assert_same_matches(found, expected)
    for count in (len(found), 3):
        refined, wanted = on.refine(first, second, found[:count]), off.refine(first, second, found[:count])
        assert len(refined) == count
        assert np.array_equal(refined.refined0, wanted.refined0)
        assert np.abs(refined.refined1 - wanted.refined1).max() < 1e-3
        assert refined.covariance1 is not None and wanted.covariance1 is not None
        assert np.allclose(refined.covariance1, wanted.covariance1, rtol=1e-2, atol=1e-4)


def test_no_match_is_similar_enough() -> None:
    for front in both():
        stricter = dataclasses.replace(settings("on").matching, min_similarity=1.0)
        front.matcher.reconfigure(stricter)
        first, second = front.detect((VIEWS[0], VIEWS[1]))
        assert len(front.match(first, second)) == 0


@pytest.mark.parametrize("known", ["motion expected", "places told", "some places told"])
def test_fixed_matches_of_several_frames_are_refined_as_those_of_any_size(known: str) -> None:
    off, on = both(max_keypoints=1024)
    first, second = off.detect(VIEWS)
    matches = off.match(first, second)
    number = np.arange(len(matches)) % 2
    warps = torch.eye(3, 2).expand(len(matches), -1, -1).clone()
    places = first.keypoints[matches.indices0] - torch.tensor([SHIFT_PX + 0.4, -0.3])
    if known == "some places told":
        places[::3] = torch.nan
    predicted = Predicted(warps, None if known == "motion expected" else places)
    asked = dataclasses.replace(matches, predicted=predicted)
    refined, wanted = (front.refine_tracked([first, first], number, second, asked) for front in (on, off))
    assert np.array_equal(refined.detected0, wanted.detected0)
    assert np.abs(refined.refined1 - wanted.refined1).max() < 1e-3
    moved = refined.refined1 - refined.detected0 + [SHIFT_PX, 0.0]
    assert len(moved) > 60 and np.median(np.abs(moved)) < 0.05


def test_a_ratio_test_is_made() -> None:
    limits = dataclasses.replace(settings("on").matching, max_ratio=0.8)
    found = []
    for front in both():
        first, second = front.detect(VIEWS)
        every = front.match(first, second)
        front.matcher.reconfigure(limits)
        found.append(front.match(first, second))
        assert 0 < len(found[-1]) < len(every)
    assert_same_matches(*found)


def test_other_limits_hold_from_the_next_frame_on() -> None:
    off, on = both()
    first, second = on.detect(VIEWS)
    for features in ({"max_keypoints": 40}, {"max_keypoints": 600, "detection_threshold": 0.2}):
        off, on = both(**features)
        for found, expected in zip(on.detect(VIEWS), off.detect(VIEWS), strict=True):
            assert_same_features(found, expected)
        # Features of before are still matched, and refined, however many they are.
        assert_same_matches(on.match(first, second), off.match(first, second))
        assert len(on.refine(first, second, on.match(first, second))) == len(off.match(first, second))


@pytest.mark.parametrize("rig", [RIG, Rig(RIG.left)], ids=["stereo", "mono"])
def test_poses_are_those_of_the_stages_of_any_size(rig: Rig) -> None:
    frames = list(small_street(6))
    if not rig.stereo:
        frames = [dataclasses.replace(frame, rig=rig, right_image=None) for frame in frames]
    results = []
    for fixed_size, front in zip(("off", "on"), both(max_keypoints=600), strict=True):
        odometry = VisualOdometry(settings(fixed_size, max_keypoints=600), rig, front_end=front)
        results.append([odometry.process(frame) for frame in frames])
    for result, expected in zip(*results, strict=True):
        assert result.state is expected.state and result.counts == expected.counts
        assert np.allclose(result.T_odom_camera, expected.T_odom_camera, atol=1e-4)
    assert results[0][-1].located


class Trace:
    """A recording without a GPU: the operations of one run, as they were, with the numbers of that run in them."""

    made = 0

    def __init__(self, function: Callable[..., Tensors], inputs: Tensors) -> None:
        type(self).made += 1
        with one_thread_an_operation():
            self._graph = make_fx(function)(*inputs)

    def replay(self, inputs: Tensors) -> Tensors:
        with torch.inference_mode():
            return tuple(self._graph(*inputs))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontEnd]:
    """A front end that records as it does on a GPU."""
    monkeypatch.setattr(capture, "recorder_for", lambda device: Trace)
    monkeypatch.setattr(mutual_nn, "_largest_of_rows", lambda similarity: similarity.max(dim=1))  # not by numpy
    monkeypatch.setattr(Trace, "made", 0)
    yield FrontEnd(settings("on"))


def test_what_was_recorded_gives_the_same_for_other_images_and_other_limits(traced: FrontEnd) -> None:
    for features in ({}, {"detection_threshold": 0.2}, {"max_keypoints": 40}, {}):
        off, _ = both(**features)
        traced.reconfigure(settings("on", **features))
        for views in (VIEWS, VIEWS, VIEWS[::-1], (EVEN, VIEWS[0])):
            found, expected = traced.detect(views), off.detect(views)
            for each, wanted in zip(found, expected, strict=True):
                assert_same_features(each, wanted)
            matches = traced.match(expected[0], expected[1])
            assert_same_matches(matches, off.match(expected[0], expected[1]))
            refined, wanted_places = (front.refine(expected[0], expected[1], matches) for front in (traced, off))
            assert np.allclose(refined.refined1, wanted_places.refined1, atol=1e-3)
    assert Trace.made > 3


def test_what_was_recorded_refines_other_matches_of_frames(traced: FrontEnd) -> None:
    off, _ = both()
    first, second = off.detect(VIEWS)
    matches = off.match(first, second)
    warps = torch.eye(3, 2).expand(len(matches), -1, -1)
    there = first.keypoints[matches.indices0] - torch.tensor([SHIFT_PX, 0.0])
    for count, told in ((70, True), (70, False), (60, True), (60, False), (50, True), (50, False)):
        places = there + 0.01 * count if told else None
        asked = dataclasses.replace(matches, predicted=Predicted(warps, places))[:count]
        refined, wanted = (
            front.refine_tracked([first], np.zeros(count, dtype=int), second, asked) for front in (traced, off)
        )
        assert np.allclose(refined.refined1, wanted.refined1, atol=1e-3)
    assert Trace.made == 2


def test_another_least_similarity_is_not_the_recorded_one(traced: FrontEnd) -> None:
    first, second = traced.detect(VIEWS)
    before = [len(traced.match(first, second)) for _ in range(3)]
    traced.matcher.reconfigure(dataclasses.replace(settings("on").matching, min_similarity=0.99))
    after = [len(traced.match(first, second)) for _ in range(3)]
    assert len(set(before)) == len(set(after)) == 1 and after[0] < before[0]


def doubled(values: torch.Tensor) -> Tensors:
    return (2.0 * values,)


def test_what_is_asked_for_once_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "recorder_for", lambda device: Trace)
    monkeypatch.setattr(Trace, "made", 0)
    captured = Captured("doubling", doubled, lambda line: None)
    made = []
    for size in (3, 5, 5, 7, 5, 9, 11, 5):
        assert captured(torch.ones(size))[0].tolist() == [2.0] * size
        made.append(Trace.made)
    assert made == [0, 0, 1, 1, 1, 1, 1, 1], "the last 5 is the first one again, as two are kept"


@pytest.mark.parametrize("error", [RuntimeError("no capture\nand more"), torch.OutOfMemoryError("full")])
def test_a_function_that_cannot_be_recorded_is_run(error: RuntimeError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: Callable[..., Tensors], inputs: Tensors) -> None:
        raise error

    monkeypatch.setattr(capture, "recorder_for", lambda device: refuse)
    lines: list[str] = []
    captured = Captured("doubling", doubled, lines.append)
    captured(torch.ones(3))
    if isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(torch.OutOfMemoryError):
            captured(torch.ones(3))
        return
    for size in (3, 3, 4, 4):
        assert captured(torch.ones(size))[0].tolist() == [2.0] * size
    assert lines == ["doubling is not recorded as a CUDA graph and runs step by step: no capture"]


def dataless(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=DATALESS)


def test_nothing_that_is_recorded_waits_for_a_gpu() -> None:
    front, image = FrontEnd(settings("on")), dataless(96, 128)
    detector, refiner = front.detector, front.refiner
    assert isinstance(detector, stages.FixedSizeXFeat) and isinstance(refiner, stages.FixedSizeSubpx)
    detector._network.to(DATALESS)
    network = refiner._network.to(DATALESS)
    rows, places = dataless(BUDGET, 64), dataless(BUDGET, 2)
    valid = dataless(BUDGET, dtype=torch.bool)
    shapes = [
        [tuple(each.shape) for each in runs_without_waiting(function, *inputs, **constants)]
        for function, inputs, constants in (
            (detector.found, (dataless(2, 96, 128),), {"budget": BUDGET, "threshold": 0.05}),
            (stages.nearest, (rows, valid, rows, valid), {"least": 0.8}),
            (stages.second_of_any_views, (network, places, places, image, image), {}),
            (stages.second_of_alike_views, (network, dataless(BUDGET, 21, 21), places, image), {}),
            (stages.followed, (dataless(BUDGET, 17, 17), places, image), {}),
        )
    ]
    assert shapes[0] == [(2, BUDGET, 2), (2, BUDGET), (2, BUDGET, 64), (2, BUDGET)]
    assert shapes[1] == [(BUDGET,)] * 3 and shapes[2:] == [[(BUDGET, 2), (BUDGET, 2, 2)]] * 3


@pytest.mark.parametrize(
    "function",
    [
        lambda values: (torch.tensor([1.0, 2.0], device=values.device),),
        lambda values: (values.new_tensor([1.0]),),
        lambda values: (values + torch.ones(4).to(values.device),),
        lambda values: (values.cpu(),),
        lambda values: (values * values.max().item(),),
        lambda values: (values,) if bool(values.sum() > 0) else (),
        lambda values: (values[values > 0],),
        lambda values: (values.masked_select(values > 0),),
        lambda values: (values.nonzero(),),
        lambda values: (values.unique(),),
        lambda values: (values[[0, 1]],),
        lambda values: (torch.linalg.inv(values[:, None] * values),),
    ],
)
def test_the_check_knows_what_waits(function: Callable[..., Tensors]) -> None:
    # Tensors without data have their own words for some of it.
    with pytest.raises((WaitsForTheGpu, RuntimeError, NotImplementedError)):
        runs_without_waiting(function, dataless(4))


@pytest.mark.parametrize("size", [2, 4, 6])
def test_matrices_are_inverted_by_elimination_as_by_lapack(size: int) -> None:
    roots = torch.randn(50, size, 2 * size, generator=torch.Generator().manual_seed(size))
    matrices = roots @ roots.mT + 0.1 * torch.eye(size)
    torch.testing.assert_close(_by_elimination(matrices), torch.linalg.inv(matrices), rtol=1e-4, atol=1e-5)


def test_on_a_cpu_uploading_ahead_does_nothing_and_the_batch_is_the_images() -> None:
    uploader = Uploader(torch.device("cpu"))
    uploader.begin(VIEWS)
    assert torch.equal(uploader.batch(VIEWS), torch.from_numpy(np.stack(VIEWS)))


def test_fixed_sizes_are_for_a_gpu_unless_they_are_asked_for() -> None:
    automatic = FrontEnd(settings("auto"))
    assert not isinstance(automatic.detector, stages.FixedSizeXFeat)
    fixed = (stages.FixedSizeXFeat, stages.FixedSizeMutualNearest, stages.FixedSizeSubpx)
    on = loaded("on")
    assert tuple(map(type, (on.detector, on.matcher, on.refiner))) == fixed
    others = FrontEnd(load_config({"preset": "sift", "device": "cpu", "fixed_size": "on", "refiner": "none"}))
    assert not isinstance(others.detector, fixed) and not isinstance(others.refiner, fixed)
    assert isinstance(others.matcher, fixed)


def on_a_gpu(images: tuple[NDArray[np.uint8], ...] = VIEWS) -> tuple[FrontEnd, list[str]]:
    """A front end whose stages are recorded, and what it said about that."""
    said: list[str] = []
    front = FrontEnd(settings("auto", "cuda"), said.append)
    said.clear()
    for _ in range(3):
        first, second = front.detect(images)
        front.refine(first, second, front.match(first, second))
    return front, said


@needs_cuda
def test_on_a_gpu_the_recorded_stages_give_what_those_of_any_size_give() -> None:
    front, said = on_a_gpu()
    plain = FrontEnd(settings("off", "cuda"))
    assert not said, "everything can be recorded"
    for views in (VIEWS, VIEWS[::-1], (EVEN, VIEWS[0]), VIEWS):
        expected = plain.detect(views)
        for found, wanted in zip(front.detect(views), expected, strict=True):
            assert len(found) == len(wanted)
            assert set(map(tuple, found.keypoints.tolist())) == set(map(tuple, wanted.keypoints.tolist()))
        first, second = expected
        matches, wanted_matches = front.match(first, second), plain.match(first, second)
        assert torch.equal(matches.indices1, wanted_matches.indices1)
        refined, wanted_places = (each.refine(first, second, matches) for each in (front, plain))
        assert np.allclose(refined.refined1, wanted_places.refined1, atol=1e-2)


@needs_cuda
def test_on_a_gpu_nothing_waits_from_upload_to_refined_matches_but_for_how_many_there_are() -> None:
    front, _ = on_a_gpu()
    detector, refiner, matcher = front.detector, front.refiner, front.matcher
    assert isinstance(detector, stages.FixedSizeXFeat) and isinstance(refiner, stages.FixedSizeSubpx)
    assert isinstance(matcher, stages.FixedSizeMutualNearest)
    limits = settings("auto", "cuda")

    def frame() -> Tensors:
        images = detector.uploader.batch(VIEWS).float().div_(255.0)
        budget, threshold = limits.features.max_keypoints, limits.features.detection_threshold
        keypoints, _, descriptors, valid = detector._recorded(images, budget=budget, threshold=threshold)
        rows = descriptors[0], valid[0], descriptors[1], valid[1]
        _, partner, matched = matcher._recorded(*rows, least=limits.matching.min_similarity)
        return (*refiner._record_second(keypoints[0], keypoints[1][partner], images[0], images[1]), matched)

    for _ in range(3):
        frame()  # records
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        detector.uploader.begin(VIEWS)
        refined, _, matched = frame()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    assert matched.sum() > 60 and refined[matched].isfinite().all()


@needs_cuda
def test_on_a_gpu_each_wired_stage_waits_once(recwarn: pytest.WarningsRecorder) -> None:
    front, _ = on_a_gpu()
    waits = []

    def waiting(stage: Callable[[], Any]) -> Any:
        recwarn.clear()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            return stage()
        finally:
            torch.cuda.set_sync_debug_mode("default")
            waits.append(sum("synchronizing" in str(each.message) for each in recwarn))

    first, second = waiting(lambda: front.detect(VIEWS))
    matches = waiting(lambda: front.match(first, second))
    waiting(lambda: front.refine(first, second, matches))
    assert all(count <= 1 for count in waits)
