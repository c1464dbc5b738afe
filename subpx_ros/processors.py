"""How the programs share processors with whatever else runs on the robot."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SPIN_ROUNDS = "1000"
"""At a barrier, before a thread sleeps: some microseconds. GNU OpenMP's own default is some milliseconds."""


def sleep_at_barriers() -> None:
    """Have OpenMP's threads sleep soon where they wait for each other, instead of holding processors that others need.

    For the start of a program: the library reads this when torch is imported. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPIN_ROUNDS)


class Team:
    """The thread that makes it and the threads that OpenMP lets work for it, which begin with its first parallel operation.

    After a pause the kernel may wake all of them on one processor, and takes tens of milliseconds to notice.
    """

    def __init__(self, operation: Callable[[], object]) -> None:
        """`operation` is the first parallel one of this thread."""
        others = _threads()
        operation()
        self._first = threading.get_native_id()
        self._others = _threads() - others

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Each of them on a processor of its own, where they are as many as this process may use; then where the kernel likes."""
        allowed = os.sched_getaffinity(0)
        if len(self._others) + 1 != len(allowed) or threading.get_native_id() != self._first:
            yield
            return
        team = [self._first, *self._others]
        _allow(team, [{processor} for processor in sorted(allowed)])
        try:
            yield
        finally:
            _allow(team, [allowed] * len(team))


def _threads() -> set[int]:
    """Of this process, by the numbers that the kernel gives them; none where it tells nobody."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if tasks.is_dir() else set()


def _allow(threads: list[int], processors: list[set[int]]) -> None:
    for thread, allowed in zip(threads, processors, strict=True):
        try:
            os.sched_setaffinity(thread, allowed)
        except OSError:  # it ended, or may not be moved: it stays where it is
            continue
