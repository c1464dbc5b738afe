"""The device that the networks run on."""

from __future__ import annotations

import os

import torch

from subpx_ros.errors import DeviceError


def select_device(name: str) -> torch.device:
    """'cpu', 'cuda', or 'auto' for the GPU where there is one. Raises DeviceError for a GPU that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device 'cuda' was asked for, but PyTorch sees no GPU: choose 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def set_threads(count: int) -> None:
    """CPU threads of the networks; 0 takes what OMP_NUM_THREADS says, or as many as this process may use cores."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    torch.set_num_threads(count or int(wanted if wanted.isdecimal() else 0) or len(os.sched_getaffinity(0)))
