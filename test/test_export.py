"""Exported stages in onnxruntime against PyTorch, and what cannot be exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from superpoint_reference import IMAGE

from subpx_ros.config import Config, load_config
from subpx_ros.datatypes import Features
from subpx_ros.errors import ConfigError
from subpx_ros.export.exporter import export
from subpx_ros.export.modules import FixedMatcher
from subpx_ros.export.onnx_files import OnnxStage, write_onnx
from subpx_ros.export.parity import Check
from subpx_ros.pipeline import FrontEnd
from subpx_ros.static.rows import fill_up

BUDGET = 128
VIEWS = (np.ascontiguousarray(IMAGE[:, 8:]), np.ascontiguousarray(IMAGE[:, :-8]))


def config(**overrides: object) -> Config:
    return load_config({"preset": "xfeat", "device": "cpu", "features": {"max_keypoints": BUDGET}, **overrides})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    assert export(config(), folder, VIEWS).passed
    return folder


def test_all_stages_do_what_pytorch_does(exported: Path) -> None:
    report = json.loads((exported / "parity.json").read_text())
    assert report["passed"] and len(report["checks"]) == 4
    for check in report["checks"]:
        assert check["passed"] and check["of"] > 10
    assert {path.name for path in exported.iterdir()} == {
        "detector.onnx",
        "matcher.onnx",
        "refiner.onnx",
        "parity.json",
        "config.yaml",
    }


def test_the_detector_takes_images_of_other_sizes_and_fills_up_its_budget(exported: Path) -> None:
    stage = OnnxStage(exported / "detector.onnx")
    image = torch.from_numpy(np.array(IMAGE[:50, :71])).float().div(255.0)[None, None]
    found = stage({"image": image})
    (expected,) = FrontEnd(config()).detect([np.array(IMAGE[:50, :71])])
    count = int(found["count"])
    assert 0 < count == len(expected) < BUDGET
    assert found["keypoints"].shape == (BUDGET, 2) and found["descriptors"].shape == (BUDGET, 64)
    assert not found["scores"][count:].any() and np.all(found["scores"][:count] > 0)
    assert {tuple(point) for point in found["keypoints"][:count]} == {tuple(p) for p in expected.keypoints.numpy()}


def test_rows_beyond_the_count_are_never_matched(exported: Path) -> None:
    stage = OnnxStage(exported / "matcher.onnx")
    descriptors = torch.nn.functional.normalize(torch.randn(BUDGET, 64, generator=torch.Generator().manual_seed(0)))
    view = {"keypoints": torch.zeros(BUDGET, 2), "descriptors": descriptors, "size": torch.tensor([100, 100])}
    inputs = {f"{name}{side}": value for side in (0, 1) for name, value in view.items()}
    found = stage(inputs | {"count0": torch.tensor(20), "count1": torch.tensor(30)})
    assert found["partners"][:20].tolist() == list(range(20))
    assert np.all(found["partners"][20:] == -1) and not found["scores"][20:].any()


def test_a_padded_lightglue_finds_what_the_unpadded_one_does(
    shared_data: Callable[[str], Path],
) -> None:
    from subpx_ros.datasets.image_files import read_grey
    from subpx_ros.export.inputs import matcher_inputs

    folder = shared_data("kitti00_mono160") / "image_0"
    matching = {"matcher": "lighterglue", "adaptive": False}
    front_end = FrontEnd(config(matching=matching, refiner="none", features={"max_keypoints": 300}))
    images = [read_grey(folder / f"{index:06d}.png")[100:300, 300:800] for index in (20, 22)]
    views: tuple[Features, Features] = (front_end.detect([images[0]])[0], front_end.detect([images[1]])[0])
    matches = front_end.match(*views)
    inputs = matcher_inputs(views, 400)
    with torch.inference_mode():
        partners, scores = FixedMatcher(front_end.matcher)(*inputs.values())
    assert len(matches) > 50
    assert torch.equal((partners >= 0).nonzero()[:, 0], matches.indices0)
    assert torch.equal(partners[matches.indices0], matches.indices1)
    torch.testing.assert_close(scores[matches.indices0], matches.scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("detector", ["sift", "orb"])
def test_what_is_no_network_is_refused_with_those_that_are(detector: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{detector} is no network.*choose one of xfeat, aliked-n16"):
        export(config(features={"detector": detector}), tmp_path, VIEWS)


def test_a_detector_of_one_image_size_is_refused_two(tmp_path: Path) -> None:
    settings = config(features={"detector": "aliked-t16"})
    with pytest.raises(ConfigError, match=r"aliked-t16 is exported for one image size.*120x96 and 120x90"):
        export(settings, tmp_path, (VIEWS[0], VIEWS[1][:90]))


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subpx_ros.export.onnx_files.find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(ConfigError, match=r"needs the packages onnx, which.*subpx_ros\[export\]"):
        export(config(), tmp_path, VIEWS)


def test_a_check_of_nothing_does_not_pass() -> None:
    assert Check("share", 0.995, 0.99, of=10, share=True).passed
    assert not Check("share", 0.985, 0.99, of=10, share=True).passed
    assert not Check("share", 1.0, 0.99, of=0, share=True).passed
    assert Check("difference", 1e-4, 1e-3, of=10, share=False).passed
    assert not Check("difference", 2e-3, 1e-3, of=10, share=False).passed


def test_filling_up_keeps_what_is_there() -> None:
    filled = fill_up(torch.tensor([[1.0, 2.0]]), 3)
    assert filled.tolist() == [[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]


class Branching(torch.nn.Module):
    """Cannot be exported: what it does depends on values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if len(torch.nonzero(x)) > 3 else -x


def test_attempts_that_fail_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(torch.onnx.errors.OnnxExporterError):
        write_onnx(Branching(), {"x": torch.ones(5)}, ["y"], tmp_path / "branching.onnx")
    assert capfd.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
