"""How fast a stage could be: the operations it asks for and the bytes it must move against what the machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from subpx_ros.parallel import one_thread_an_operation
from subpx_ros.relative_motion import Stopwatch

_MATRIX, _COPIED_FLOATS, _TRIES = 1024, 16 * 2**20, 7
_MAPPING = (torch.ops.aten.index_select, torch.ops.aten.addcmul_, torch.ops.aten.grid_sampler_2d)
"""Operations without products of matrices that still have to move, and work on, what they name."""


@dataclass(frozen=True)
class Machine:
    """Best of several tries, with the threads that the networks have."""

    operations_per_s: float
    """Of a product of two square matrices (1024 rows, float32), two operations for each multiplication and addition."""
    bytes_per_s: float
    """Read and written by a copy of 64 MiB."""

    def limit_ms(self, work: Work) -> float:
        """Time that the work takes at least, were either the only limit."""
        return 1e3 * max(work.operations / self.operations_per_s, work.moved_bytes / self.bytes_per_s)


@dataclass
class Work:
    """What a stage asks for."""

    operations: float = 0.0
    moved_bytes: float = 0.0
    """Operands and results, each once, of convolutions, products of matrices and look-ups. All else could be done along
    with them, so this is less than what is moved."""


def measure_machine(device: torch.device) -> Machine:
    matrix = torch.rand(_MATRIX, _MATRIX, device=device)
    source = torch.rand(_COPIED_FLOATS, device=device)
    target = torch.empty_like(source)
    product_s = _best(lambda: matrix @ matrix, device)
    copy_s = _best(lambda: target.copy_(source), device)
    return Machine(2.0 * _MATRIX**3 / product_s, 2.0 * 4.0 * _COPIED_FLOATS / copy_s)


def _best(call: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


class CountingStopwatch(Stopwatch):
    """Also counts the work of every stage, which costs time."""

    def __init__(self) -> None:
        super().__init__()
        self.works: dict[str, Work] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        # What other threads do goes past a counter.
        with super().stage(name), one_thread_an_operation(), _Counter(self.works.setdefault(name, Work())):
            yield


class _Counter(TorchDispatchMode):
    """While active, adds up the work of everything that runs."""

    def __init__(self, work: Work) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = work

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func._overloadpacket not in flop_registry:
            # In inference mode linear, matmul and conv2d arrive whole; what they are made of is what is counted.
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        result = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.work.operations += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        elif packet in _MAPPING:
            self.work.operations += 2.0 * sum(value.numel() for value in _tensors(result))
        else:
            return result
        self.work.moved_bytes += sum(value.numel() * value.element_size() for value in _tensors((args, result)))
        return result


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, (tuple, list)) else []
