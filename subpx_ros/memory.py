"""What the programs tell the C library's allocator, and how much memory a step takes."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
_KEPT_BYTES = 256 << 20
_LARGEST_BYTES = 32 << 20
"""The most that glibc takes for M_MMAP_THRESHOLD."""


def keep_freed_memory() -> None:
    """Keep what networks free between two frames instead of giving it back and taking it anew page by page.

    A stereo frame takes and frees 100 MB of tensors, which costs 20,000 page faults; more in another thread than the
    main one, whose arena is smaller. For the start of a program, before it has threads. Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (
            (_ARENA_MAX, 1),
            (_MMAP_THRESHOLD, _LARGEST_BYTES),
            (_TRIM_THRESHOLD, _KEPT_BYTES),
        ):
            mallopt(parameter, value)


def peak_of(step: Callable[[], Any], device: torch.device) -> float | None:
    """MiB that a step takes at its peak beyond what is held before it, on a GPU there; None where nobody can tell."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - held) / 2**20
    process = Path("/proc/self")
    try:
        # What was kept, and what nobody can reach any more, must go back first, or the step would not be seen to take it.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        (process / "clear_refs").write_text("5")
        held = _kilobytes(process, "VmRSS")
        step()
        return (_kilobytes(process, "VmHWM") - held) / 1024.0
    except (OSError, AttributeError):
        return None


def _kilobytes(process: Path, name: str) -> int:
    fields = dict(line.split(":", 1) for line in (process / "status").read_text(encoding="ascii").splitlines())
    return int(fields[name].split()[0])
