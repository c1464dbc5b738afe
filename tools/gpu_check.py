"""Checks and measures on a machine with a GPU, in one call: python tools/gpu_check.py [OUT.json]

Prints a table and JSON. Without a GPU every row says "not measured". Weights of XFeat, ALIKED and LightGlue must be in
the cache or in $SUBPX_WEIGHTS.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from subpx_ros.config import load_config
from subpx_ros.console import table
from subpx_ros.datasets import open_sequence
from subpx_ros.datatypes import Frame
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.keypt2subpx import Keypt2SubpxNetwork
from subpx_ros.static.capture import Captured
from subpx_ros.static.stages import StaticFeatures, StaticStereoStep, StaticXFeat
from subpx_ros.upload import Uploader

_WARM_UP, _ROUNDS = 10, 50
_MATCHES = 2048
_BUDGET = 1024
NOT_MEASURED = "not measured"

Row = tuple[str, str, str]
"""What, figure, bar."""


def milliseconds(call: Callable[[], Any]) -> float:
    """Median, with the GPU's work finished before and after."""
    times = []
    for number in range(_WARM_UP + _ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        if number >= _WARM_UP:
            times.append(start.elapsed_time(end))
    return median(times)


def refiner_rows() -> list[Row]:
    """Keypt2Subpx on 2 x 2048 patches: called, recorded, and recorded in half precision."""
    network = Keypt2SubpxNetwork(64, use_score_map=False).eval().cuda()
    inputs = torch.rand(2 * _MATCHES, 1, 11, 11).cuda(), torch.rand(2 * _MATCHES, 64).cuda()

    def half(patches: torch.Tensor, descriptors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast("cuda", torch.float16):
            return (network(patches, descriptors),)

    def whole(patches: torch.Tensor, descriptors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (network(patches, descriptors),)

    recorded, recorded_half = Captured(whole), Captured(half)
    with torch.inference_mode():
        called = milliseconds(lambda: whole(*inputs))
        exact = network(*inputs)
    times = [milliseconds(partial(each, *inputs)) for each in (recorded, recorded_half)]
    shift = float((recorded_half(*inputs)[0].float() - exact).abs().max())
    return [
        ("Keypt2Subpx, 2 x 2048 patches, called (ms)", f"{called:.3f}", ""),
        ("the same, recorded (ms)", f"{times[0]:.3f}", "1.0"),
        ("the same, recorded, half precision (ms)", f"{times[1]:.3f}", "1.0"),
        ("largest difference of half precision (px)", f"{shift:.4f}", ""),
    ]


def frames() -> list[Frame]:
    return list(open_sequence("demo", frames=(0, 12)))


def odometry_row(preset: str, bar: str, views: list[Frame]) -> Row:
    """End to end, stereo, 1024 keypoints, upload and pose included."""
    config = load_config({"preset": preset, "device": "cuda", "features": {"max_keypoints": _BUDGET}})
    odometry = VisualOdometry(config, views[0].rig)
    results = [odometry.process(frame) for _ in range(3) for frame in _renewed(odometry, views)]
    times = [result.stage_ms["total"] for result in results[len(views) :]]
    lost = sum(not result.located for result in results)
    return (
        f"{preset}, stereo 1226x370, {_BUDGET} keypoints, end to end (ms), {lost} lost",
        f"{median(times):.2f}",
        bar,
    )


def _renewed(odometry: VisualOdometry, views: list[Frame]) -> list[Frame]:
    odometry.reset()
    return views


def static_rows(views: list[Frame]) -> list[Row]:
    """From upload to refined matches of the fixed-size XFeat step, called and recorded."""
    front = FrontEnd(load_config({"preset": "xfeat", "device": "cuda", "features": {"max_keypoints": _BUDGET}}))
    detector = StaticXFeat(front.detector, _BUDGET, 0.05)  # type: ignore[arg-type]
    step = StaticStereoStep(detector, front.refiner._network, front.matcher._config)  # type: ignore[attr-defined]
    uploader, least = Uploader(torch.device("cuda")), torch.tensor(1.0, device="cuda")
    pair = [view for view in (views[0].image, views[0].right_image) if view is not None]

    def relate(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return step.relate(StaticFeatures(*values[:4]), StaticFeatures(*values[4:8]), values[8], values[9])

    def frame(describe: Callable[..., Any], relate: Callable[..., Any]) -> None:
        images = uploader.batch(pair)
        found = describe(images, least)
        relate(*found[:4], *found[:4], images[:1], images[:1])

    with torch.inference_mode():
        called = milliseconds(lambda: frame(step.describe, relate))
    recordings = Captured(step.describe), Captured(relate)
    recorded = milliseconds(lambda: frame(*recordings))
    return [
        ("fixed-size XFeat, upload to matches, called (ms)", f"{called:.3f}", ""),
        ("the same, recorded (ms)", f"{recorded:.3f}", ""),
        ("GPU memory, largest (MiB)", f"{torch.cuda.max_memory_allocated() / 2**20:.0f}", ""),
    ]


def tests_row() -> Row:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "test/test_static.py"], check=False)
    return (
        "equal to the CPU's stages; no wait between upload and pose",
        "held" if done.returncode == 0 else "FAILED",
        "",
    )


def main() -> int:
    """0 when all was measured and held, 1 when something failed, 3 without a GPU."""
    if not torch.cuda.is_available():
        rows: list[Row] = [("every row", NOT_MEASURED, "needs a GPU that PyTorch sees")]
    else:
        torch.manual_seed(0)
        views = frames()
        rows = [
            tests_row(),
            *refiner_rows(),
            *static_rows(views),
            odometry_row("xfeat", "", views),
            odometry_row("aliked", "25", views),
        ]
    table("GPU", ("what", "figure", "bar"), rows)
    content = {"rows": rows, "machine": machine(), "versions": library_versions()}
    text = json.dumps(content, indent=1)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    if not torch.cuda.is_available():
        return 3
    return 1 if rows[0][1] == "FAILED" else 0


if __name__ == "__main__":
    sys.exit(main())
