"""One version everywhere, the licence where people and tools look for it, and requirements that are all pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import subpx_ros

ROOT = Path(__file__).parents[1]


def _package_xml(field: str) -> str:
    text = ElementTree.parse(ROOT / "package.xml").getroot().findtext(field)
    assert text is not None
    return text


def _pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def test_one_version_in_code_manifest_and_changelog() -> None:
    newest = re.search(r"^(\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", (ROOT / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert newest is not None
    assert {subpx_ros.__version__, newest[1]} == {_package_xml("version")}


def test_licence_is_stated_and_there() -> None:
    assert _package_xml("license") == _pyproject()["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_every_requirement_is_pinned() -> None:
    tool = [sys.executable, str(ROOT / "tools" / "requirements.py")]
    wanted = subprocess.run(tool, check=True, capture_output=True, text=True).stdout.splitlines()
    wanted += [line for extra in _pyproject()["project"]["optional-dependencies"].values() for line in extra]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line and not line.startswith("#")}
    names = {re.split(r"[^\w.-]", entry)[0].lower().replace("_", "-") for entry in wanted}
    assert names <= pinned, f"not in constraints.txt: {sorted(names - pinned)}"
