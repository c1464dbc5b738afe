"""`subpx bench growth`: what it measures grows as it should, and every figure is written."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subpx_ros.errors import ConfigError
from subpx_ros.evaluation.bench_config import GrowthConfig
from subpx_ros.evaluation.growth import exponent, run_growth
from subpx_ros.memory import peak_of

CPU = torch.device("cpu")


def test_growth_of_keypoints_and_images(tmp_path: Path) -> None:
    config = GrowthConfig(
        "orb", "50,100,200", "160x120", "160x120,320x240", at_keypoints=100, device="cpu", threads=1, rounds=1
    )
    results = run_growth(config, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert (tmp_path / "growth.png").stat().st_size > 1000
    keypoints, pixels = (results["items"][name]["points"] for name in ("keypoints", "pixels"))
    assert [point["value"] for point in keypoints] == [50, 100, 200]
    assert [point["value"] for point in pixels] == [160 * 120, 320 * 240]
    assert [point["keypoints"] for point in keypoints] == pytest.approx([50, 100, 200], rel=0.1)
    for point in (*keypoints, *pixels):
        assert point["matches"] > 0.3 * point["keypoints"], "the plane is seen again"
        assert point["stage_ms"]["total"] > 0.0 and (point["peak_mb"] is None or point["peak_mb"] >= 0.0)
    titles = [table["title"] for table in results["tables"]]
    assert titles == ["keypoints, 160x120, cpu", "image size, 100 keypoints, cpu"]


def test_the_exponent_is_the_slope_at_the_end() -> None:
    assert exponent([1.0, 2.0, 4.0], [5.0, 3.0, 12.0]) == pytest.approx(2.0)
    assert exponent([1.0, 3.0], [2.0, 6.0]) == pytest.approx(1.0)
    assert exponent([1.0], [2.0]) is None and exponent([1.0, 2.0], [0.0, 1.0]) is None


def test_the_peak_of_a_step_is_what_it_takes_beyond_what_is_held() -> None:
    # In a process of its own: other tests leave the allocator memory that it cannot give back, and a step that takes
    # of that needs none from the system.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        peaks_mb = process.submit(_peaks_mb, [0, 64, 128, 32]).result()
    if None in peaks_mb:
        pytest.skip("this system does not tell the largest memory of a process since a moment")
    assert peaks_mb == pytest.approx([0, 64, 128, 32], abs=4.0)


def _peaks_mb(sizes_mb: list[int]) -> list[float | None]:
    """Of steps that take so much, while 32 MiB are held."""
    held = np.ones(2**22)
    peaks_mb = [peak_of(partial(np.ones, megabytes * 2**17), CPU) for megabytes in sizes_mb]
    assert held.all()
    return peaks_mb


@pytest.mark.parametrize("values", [{"keypoints": "many"}, {"sizes": "640"}, {"at_size": "0x640x"}, {"keypoints": ","}])
def test_what_is_no_number_or_size_is_named(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="required; got"):
        run_growth(GrowthConfig(**values, device="cpu"), tmp_path)
