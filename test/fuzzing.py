"""How many cases a parser is tried with: some in `make test`, ten thousand in `make soak`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SOAK = os.environ.get("SUBPX_SOAK") == "1"
_CASES = 10_000
_LONGEST_S = 3600

Test = Callable[..., Any]


def fuzz(cases: int = 100) -> Callable[[Test], Test]:
    """Marks a property of a parser; goes above `given`. `cases` is the number in the short form."""

    def mark(test: Test) -> Test:
        count = _CASES if SOAK else cases
        test = settings(
            max_examples=count, derandomize=not SOAK, suppress_health_check=list(HealthCheck), print_blob=True
        )(test)
        return pytest.mark.fuzz(pytest.mark.timeout(_LONGEST_S)(test) if SOAK else test)

    return mark


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """A file of `contents` with bytes changed, cut out, put in, or its end missing."""
    data = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 4, 8, 64, 2**30])))
        data[start:stop] = draw(st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, b"\x00" * 8, b"\xff" * 8]))
    return bytes(data)
