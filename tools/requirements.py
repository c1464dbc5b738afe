"""Prints what a development environment holds, one requirement a line, as pyproject.toml states it."""

from __future__ import annotations

import tomllib
from pathlib import Path

_EXTRAS = ("train", "export", "test")


def requirements(pyproject: Path) -> list[str]:
    """The requirements for building, running, training and testing the package."""
    with pyproject.open("rb") as file:
        table = tomllib.load(file)
    project = table["project"]
    extras = [line for extra in _EXTRAS for line in project["optional-dependencies"][extra]]
    return [*table["build-system"]["requires"], *project["dependencies"], *extras]


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).parents[1] / "pyproject.toml")))
