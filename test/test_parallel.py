"""Parts of work by several threads: order, errors, and that PyTorch's own number of threads stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from subpx_ros.parallel import each_by_a_thread, parts_for

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_parts() -> None:
    with torch.inference_mode():
        assert each_by_a_thread(lambda part: part * part, range(10)) == [part * part for part in range(10)]
        assert each_by_a_thread(lambda part: part, []) == []


def test_several_threads_work_at_once_each_with_operations_of_its_own() -> None:
    meeting = threading.Barrier(3, timeout=20.0)

    def work(part: int) -> tuple[int, bool]:
        meeting.wait()  # nobody passes unless all three are at work
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    with torch.inference_mode():
        assert each_by_a_thread(work, range(3)) == [(1, True)] * 3
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_part_is_raised_and_the_threads_serve_again(failing: int) -> None:
    def work(part: int) -> int:
        if part == failing:
            raise ValueError(f"part {part}")
        return part

    with torch.inference_mode():
        with pytest.raises(ValueError, match=f"part {failing}"):
            each_by_a_thread(work, range(6))
        assert torch.get_num_threads() == 3
        assert each_by_a_thread(work, range(7, 10)) == [7, 8, 9]


def test_with_gradients_one_thread_does_all() -> None:
    assert each_by_a_thread(lambda part: threading.get_ident(), range(4)) == [threading.get_ident()] * 4


@pytest.mark.parametrize(
    ("count", "parts"), [(0, 1), (1, 1), (255, 1), (256, 4), (1000, 4), (4000, 4), (4001, 8), (9000, 12)]
)
def test_parts_are_as_many_however_many_threads_there_are(count: int, parts: int) -> None:
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert parts_for(count, CPU, largest=1000, least=64) == parts
    assert parts_for(count, torch.device("cuda"), largest=1000, least=64) == max(1, -(-count // 1000))
