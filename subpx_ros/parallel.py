"""Independent parts of work on a CPU, each computed by one thread.

PyTorch shares every single operation between its threads, which then wait for each other. Where many small operations
follow one another, as in the refiner, threads that each take a part through all of them finish sooner.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

_EVEN_PARTS = 4
"""What one, two and four threads can share evenly."""

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def parts_for(count: int, device: torch.device, largest: int, least: int) -> int:
    """Into how many parts `count` items on a device are to be divided; not by the number of threads, on which results
    would then depend in their last digits.

    Args:
        count: of the items.
        device: a GPU takes as few parts as can be.
        largest: items of a part.
        least: fewer are not worth a part.
    """
    if device.type != "cpu" or count < _EVEN_PARTS * least:
        return max(1, -(-count // largest))
    return _EVEN_PARTS * max(1, -(-count // (_EVEN_PARTS * largest)))


def slices_for(count: int, device: torch.device, largest: int, least: int) -> list[slice]:
    """The parts of `parts_for`, as even as can be."""
    parts = parts_for(count, device, largest, least)
    bounds = [count * part // parts for part in range(parts + 1)]
    return [slice(*each) for each in itertools.pairwise(bounds)]


def each_by_a_thread(function: Callable[[_Part], _Result], parts: Sequence[_Part]) -> list[_Result]:
    """The function's results for all parts, with as many threads at work as PyTorch may use, under its inference mode."""
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1 or torch.is_grad_enabled():
        return [function(part) for part in parts]
    results: dict[int, _Result] = {}

    def work(first: int) -> None:
        with torch.inference_mode():
            for index in range(first, len(parts), threads):
                results[index] = function(parts[index])

    with one_thread_an_operation():
        helpers = [_helpers(threads - 1).submit(work, first) for first in range(1, threads)]
        try:
            work(0)
        finally:
            for helper in helpers:
                helper.exception()  # waits: nobody else may change what the parts are made of
    for helper in helpers:
        helper.result()
    return [results[index] for index in range(len(parts))]


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """PyTorch's operations by one thread each, and with them everything of this file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@cache
def _helpers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "subpx_helper", initializer=torch.set_num_threads, initargs=(1,))
