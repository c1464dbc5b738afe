"""How the programs share processors with whatever else runs on the robot."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SPIN_ROUNDS = "1000"
"""At a barrier, before a thread sleeps: some microseconds. GNU OpenMP's own default is some milliseconds."""

_OPERATIONS = 20
"""So many show who works on them."""


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

    def __init__(self, operation: Callable[[], object], size: int) -> None:
        """`operation` is the first parallel one of this thread, by `size` threads."""
        others = _threads()
        operation()
        self._first = threading.get_native_id()
        begun = _threads() - others
        # Others may have begun by chance; those do not work whenever this thread does.
        self._others = begun if len(begun) < size else _busiest(begun, operation, size - 1)
        self._size = size

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Each of them on a processor of its own, where they are as many as this process may use; then where the kernel likes."""
        allowed = os.sched_getaffinity(0)
        team = [self._first, *self._others]
        if not self._size == len(team) == len(allowed) or threading.get_native_id() != self._first:
            yield
            return
        _allow(team, [{processor} for processor in sorted(allowed)])
        try:
            yield
        finally:
            _allow(team, [allowed] * len(team))


_local = threading.local()


def team_of_this_thread(operation: Callable[[], object], size: int) -> Team:
    """The same one for as long as its size does not change, since its threads begin only once. Arguments as `Team` has them."""
    known: tuple[int, Team] | None = getattr(_local, "known", None)
    if known is None or known[0] != size:
        _local.known = known = size, Team(operation, size)
    return known[1]


def _threads() -> set[int]:
    """Of this process, by the numbers that the kernel gives them; none where it tells nobody."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if tasks.is_dir() else set()


def _busiest(threads: set[int], operation: Callable[[], object], count: int) -> set[int]:
    """Those that work most while the operation runs."""
    before = {thread: _worked_ns(thread) for thread in threads}
    for _ in range(_OPERATIONS):
        operation()
    worked = {thread: _worked_ns(thread) - before[thread] for thread in threads}
    return set(sorted(threads, key=worked.__getitem__)[-count:]) if count else set()


def _worked_ns(thread: int) -> int:
    """How long a thread has had a processor; 0 of one that ended or where the kernel does not tell."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _allow(threads: list[int], processors: list[set[int]]) -> None:
    for thread, allowed in zip(threads, processors, strict=True):
        try:
            os.sched_setaffinity(thread, allowed)
        except OSError:  # it ended, or may not be moved: it stays where it is
            continue
