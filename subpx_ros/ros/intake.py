"""Between the subscription and the worker: sets of images, the next one converted while the last is still worked on.

Converting means decoding, grey values, rectification, depth: OpenCV and numpy, never a network (`performance.md` says
why those stay in one thread). While the worker has nothing to do it converts what comes itself, at once. While it is
busy, a second thread begins with the newest set just in time to be done when the worker is. That set then has been
chosen as an idle worker would have chosen it: the newest when its conversion began.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from statistics import median

from subpx_ros.datatypes import Frame
from subpx_ros.ros.messages import ImageSet, frame_from_messages
from subpx_ros.ros.slot import Counts, Slot

_MOST_WAITING = 500
"""Sets that wait with keep_all: half a gigabyte of KITTI's pairs."""
_REMEMBERED = 8
"""Frames whose durations tell how long the next will take."""
_LEAST_S = 1e-3
"""Of a conversion that is worth a second thread's waking up; a raw grey pair takes a tenth of it."""
_STALE = 2.0
"""A set whose conversion began more of its durations ago than this gives way to a newer one."""


class Arrival:
    """A set of images, and its frame once somebody has converted it."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self.time_s = time.monotonic()
        """When it came, by the steady clock."""
        self._frame: Future[Frame] = Future()

    def frame(self) -> Frame:
        """Raises what the conversion raised: DataError for what cannot be used."""
        return self._frame.result()

    def wait(self) -> None:
        """Until it is converted."""
        wait([self._frame])

    def convert(self, conversion: Callable[[ImageSet], Frame]) -> None:
        """Once."""
        try:
            self._frame.set_result(conversion(self.images))
        except Exception as error:  # noqa: BLE001 - whoever asks for the frame has to deal with it
            self._frame.set_exception(error)


class Intake:
    """Hands sets of images to one worker; `put` never blocks. Has a thread of its own until `close`."""

    def __init__(
        self, keep_all: bool, ahead: bool = True, conversion: Callable[[ImageSet], Frame] = frame_from_messages
    ) -> None:
        """
        Args:
            keep_all: hand over every set in order instead of the newest, as long as they do not pile up.
            ahead: whether to convert the next set while the worker is busy. May be changed at any time.
            conversion: called with one set at a time in either thread, perhaps in both at the same time.
        """
        self.ahead = ahead
        self._keep_all = keep_all
        self._conversion = conversion
        self._slot: Slot[Arrival] = Slot(_MOST_WAITING if keep_all else 1)
        lock = threading.Lock()
        self._for_worker, self._for_helper = threading.Condition(lock), threading.Condition(lock)
        self._closed = False
        self._working_since_s: float | None = None
        """None while the worker waits."""
        self._next: Arrival | None = None
        """What the helper converts or has converted."""
        self._next_since_s = 0.0
        self._works_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._conversions_s: deque[float] = deque(maxlen=_REMEMBERED)
        self._helper = threading.Thread(target=self._convert_ahead, name="conversion", daemon=True)
        self._helper.start()

    @property
    def counts(self) -> Counts:
        """A set that is converted ahead counts as in work."""
        return self._slot.counts

    def put(self, images: ImageSet) -> None:
        """From the subscription's callback: stores and returns."""
        with self._for_worker:
            self._slot.put(Arrival(images))
            if self._working_since_s is None:
                self._for_worker.notify()
            elif self._worthwhile:
                self._for_helper.notify()

    def take(self) -> Arrival | None:
        """The next set, converted, for the worker, which is done with the one before; None once closed.

        Follow it with `finish`.
        """
        with self._for_worker:
            self._end_work()
            self._for_worker.wait_for(lambda: self._closed or self._next is not None or self._slot.counts.waiting)
            ahead, self._next = self._next, None
            if ahead is not None and (self._closed or self._is_stale()):
                self._slot.finish(processed=False)
                ahead = None
            arrival = ahead or self._slot.take(timeout_s=0.0)
        if arrival is None:
            return None
        if ahead is None:
            self._convert(arrival)
        else:
            arrival.wait()
        with self._for_worker:
            self._working_since_s = time.monotonic()
            if self._worthwhile and self._slot.counts.waiting:
                self._for_helper.notify()
        return arrival

    def _end_work(self) -> None:
        if self._working_since_s is not None:
            self._works_s.append(time.monotonic() - self._working_since_s)
            self._working_since_s = None

    def finish(self, *, processed: bool) -> None:
        """Counts the set taken last as processed, or as dropped because it was refused."""
        self._slot.finish(processed=processed)

    def close(self) -> None:
        """Drops what waits; `take` returns None from now on. Waits for a conversion that is under way."""
        with self._for_worker:
            self._closed = True
            self._slot.close()
            self._for_worker.notify()
            self._for_helper.notify()
        self._helper.join()

    @property
    def _worthwhile(self) -> bool:
        """Whether conversions last long enough for a second thread."""
        return self.ahead and bool(self._conversions_s) and median(self._conversions_s) >= _LEAST_S

    def _is_stale(self) -> bool:
        """Whether there is something newer than what was converted ahead for a worker that came later than expected."""
        if self._keep_all or not self._slot.counts.waiting:
            return False
        return time.monotonic() - self._next_since_s > _STALE * median(self._conversions_s)

    def _convert_ahead(self) -> None:
        while True:
            with self._for_helper:
                while not self._closed and (wait_s := self._due_in_s()) != 0.0:
                    self._for_helper.wait(wait_s)
                arrival = self._slot.take(timeout_s=0.0)
                if arrival is None:
                    return
                self._next, self._next_since_s = arrival, time.monotonic()
            self._convert(arrival)

    def _due_in_s(self) -> float | None:
        """How long until the helper has to begin; None where it will be notified."""
        if self._working_since_s is None or self._next is not None:
            return None
        if not self._worthwhile or not self._slot.counts.waiting:
            return None
        if self._keep_all or not self._works_s:
            return 0.0
        due_s = self._working_since_s + median(self._works_s) - median(self._conversions_s)
        return max(0.0, due_s - time.monotonic())

    def _convert(self, arrival: Arrival) -> None:
        start_s = time.monotonic()
        arrival.convert(self._conversion)
        with self._for_worker:
            self._conversions_s.append(time.monotonic() - start_s)
