"""Functions of tensors of fixed shapes: called as they are on a CPU, recorded as CUDA graphs and replayed on a GPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch

from subpx_ros.parallel import one_thread_an_operation

Tensors = tuple[torch.Tensor, ...]

_WARM_UP = 3
"""Calls before the recording, in which libraries choose their algorithms and take their workspaces."""
_KEPT = 2
"""Recordings of a function, each of which holds its intermediate tensors; the one used longest ago goes first."""


class Recording(Protocol):
    """A function of tensors as it was run once."""

    def replay(self, inputs: Tensors) -> Tensors:
        """What the function gives for other inputs of the same shapes, in tensors of the caller's own."""


class Captured:
    """One recording per set of shapes, types and constants. For one thread; its function's weights must stay where they are.

    The function must not wait for the GPU, nor depend on values of its inputs but through tensors.
    """

    def __init__(self, name: str, function: Callable[..., Tensors], report: Callable[[str], None]) -> None:
        """
        Args:
            name: of what the function does, for people.
            function: of tensors, and of constants by keyword.
            report: called with a line for people when the function cannot be recorded.
        """
        self._name = name
        self._function = function
        self._report = report
        self._recordable = True
        self._recordings: OrderedDict[Any, Recording | None] = OrderedDict()
        """None for what was asked for only once: images of many sizes are not worth their recordings."""

    def __call__(self, *inputs: torch.Tensor, **constants: float) -> Tensors:
        """What the function gives, in tensors of the caller's own."""
        with torch.inference_mode():
            function = partial(self._function, **constants)
            record = recorder_for(inputs[0].device)
            if record is None or not self._recordable:
                return function(*inputs)
            key = (*((each.shape, each.dtype, each.device) for each in inputs), *constants.items())
            recording = self._recordings.get(key)
            if recording is None and key in self._recordings:
                recording = self._recorded(record, function, inputs)
            self._recordings[key] = recording
            self._recordings.move_to_end(key)
            if len(self._recordings) > _KEPT:
                self._recordings.popitem(last=False)
            return function(*inputs) if recording is None else recording.replay(inputs)

    def _recorded(
        self,
        record: Callable[[Callable[..., Tensors], Tensors], Recording],
        function: Callable[..., Tensors],
        inputs: Tensors,
    ) -> Recording | None:
        """The recording; None, for good, where there can be none."""
        try:
            return record(function, inputs)
        except torch.OutOfMemoryError:
            raise  # which fewer keypoints may help against
        except RuntimeError as error:
            self._recordable = False
            first_line = str(error).partition("\n")[0]
            self._report(f"{self._name} is not recorded as a CUDA graph and runs step by step: {first_line}")
            return None


def recorder_for(device: torch.device) -> Callable[[Callable[..., Tensors], Tensors], Recording] | None:
    """What records functions of tensors on the device; None where nothing is gained by it."""
    return _CudaRecording if device.type == "cuda" else None


class _CudaRecording:
    def __init__(self, function: Callable[..., Tensors], inputs: Tensors) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        computing, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(computing)
        # Helping threads would enqueue on streams of their own, which are not recorded.
        with one_thread_an_operation():
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UP):
                    function(*self._inputs)
            computing.wait_stream(beside)
            self._graph = torch.cuda.CUDAGraph()
            # A recording that fails leaves its stream behind, so the outer one is put back. Other threads, the one that
            # uploads among them, may use the GPU meanwhile.
            with torch.cuda.stream(computing), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = function(*self._inputs)

    def replay(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)
