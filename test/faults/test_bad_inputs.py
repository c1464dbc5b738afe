"""Whatever comes in, the node goes on, says why it has no pose, and tracks again within three good frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import shots
from bench import Bench, bench
from calibration_cases import CALIBRATION_CASES
from encoded_cases import COMPRESSED_CASES, DEPTH_CASES, DISTORTION_CASES
from fault_case import Case
from image_cases import CONTENT_CASES, LAYOUT_CASES
from rclpy.context import Context
from shots import MakeShot
from stream_cases import STREAM_CASES

SETUPS: dict[str, tuple[MakeShot, dict[str, Any], list[Case]]] = {
    "stereo": (shots.stereo, {}, LAYOUT_CASES + CONTENT_CASES + CALIBRATION_CASES + STREAM_CASES),
    "compressed": (shots.compressed, {"image_transport": "compressed"}, COMPRESSED_CASES),
    "rgbd": (shots.rgbd, {"mode": "rgbd"}, DEPTH_CASES),
    "unrectified": (shots.unrectified, {"rectify": True}, DISTORTION_CASES),
}


@pytest.fixture(scope="module")
def node_of(context: Context) -> Iterator[Callable[[str], Bench]]:
    """One node at a time, kept for all cases of a set-up."""
    with ExitStack() as stack:
        running: dict[str, Bench] = {}

        def start(setup: str) -> Bench:
            if setup not in running:
                running.clear()
                stack.close()
                make_shot, parameters, _ = SETUPS[setup]
                running[setup] = stack.enter_context(bench(context, make_shot, parameters))
            return running[setup]

        yield start


@pytest.mark.parametrize(
    ("setup", "case"),
    [pytest.param(setup, case, id=f"{setup}: {case.name}") for setup, (*_, cases) in SETUPS.items() for case in cases],
)
def test_the_node_survives(node_of: Callable[[str], Bench], setup: str, case: Case) -> None:
    node = node_of(setup)
    node.begin()
    case.play(node)
    if case.says:
        node.wait_for_reason(case.says)
    node.recover()
    if case.says:
        node.wait_for_diagnostics(case.says)
    node.check_outputs()


def test_there_are_at_least_forty_faults_of_different_names() -> None:
    names = [case.name for *_, cases in SETUPS.values() for case in cases]
    assert len(set(names)) == len(names) >= 40
