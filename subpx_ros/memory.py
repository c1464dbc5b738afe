"""What the programs tell the C library's allocator."""

from __future__ import annotations

import ctypes

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
