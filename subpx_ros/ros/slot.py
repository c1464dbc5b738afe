"""What stands between the subscription callback and the worker: the newest items, in order."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Counts:
    """At every instant received = processed + dropped + waiting + in_work."""

    received: int = 0
    """Items put."""
    processed: int = 0
    """Items taken and finished."""
    dropped: int = 0
    """Items replaced by a newer one, refused by the worker, or left over when the slot was closed."""
    waiting: int = 0
    in_work: int = 0


class Slot(Generic[_Item]):
    """Hands items from callbacks to one worker; `put` never blocks.

    At most `capacity` items wait and a newer one replaces the oldest: with one, latency stays bounded at any input
    rate; with many, a sender that waits for the worker loses none, and one that does not cannot fill the memory.
    """

    def __init__(self, capacity: int = 1) -> None:
        self._capacity = capacity
        self._items: deque[_Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._received = self._processed = self._dropped = self._in_work = 0

    def put(self, item: _Item) -> None:
        """Stores the item for the worker. On a closed slot it is dropped."""
        with self._changed:
            self._received += 1
            if self._closed:
                self._dropped += 1
                return
            if len(self._items) == self._capacity:
                self._items.popleft()
                self._dropped += 1
            self._items.append(item)
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> _Item | None:
        """The oldest waiting item; None when the slot is closed, or after the timeout. Follow it with `finish`."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None
            self._in_work += 1
            return self._items.popleft()

    def finish(self, *, processed: bool) -> None:
        """Counts the item taken last as processed, or as dropped because it was refused."""
        with self._changed:
            if self._in_work == 0:
                raise RuntimeError("finish() needs an item that was taken before")
            self._in_work -= 1
            if processed:
                self._processed += 1
            else:
                self._dropped += 1

    def close(self) -> None:
        """Drops what waits and wakes the worker; `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._dropped += len(self._items)
            self._items.clear()
            self._changed.notify_all()

    @property
    def counts(self) -> Counts:
        with self._changed:
            return Counts(self._received, self._processed, self._dropped, len(self._items), self._in_work)
