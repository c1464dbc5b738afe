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

from subpx_ros.config import Config, load_config
from subpx_ros.console import table
from subpx_ros.datasets import open_sequence
from subpx_ros.datatypes import Frame
from subpx_ros.evaluation.environment import library_versions, machine
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.keypt2subpx import Keypt2SubpxNetwork
from subpx_ros.static.capture import Captured

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

    recorded, recorded_half = (Captured("Keypt2Subpx", function, print) for function in (whole, half))
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


def odometry_row(preset: str, bar: str, views: list[Frame], fixed_size: str = "auto") -> Row:
    """End to end, stereo, 1024 keypoints, upload and pose included."""
    odometry = VisualOdometry(_config(preset, fixed_size), views[0].rig, report=print)
    results = [odometry.process(frame) for _ in range(3) for frame in _renewed(odometry, views)]
    times = [result.stage_ms["total"] for result in results[len(views) :]]
    lost = sum(not result.located for result in results)
    return (
        f"{preset}, stereo 1226x370, {_BUDGET} keypoints, fixed_size {fixed_size}, end to end (ms), {lost} lost",
        f"{median(times):.2f}",
        bar,
    )


def _config(preset: str, fixed_size: str) -> Config:
    budget = {"max_keypoints": _BUDGET}
    return load_config({"preset": preset, "device": "cuda", "fixed_size": fixed_size, "features": budget})


def _renewed(odometry: VisualOdometry, views: list[Frame]) -> list[Frame]:
    odometry.reset()
    return views


def stage_rows(views: list[Frame], fixed_size: str) -> list[Row]:
    """From upload to refined matches of two frames, and its parts."""
    front = FrontEnd(_config("xfeat", fixed_size), print)
    images = [views[0].image, views[1].image]
    first, second = front.detect(images)
    matches = front.match(first, second)

    def every() -> None:
        before, now = front.detect(images)
        front.refine(before, now, front.match(before, now))

    stages: dict[str, Callable[[], Any]] = {
        "upload to refined matches": every,
        "detection, two images": lambda: front.detect(images),
        "matching": lambda: front.match(first, second),
        "refinement by the network": lambda: front.refine(first, second, matches),
    }
    return [(f"{name}, fixed_size {fixed_size} (ms)", f"{milliseconds(call):.3f}", "") for name, call in stages.items()]


def memory_row() -> Row:
    return "GPU memory, largest (MiB)", f"{torch.cuda.max_memory_allocated() / 2**20:.0f}", ""


def tests_row() -> Row:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "test/test_static.py"], check=False)
    return (
        "equal to the stages of any size; no wait from upload to refined matches",
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
            *stage_rows(views, "off"),
            *stage_rows(views, "on"),
            memory_row(),
            odometry_row("xfeat", "", views, "off"),
            odometry_row("xfeat", "", views, "on"),
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
