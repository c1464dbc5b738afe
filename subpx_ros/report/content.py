"""What a report shows, before it is a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from subpx_ros.evaluation.bench_results import Cell, Table


@dataclass(frozen=True)
class Part:
    """One result of a folder: a run, a benchmark."""

    title: str
    kind: str
    """What kind of result it is, for people."""
    highlights: Mapping[str, str] = field(default_factory=dict)
    """The figures that matter most, by name."""
    tables: list[Table] = field(default_factory=list)
    failures: Mapping[str, str] = field(default_factory=dict)
    """What failed, or why, by name."""
    made_with: Mapping[str, Cell] = field(default_factory=dict)
    """Versions and machine."""


@dataclass(frozen=True)
class Picture:
    """A PNG file of the folder."""

    name: str
    caption: str
    width: int
    height: int
    png: bytes


@dataclass(frozen=True)
class Report:
    """All of a folder."""

    parts: list[Part]
    """At least one."""
    pictures: list[Picture]
    settings: str
    """The content of config.yaml; empty where there is none."""
