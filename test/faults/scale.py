"""Short form, as `make test` runs it, or the long one of `make soak`; and where measured figures are kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LONG = os.environ.get("SUBPX_SOAK") == "1"
_REPORT = os.environ.get("SUBPX_SOAK_REPORT", "")


def record(name: str, value: float, unit: str, bar: str) -> None:
    """One figure of the soak's report: a line of JSON, for tools/soak.py."""
    if _REPORT:
        line: dict[str, Any] = {"name": name, "value": value, "unit": unit, "bar": bar}
        with Path(_REPORT).open("a", encoding="utf-8") as report:
            report.write(json.dumps(line) + "\n")
