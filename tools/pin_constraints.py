"""Writes constraints.txt: the newest versions that pip finds for every given Python, one version for all where it can.

    python3 tools/pin_constraints.py python3.11 python3.12

The Pythons are resolved in this order; each takes over what the ones before it have chosen, so name the oldest
first. A package that has no version for all of them stops the run. Only versions are chosen here, nothing is tested:
`make distclean test PYTHON=...` for each of them shows whether they are good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from requirements import requirements

ROOT = Path(__file__).parents[1]
PINNED = ["torch==2.13.0"]
HEADER = """\
# Every package of the complete environment (build, run, test, all extras), as tested with Python 3.11 and 3.12.
# Made by: python3 tools/pin_constraints.py python3.11 python3.12
# The nvidia, cuda and triton packages belong to torch's CUDA build; its CPU build does without them.
"""


def resolve(python: str, pins: list[str]) -> dict[str, str]:
    """Package name to version, as pip would install them for this Python under these pins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted, known, report = folder / "requirements.txt", folder / "constraints.txt", folder / "report.json"
        wanted.write_text("\n".join([*requirements(ROOT / "pyproject.toml", extras=None), *PINNED]))
        known.write_text("\n".join(pins))
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        pip = [str(folder / "venv" / "bin" / "pip"), "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--report", str(report), "-r", str(wanted), "-c", str(known)], check=True)
        packages = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    # A local version such as 2.13.0+cpu is a build of 2.13.0, which is what every machine can get.
    return {package["name"].lower().replace("_", "-"): package["version"].split("+")[0] for package in packages}


def main() -> None:
    versions: dict[str, str] = {}
    for python in sys.argv[1:]:
        versions |= resolve(python, [f"{name}=={version}" for name, version in versions.items()] or PINNED)
    lines = [f"{name}=={version}" for name, version in sorted(versions.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python3 tools/pin_constraints.py PYTHON...")
    main()
