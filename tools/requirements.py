"""Prints what a development environment holds, one requirement a line, as pyproject.toml states it."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path

_DEVELOPMENT = ("train", "export", "test")


def requirements(pyproject: Path, extras: Collection[str] | None = _DEVELOPMENT) -> list[str]:
    """The requirements for building and running the package, and for these of its extras; all of them if None."""
    with pyproject.open("rb") as file:
        table = tomllib.load(file)
    project = table["project"]
    optional = [
        line
        for extra, lines in project["optional-dependencies"].items()
        if extras is None or extra in extras
        for line in lines
    ]
    return [*table["build-system"]["requires"], *project["dependencies"], *optional]


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).parents[1] / "pyproject.toml")))
