"""What the worker gets from the intake, and which thread converted it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from subpx_ros.datatypes import Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.ros.intake import Arrival, Intake
from subpx_ros.ros.messages import ImageSet, stamp_from_ns, stamp_to_ns
from subpx_ros.ros.slot import Counts

RIG = Rig(Camera(10.0, 10.0, 3.5, 2.5, 8, 6))
PIXELS = np.zeros((6, 8), dtype=np.uint8)
WAIT_S = 10.0


def images(number: int) -> ImageSet:
    return ImageSet(Image(header=Header(stamp=stamp_from_ns(number))), CameraInfo())


def number(arrival: Arrival | None) -> int | None:
    return None if arrival is None else arrival.frame().stamp_ns


class Converter:
    """Lasts long enough to be worth a thread, or no time at all; notes what it converted where."""

    def __init__(self, seconds: float = 3e-3) -> None:
        self.seconds = seconds
        self.threads: dict[int, str] = {}
        self.changed = threading.Condition()
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, found: ImageSet) -> Frame:
        stamp = stamp_to_ns(found.header.stamp)
        with self.changed:
            self.threads[stamp] = threading.current_thread().name
            self.changed.notify_all()
        end_s = time.monotonic() + self.seconds
        while time.monotonic() < end_s:
            pass
        assert self.let_go.wait(WAIT_S)
        if stamp < 0:
            raise DataError("no image")
        return Frame(stamp, PIXELS, RIG)

    def wait_for(self, stamp: int) -> str:
        """The thread that began with it."""
        with self.changed:
            assert self.changed.wait_for(lambda: stamp in self.threads, WAIT_S), f"{stamp} is not converted"
            return self.threads[stamp]


@contextmanager
def intake(converter: Converter, keep_all: bool, ahead: bool = True) -> Iterator[Intake]:
    made = Intake(keep_all, ahead, converter)
    try:
        yield made
    finally:
        converter.let_go.set()
        made.close()


HERE = threading.current_thread().name


@pytest.mark.parametrize("keep_all", [False, True])
def test_an_idle_worker_converts_what_comes_itself(keep_all: bool) -> None:
    converter = Converter()
    with intake(converter, keep_all) as made:
        for each in range(3):
            made.put(images(each))
            assert number(made.take()) == each
            made.finish(processed=True)
        assert set(converter.threads.values()) == {HERE}
        assert made.counts == Counts(received=3, processed=3)


def test_the_next_set_is_converted_while_the_worker_is_busy() -> None:
    converter = Converter()
    with intake(converter, keep_all=True) as made:
        for each in range(3):
            made.put(images(each))
        assert number(made.take()) == 0
        assert converter.wait_for(1) == "conversion"
        assert 2 not in converter.threads, "one ahead is enough"
        made.finish(processed=True)
        assert number(made.take()) == 1
        assert converter.wait_for(2) == "conversion"
        made.finish(processed=False)
        assert number(made.take()) == 2
        assert made.counts == Counts(received=3, processed=1, dropped=1, in_work=1)


def test_what_comes_while_the_worker_is_busy_is_converted_before_it_asks() -> None:
    converter = Converter()
    with intake(converter, keep_all=False) as made:
        made.put(images(0))
        assert number(made.take()) == 0
        made.finish(processed=True)
        made.put(images(1))
        assert number(made.take()) == 1, "its work lasted no time, so the next may be converted at any moment"
        made.put(images(2))
        assert converter.wait_for(2) == "conversion"
        made.finish(processed=True)
        assert number(made.take()) == 2


@pytest.mark.parametrize(("seconds", "ahead"), [(0.0, True), (3e-3, False)], ids=["plain images", "switched off"])
def test_what_is_not_worth_it_leaves_the_second_thread_asleep(seconds: float, ahead: bool) -> None:
    converter = Converter(seconds)
    with intake(converter, True, ahead) as made:
        for each in range(10):
            made.put(images(each))
        assert [number(made.take()) for _ in range(10)] == list(range(10))
        assert set(converter.threads.values()) == {HERE}


def test_the_newest_wins_until_its_conversion_begins() -> None:
    converter = Converter()
    with intake(converter, keep_all=False, ahead=False) as made:
        made.put(images(0))
        assert number(made.take()) == 0
        for each in range(1, 5):
            made.put(images(each))
        made.ahead = True
        made.put(images(5))
        assert converter.wait_for(5) == "conversion"
        assert made.counts == Counts(received=6, dropped=4, in_work=2)
        made.put(images(6))
        made.put(images(7))
        assert made.counts == Counts(received=8, dropped=5, waiting=1, in_work=2)


def test_what_was_converted_long_ago_gives_way_to_something_newer() -> None:
    converter = Converter()
    with intake(converter, keep_all=False) as made:
        made.put(images(0))
        assert number(made.take()) == 0
        made.put(images(1))
        assert converter.wait_for(1) == "conversion"
        made.put(images(2))
        made.finish(processed=True)
        later_s = time.monotonic() + 20 * converter.seconds
        while time.monotonic() < later_s:
            pass
        assert number(made.take()) == 2 and converter.threads[2] == HERE
        assert made.counts == Counts(received=3, processed=1, dropped=1, in_work=1)


def test_a_worker_that_comes_early_waits_for_the_conversion_under_way() -> None:
    converter = Converter()
    with intake(converter, keep_all=True) as made:
        made.put(images(0))
        made.put(images(1))
        assert number(made.take()) == 0
        converter.let_go.clear()
        # It may be done already; then it is taken as it is.
        converter.wait_for(1)
        made.finish(processed=True)
        threading.Timer(0.01, converter.let_go.set).start()
        assert number(made.take()) == 1 and converter.threads[1] == "conversion"


def test_what_cannot_be_converted_is_told_to_the_worker_and_costs_nothing_else() -> None:
    converter = Converter()
    with intake(converter, keep_all=True) as made:
        for stamp in (0, -1, 2):
            made.put(images(stamp))
        assert number(made.take()) == 0
        assert converter.wait_for(-1) == "conversion"
        made.finish(processed=True)
        refused = made.take()
        assert refused is not None
        with pytest.raises(DataError, match="no image"):
            refused.frame()
        made.finish(processed=False)
        assert number(made.take()) == 2
        assert made.counts == Counts(received=3, processed=1, dropped=1, in_work=1)


def test_closing_drops_what_waits_and_ends_both_threads() -> None:
    converter = Converter()
    made = Intake(True, True, converter)
    taken: list[int | None] = []
    for each in range(4):
        made.put(images(each))
    assert number(made.take()) == 0
    converter.wait_for(1)
    made.close()
    made.put(images(4))
    made.finish(processed=True)
    worker = threading.Thread(target=lambda: taken.append(number(made.take())))
    worker.start()
    worker.join(WAIT_S)
    assert taken == [None]
    assert made.counts == Counts(received=5, processed=1, dropped=4)
    assert "conversion" not in {thread.name for thread in threading.enumerate()}


def test_closing_wakes_a_worker_that_waits() -> None:
    made = Intake(False, True, Converter())
    taken: list[Arrival | None] = []
    worker = threading.Thread(target=lambda: taken.append(made.take()))
    worker.start()
    made.close()
    worker.join(WAIT_S)
    assert taken == [None]


@pytest.mark.parametrize("keep_all", [False, True])
def test_between_three_threads_nothing_is_lost_uncounted_or_reordered(keep_all: bool) -> None:
    converter = Converter(1.2e-3)
    made = Intake(keep_all, True, converter)
    taken: list[int] = []
    rng = np.random.default_rng(3)

    def work() -> None:
        while (arrival := made.take()) is not None:
            taken.append(arrival.frame().stamp_ns)
            time.sleep(rng.uniform(0.0, 4e-3))
            made.finish(processed=len(taken) % 5 > 0)

    worker = threading.Thread(target=work)
    worker.start()
    count = 200
    for each in range(count):
        made.put(images(each))
        if each % 3 == 0:
            time.sleep(1e-3)
    while made.counts.waiting or made.counts.in_work:
        threading.Event().wait(1e-3)
    made.close()
    worker.join(WAIT_S)
    assert not worker.is_alive()
    assert taken == sorted(set(taken)) and taken[-1] == count - 1
    counts = made.counts
    assert counts.received == count == counts.processed + counts.dropped
    assert len(taken) == count if keep_all else len(taken) < count
    assert "conversion" in set(converter.threads.values())
