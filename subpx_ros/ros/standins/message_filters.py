"""Subscriber, TimeSynchronizer and ApproximateTimeSynchronizer as in the package message_filters.

Unlike the original, no lock is held while a callback runs, so that neither an exception nor slow work in it can
stall the other topics, and a full queue forgets what came first instead of what is stamped first, so that stamps
left over from before a jump back in time cannot keep newer messages out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

_NS_PER_S = 1_000_000_000


class SimpleFilter:
    """Passes messages on to the callbacks that were registered with it."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., object], *args: Any) -> int:
        """Calls `cb` with each output of this filter, followed by `args`."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *messages: Any) -> None:
        for callback, args in tuple(self.callbacks.values()):
            callback(*messages, *args)


class Subscriber(SimpleFilter):
    """A subscription as a filter. Takes the node and then the arguments of Node.create_subscription."""

    def __init__(self, node: Any, msg_type: type, topic: str, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        kwargs.setdefault("qos_profile", 10)
        self.sub = node.create_subscription(msg_type, topic, self.callback, **kwargs)

    def callback(self, message: Any) -> None:
        self.signalMessage(message)

    def getTopic(self) -> str:
        return self.topic


class TimeSynchronizer(SimpleFilter):
    """Calls back with one message of each filter when their stamps are equal."""

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        """Args:
        fs: one filter per input, in the order in which their messages are handed on.
        queue_size: messages kept per input while they wait for the others of their set.
        """
        super().__init__()
        self.queue_size = queue_size
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self._lock = threading.Lock()
        for index, source in enumerate(fs):
            source.registerCallback(self.add, self.queues[index], index)

    def add(self, message: Any, queue: dict[int, Any], index: int) -> None:
        stamp = _nanoseconds(message)
        with self._lock:
            _store(queue, stamp, message, self.queue_size)
            chosen = self._matching(stamp, index)
            found = None
            if chosen is not None:
                found = [waiting.pop(key) for waiting, key in zip(self.queues, chosen, strict=True)]
        if found is not None:
            self.signalMessage(*found)

    def _matching(self, stamp: int, index: int) -> list[int] | None:
        """One stamp per queue that make a set with the new message's, or None."""
        return [stamp] * len(self.queues) if all(stamp in queue for queue in self.queues) else None


class ApproximateTimeSynchronizer(TimeSynchronizer):
    """Calls back with one message of each filter when their stamps differ by at most `slop` seconds."""

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int, slop: float) -> None:
        super().__init__(fs, queue_size)
        self._slop_ns = round(slop * _NS_PER_S)

    def _matching(self, stamp: int, index: int) -> list[int] | None:
        chosen: list[int] = []
        for position, queue in enumerate(self.queues):
            if position == index:
                chosen.append(stamp)
                continue
            nearest = min(queue, key=lambda other: abs(other - stamp), default=None)
            if nearest is None:
                return None
            chosen.append(nearest)
        return chosen if max(chosen) - min(chosen) <= self._slop_ns else None


def _store(queue: dict[int, Any], stamp: int, message: Any, size: int) -> None:
    queue.pop(stamp, None)
    queue[stamp] = message
    while len(queue) > size:
        del queue[next(iter(queue))]


def _nanoseconds(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)
