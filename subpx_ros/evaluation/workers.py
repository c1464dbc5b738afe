"""Several processes of this machine that take items of a benchmark until there are none.

Written on pipes instead of a process pool: a process that is killed, as by the system when memory runs out, costs a
pool all that is left, and here the one item that it had.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import cast

from subpx_ros.errors import SubpxError
from subpx_ros.evaluation.runner import Benchmark, Done, Item, attempt

_GOODBYE_S = 10.0


class _Worker:
    """One process and the item that it has."""

    def __init__(self, benchmark: Benchmark) -> None:
        # Spawned, not forked: libraries with threads of their own do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(benchmark, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.item: Item | None = None
        self.ready = False

    def give(self, item: Item) -> None:
        self.item = item
        with suppress(OSError):  # of a process that has just died, which is heard of next
            self.connection.send(item)

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(_GOODBYE_S)

    @property
    def ending(self) -> str:
        """How the process ended, for people."""
        self.process.join(_GOODBYE_S)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name} (out of memory?)"
        return f"its process ended with code {code}"


def in_workers(benchmark: Benchmark, items: Sequence[Item], count: int) -> Iterator[Done]:
    """What comes of the items, in the order in which they are done.

    Raises:
        SubpxError: a process cannot load what the benchmark needs.
    """
    queue = deque(items)
    workers: list[_Worker] = []
    try:
        for _ in range(min(count, len(queue))):
            workers.append(_Worker(benchmark))
        while workers:
            for connection in wait([worker.connection for worker in workers]):
                worker = next(each for each in workers if each.connection is connection)
                done, alive = _hear(worker)
                if done is not None:
                    yield done
                if alive and queue:
                    worker.give(queue.popleft())
                    continue
                workers.remove(worker)
                worker.end()
                if queue:
                    workers.append(_Worker(benchmark))
    finally:
        for worker in workers:
            worker.end()


def _hear(worker: _Worker) -> tuple[Done | None, bool]:
    """What a worker has to say, and whether it can go on."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        if not worker.ready or worker.item is None:
            raise SubpxError(f"a worker could not get ready: {worker.ending}; use fewer workers") from None
        return Done(worker.item, None, worker.ending), False
    if isinstance(message, Exception):
        raise message
    worker.ready = True
    return cast("Done | None", message), True


def _work(benchmark: Benchmark, connection: Connection) -> None:
    """The process: says None when it is ready, then a Done per item; ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted run is ended by its first process
    try:
        try:
            measure = benchmark.prepare()
        except SubpxError as error:
            connection.send(SubpxError(str(error)))
            return
        connection.send(None)
        while True:
            connection.send(attempt(measure, connection.recv()))
    except (EOFError, OSError):
        return
