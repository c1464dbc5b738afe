"""How many CPU threads the networks get."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from subpx_ros.device import set_threads


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [(3, "1", 3), (0, "1", 1), (0, "3,2", 3), (0, "", None), (0, "many", None), (0, "0", None)],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, asked: int, environment: str, expected: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    set_threads(asked)
    assert torch.get_num_threads() == (expected or len(os.sched_getaffinity(0)))
