"""What OpenMP is told before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHOW = "from subpx_ros.processors import sleep_at_barriers; sleep_at_barriers(); import torch; torch.rand(9).sum()"


def spin_count(**chosen: str) -> str:
    """GOMP_SPINCOUNT as the library itself reports it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE"} | chosen
    run = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in run.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not lines:
        pytest.skip("this torch does not run on GNU OpenMP")
    return lines[0].split("'")[1]


def test_threads_that_wait_for_each_other_soon_sleep() -> None:
    assert spin_count() == "1000"


@pytest.mark.parametrize(
    ("chosen", "expected"), [({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")]
)
def test_what_the_user_has_set_stays(chosen: dict[str, str], expected: str) -> None:
    assert spin_count(**chosen) == expected
