"""How the programs share processors with whatever else runs on the robot."""

from __future__ import annotations

import os

_SPIN_ROUNDS = "1000"
"""At a barrier, before a thread sleeps: some microseconds. GNU OpenMP's own default is some milliseconds."""


def sleep_at_barriers() -> None:
    """Have OpenMP's threads sleep soon where they wait for each other, instead of holding processors that others need.

    For the start of a program: the library reads this when torch is imported. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_ROUNDS)
