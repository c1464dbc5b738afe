"""Functions of tensors of fixed shapes: called as they are on a CPU, recorded as CUDA graphs and replayed on a GPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]

_WARM_UP = 3
"""Calls before the recording, in which libraries choose their algorithms and take their workspaces."""
_KEPT = 8
"""Recordings, each of which holds its intermediate tensors; the one used longest ago goes first."""


class Captured:
    """One recording per set of shapes and types. For one thread; its function's weights must stay where they are.

    The function must not wait for the GPU, nor depend on values of its inputs but through tensors.
    """

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self._function = function
        self._recordings: OrderedDict[Any, _Recording] = OrderedDict()

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """What the function gives, in tensors of the caller's own."""
        with torch.inference_mode():
            if not inputs[0].is_cuda:
                return self._function(*inputs)
            key = tuple((each.shape, each.dtype, each.device) for each in inputs)
            if key not in self._recordings:
                self._recordings[key] = _Recording(self._function, inputs)
                if len(self._recordings) > _KEPT:
                    self._recordings.popitem(last=False)
            self._recordings.move_to_end(key)
            return self._recordings[key].replay(inputs)


class _Recording:
    def __init__(self, function: Callable[..., Tensors], inputs: Tensors) -> None:
        self._inputs = tuple(each.clone() for each in inputs)
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, the one that uploads among them, may use the GPU meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = function(*self._inputs)

    def replay(self, inputs: Tensors) -> Tensors:
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)
