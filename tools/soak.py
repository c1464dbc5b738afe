"""`make soak`: the fault suite in its long form, 10,000 cases for every parser, and what the node adds to the odometry.

Wants an idle machine, and an hour or two. Writes out/soak/figures.jsonl and prints them against their bars.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "soak"
FIGURES = OUT / "figures.jsonl"
OVERHEAD_BAR_MS = 8.0


def main() -> int:
    """Returns 0 when everything held, else 1."""
    OUT.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text("")
    environment = os.environ | {"SUBPX_SOAK": "1", "SUBPX_SOAK_REPORT": str(FIGURES)}
    pytest = [sys.executable, "-m", "pytest", "--timeout=7200", "-q"]
    held = {
        "faults over DDS": _run([*pytest, "test/faults"], environment),
        "10,000 cases a parser": _run([*pytest, "test", "-m", "fuzz"], environment),
        "node overhead": _overhead(environment),
    }
    _print_figures()
    for name, good in held.items():
        print(f"{name}: {'held' if good else 'FAILED'}")
    return 0 if all(held.values()) else 1


def _run(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def _overhead(environment: dict[str, str]) -> bool:
    if not _run([sys.executable, "-m", "subpx_ros.cli", "bench", "node", "demo", "--out", str(OUT)], environment):
        return False
    measured = json.loads((OUT / "node_bench.json").read_text())["overhead_ms"]
    line = {"name": "node overhead, stereo", "value": measured, "unit": "ms", "bar": f"<= {OVERHEAD_BAR_MS:g}"}
    with FIGURES.open("a") as report:
        report.write(json.dumps(line) + "\n")
    return bool(measured <= OVERHEAD_BAR_MS)


def _print_figures() -> None:
    """One line for each name: how many were measured, and the largest."""
    figures: dict[str, list[dict[str, Any]]] = {}
    for line in FIGURES.read_text().splitlines():
        figure = json.loads(line)
        figures.setdefault(figure["name"], []).append(figure)
    print(f"\n{'figure':<50} {'count':>5} {'largest':>10} {'bar':>12}")
    for name, measured in figures.items():
        worst = max(measured, key=lambda figure: figure["value"])
        print(f"{name:<50} {len(measured):>5} {worst['value']:>7.2f} {worst['unit']:<3} {worst['bar']:>11}")


if __name__ == "__main__":
    sys.exit(main())
