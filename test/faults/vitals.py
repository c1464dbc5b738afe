"""What a process holds on to: memory, threads, open files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """Of a process at one instant."""

    rss_mb: float
    threads: int
    files: int


def vitals(pid: int) -> Vitals:
    folder = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text(encoding="utf-8").splitlines())
    kilobytes, threads = int(fields["VmRSS"].split()[0]), int(fields["Threads"])
    return Vitals(kilobytes / 1024.0, threads, len(list((folder / "fd").iterdir())))


def has_loaded(pid: int, library: str) -> bool:
    """Whether a shared library of this name is mapped, which tells how far a program has come in its start."""
    return library in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
