"""Threads that work together, each on a processor of its own for a while."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from subpx_ros.processors import Team, team_of_this_thread


class Workers:
    """Threads that wait until they are released."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self.numbers: list[int] = []

    def start(self, count: int) -> None:
        for _ in range(count):
            begun = threading.Event()
            threading.Thread(target=self._wait, args=(begun,), daemon=True).start()
            assert begun.wait(10.0)

    def _wait(self, begun: threading.Event) -> None:
        self.numbers.append(threading.get_native_id())
        begun.set()
        self._end.wait()

    def release(self) -> None:
        self._end.set()


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.release()


def test_each_thread_has_a_processor_of_its_own_and_is_free_again(workers: Workers) -> None:
    allowed = os.sched_getaffinity(0)
    team = Team(lambda: workers.start(len(allowed) - 1), len(allowed))
    with team.apart():
        held = [os.sched_getaffinity(thread) for thread in (0, *workers.numbers)]
    assert all(len(each) == 1 for each in held) and set().union(*held) == allowed
    assert all(os.sched_getaffinity(thread) == allowed for thread in (0, *workers.numbers))


def test_they_are_free_again_after_an_error(workers: Workers) -> None:
    allowed = os.sched_getaffinity(0)
    team = Team(lambda: workers.start(len(allowed) - 1), len(allowed))
    with pytest.raises(ZeroDivisionError), team.apart():
        raise ZeroDivisionError
    assert all(os.sched_getaffinity(thread) == allowed for thread in (0, *workers.numbers))


def test_more_or_fewer_threads_than_processors_go_where_the_kernel_likes(workers: Workers) -> None:
    allowed = os.sched_getaffinity(0)
    team = Team(lambda: workers.start(len(allowed)), len(allowed) + 1)
    with team.apart():
        assert all(os.sched_getaffinity(thread) == allowed for thread in (0, *workers.numbers))


def test_threads_that_begin_meanwhile_are_told_from_those_that_work() -> None:
    allowed, idle, stop = os.sched_getaffinity(0), Workers(), threading.Event()
    busy: list[int] = []

    def count() -> None:
        busy.append(threading.get_native_id())
        while not stop.is_set():
            pass

    def operation() -> None:
        if not busy:
            idle.start(3)
            for _ in range(len(allowed) - 1):
                threading.Thread(target=count, daemon=True).start()
        while len(busy) < len(allowed) - 1:
            time.sleep(0.001)
        time.sleep(0.005)

    team = Team(operation, len(allowed))
    with team.apart():
        assert all(len(os.sched_getaffinity(thread)) == 1 for thread in (0, *busy))
        assert all(os.sched_getaffinity(thread) == allowed for thread in idle.numbers)
    stop.set()
    idle.release()


def test_another_thread_moves_nobody(workers: Workers) -> None:
    allowed = os.sched_getaffinity(0)
    team = Team(lambda: workers.start(len(allowed) - 1), len(allowed))
    seen: list[set[int]] = []

    def elsewhere() -> None:
        with team.apart():
            seen.extend(os.sched_getaffinity(thread) for thread in (0, *workers.numbers))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen and all(each == allowed for each in seen)


def test_a_worker_that_ended_is_no_harm(workers: Workers) -> None:
    team = Team(lambda: workers.start(len(os.sched_getaffinity(0)) - 1), len(os.sched_getaffinity(0)))
    workers.release()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.native_id in workers.numbers:
            thread.join()
    with team.apart():
        pass
    assert len(os.sched_getaffinity(0)) >= 1


def test_a_thread_keeps_its_team_which_begins_only_once() -> None:
    began: list[int] = []

    def thread() -> None:
        teams = [team_of_this_thread(lambda: began.append(1), size) for size in (2, 2, 3)]
        assert teams[0] is teams[1] and teams[2] is not teams[0]
        began.append(0)

    other = threading.Thread(target=thread)
    other.start()
    other.join()
    assert began == [1, 1, 0]
