"""What makes the host wait for a GPU, or cannot be recorded on one, told without one: functions run on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DATALESS = torch.device("meta")
"""Its tensors know only their shapes: whatever asks for a value, or has a size that depends on one, fails."""

_COPIED_FROM_THE_HOST = ("tensor", "as_tensor", "asarray", "from_numpy", "new_tensor")
_ASKING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "bincount",
    "equal",
    "lift_fresh",
    "_linalg_check_errors",
    "linalg_inv_ex",
    "linalg_solve_ex",
)
"""Operations whose size or failure the host is told, among them those of cuSOLVER and MAGMA, which may allocate."""


class WaitsForTheGpu(AssertionError):
    """Something that a recording as a CUDA graph would refuse."""


class _Functions(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _COPIED_FROM_THE_HOST:
            raise WaitsForTheGpu(f"{name} copies numbers of the host to the device")
        if name in ("__getitem__", "__setitem__") and _has_list(args[1]):
            raise WaitsForTheGpu("indices of the host are copied to the device")
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _ASKING:
            raise WaitsForTheGpu(f"{name} asks for a number")
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in (*_flat(args), *_flat([result])) if isinstance(each, torch.Tensor)]
        # Numbers that are part of a kernel's arguments are tensors of the host without a dimension.
        copying = name in ("_to_copy", "copy_", "where", "index_put_")
        if len({each.device for each in tensors if copying or each.ndim}) > 1:
            raise WaitsForTheGpu(f"{name} copies between host and device")
        if name in ("index", "index_put", "index_put_") and any(_is_mask(each) for each in args[1]):
            raise WaitsForTheGpu(f"{name} by a mask asks how many are meant")
        return result


def _flat(values: Sequence[Any]) -> list[Any]:
    return [item for each in values for item in (_flat(each) if isinstance(each, (list, tuple)) else [each])]


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype == torch.bool


def _has_list(index: Any) -> bool:
    return isinstance(index, list) or (isinstance(index, tuple) and any(isinstance(each, list) for each in index))


def runs_without_waiting(function: Callable[..., Any], *inputs: torch.Tensor, **constants: Any) -> tuple[Any, ...]:
    """What the function gives for inputs without data. Raises where it would make the host wait."""
    with torch.no_grad():  # in inference mode operations are shown that consist of others
        function(*inputs, **constants)  # warms up, as what is recorded does: constants are copied to the device once
        with _Functions(), _Operations():  # type: ignore[no-untyped-call]
            return tuple(function(*inputs, **constants))
