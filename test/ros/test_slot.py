"""The slot between callback and worker: which items come out, and that every one is accounted for."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from subpx_ros.ros.slot import Counts, Slot


class SlotAgainstModel(RuleBasedStateMachine):
    """Random puts, takes, finishes and a close, beside a list that does the same."""

    @initialize(capacity=st.integers(1, 4))
    def make(self, capacity: int) -> None:
        self.slot: Slot[int] = Slot(capacity)
        self.capacity = capacity
        self.waiting: list[int] = []
        self.received = self.processed = self.dropped = self.in_work = 0
        self.closed = False

    @rule()
    def put(self) -> None:
        self.slot.put(self.received)
        if self.closed:
            self.dropped += 1
        else:
            if len(self.waiting) == self.capacity:
                self.waiting.pop(0)
                self.dropped += 1
            self.waiting.append(self.received)
        self.received += 1

    @rule()
    def take(self) -> None:
        expected = self.waiting.pop(0) if self.waiting else None
        assert self.slot.take(timeout_s=0.0) == expected
        self.in_work += expected is not None

    @precondition(lambda self: self.in_work)
    @rule(processed=st.booleans())
    def finish(self, processed: bool) -> None:
        self.slot.finish(processed=processed)
        self.in_work -= 1
        self.processed += processed
        self.dropped += not processed

    @rule()
    def close(self) -> None:
        self.slot.close()
        self.dropped += len(self.waiting)
        self.waiting.clear()
        self.closed = True

    @invariant()
    def every_item_is_accounted_for(self) -> None:
        counts = self.slot.counts
        assert counts == Counts(self.received, self.processed, self.dropped, len(self.waiting), self.in_work)
        assert counts.received == counts.processed + counts.dropped + counts.waiting + counts.in_work


TestSlotAgainstModel = SlotAgainstModel.TestCase
TestSlotAgainstModel.settings = settings(max_examples=60, stateful_step_count=20, deadline=None, derandomize=True)


def test_put_returns_while_the_worker_is_busy_and_the_newest_wins() -> None:
    slot: Slot[int] = Slot()
    slot.put(0)
    assert slot.take() == 0
    for item in range(1, 6):
        slot.put(item)
    slot.finish(processed=True)
    assert slot.take() == 5
    assert slot.counts == Counts(received=6, processed=1, dropped=4, waiting=0, in_work=1)


@pytest.mark.parametrize("capacity", [1, 3, 5000])
def test_between_threads_nothing_is_lost_uncounted_or_reordered(capacity: int) -> None:
    slot: Slot[int] = Slot(capacity)
    taken: list[int] = []

    def work() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)
            slot.finish(processed=True)

    worker = threading.Thread(target=work)
    worker.start()
    for item in range(5000):
        slot.put(item)
    while slot.counts.waiting or slot.counts.in_work:
        threading.Event().wait(0.001)
    slot.close()
    worker.join(timeout=10)
    assert not worker.is_alive()
    assert taken == sorted(taken) and taken[-1] == 4999
    assert (slot.counts.processed, slot.counts.dropped) == (len(taken), 5000 - len(taken))
    assert len(taken) == 5000 or capacity < 5000


def test_closing_wakes_a_worker_that_waits() -> None:
    slot: Slot[int] = Slot()
    result: list[int | None] = []
    worker = threading.Thread(target=lambda: result.append(slot.take()))
    worker.start()
    slot.close()
    worker.join(timeout=10)
    assert result == [None]


def test_finish_needs_an_item() -> None:
    with pytest.raises(RuntimeError, match="taken before"):
        Slot[int]().finish(processed=True)
