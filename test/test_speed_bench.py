"""`subpx bench speed`: the published computation equals ours, and work is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from subpx_ros.evaluation.bench_config import SpeedConfig
from subpx_ros.evaluation.plain import published_network, refine_as_published
from subpx_ros.evaluation.roofline import CountingStopwatch, Machine, Work
from subpx_ros.evaluation.speed import run_speed
from subpx_ros.refinement.keypt2subpx import refine_pairs


def test_the_published_computation_gives_what_ours_gives() -> None:
    network = published_network("xfeat")
    torch.manual_seed(0)
    points = tuple(10.0 + torch.rand(50, 2) * torch.tensor([100.0, 60.0]) for _ in range(2))
    maps = tuple(torch.rand(1, 80, 130) for _ in range(2))
    descriptors = tuple(normalize(torch.randn(50, 64)) for _ in range(2))
    with torch.inference_mode():
        ours = refine_pairs(network, points, maps, descriptors)  # type: ignore[arg-type]
        theirs = refine_as_published(network, points, maps, descriptors)  # type: ignore[arg-type]
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < 1e-4
        assert not torch.equal(mine, points[0])


def test_operations_and_bytes_of_a_product_are_counted_per_stage() -> None:
    watch = CountingStopwatch()
    with torch.inference_mode(), watch.stage("product"):
        torch.rand(20, 30) @ torch.rand(30, 40)
    with watch.stage("nothing"):
        pass
    assert watch.works["product"].operations == 2 * 20 * 30 * 40
    assert watch.works["product"].moved_bytes == 4 * (20 * 30 + 30 * 40 + 20 * 40)
    assert watch.works["nothing"] == Work()


def test_the_slower_of_arithmetic_and_memory_is_the_limit() -> None:
    machine = Machine(operations_per_s=1e9, bytes_per_s=1e8)
    assert machine.limit_ms(Work(1e6, 1e3)) == pytest.approx(1.0)
    assert machine.limit_ms(Work(1e3, 1e6)) == pytest.approx(10.0)


def test_the_command_measures_both_pipelines(tmp_path: Path) -> None:
    settings = SpeedConfig("demo", "stereo", "xfeat", "cpu", warm_up=2, frames=1, rounds=1)
    run_speed(settings, tmp_path)
    items = json.loads((tmp_path / "results.json").read_text())["items"]
    assert set(items["stereo"]["ours"]) == {"features", "matching", "refinement", "stereo", "pose", "total"}
    assert items["stereo"]["ratio"] > 0.0
    assert items["keypt2subpx"]["512"]["difference_px"] < 1e-3
