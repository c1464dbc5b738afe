"""Images from the host to the device: through pinned memory and on a stream of their own, so that computing goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Images = Sequence[NDArray[np.uint8]]

_BUFFERS = 3
"""Pinned buffers: one is filled while one is copied and one waits to be taken."""


@dataclass(frozen=True)
class _Upload:
    images: tuple[NDArray[np.uint8], ...]
    batch: torch.Tensor
    done: Any
    """The event after the copy."""


class Uploader:
    """`begin` may be called ahead from another thread; it does no arithmetic, for which torch would start threads."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._begun: deque[_Upload] = deque(maxlen=_BUFFERS - 1)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._pinned: deque[tuple[torch.Tensor, Any]] = deque(maxlen=_BUFFERS)
        """With the event after which each may be filled again; the oldest first."""

    def begin(self, images: Images) -> None:
        """Starts the upload of images (H, W) uint8 of one size; nothing on a CPU. `batch` of the same arrays finds it."""
        if self._stream is not None:
            with self._lock:
                self._begun.append(self._copy(images))

    def batch(self, images: Images) -> torch.Tensor:
        """(B, H, W) uint8 on the device. What is enqueued after this call sees all of it; the host does not wait."""
        if self._stream is None:
            return torch.from_numpy(np.stack(images))
        with self._lock:
            found = next((each for each in self._begun if _same(each.images, images)), None)
            upload = found or self._copy(images)
            if found is not None:
                while self._begun.popleft() is not found:
                    pass
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(upload.done)
        # Its memory was taken on the other stream, and must not go back before this one has read it.
        upload.batch.record_stream(computing)
        return upload.batch

    def _copy(self, images: Images) -> _Upload:
        shape = (len(images), *images[0].shape)
        pinned = self._free_buffer(shape)
        for row, image in zip(pinned.numpy(), images, strict=True):
            np.copyto(row, image)
        done = torch.cuda.Event()
        with torch.cuda.stream(self._stream):
            batch = pinned.to(self._device, non_blocking=True)
            done.record()
        self._pinned.append((pinned, done))
        return _Upload(tuple(images), batch, done)

    def _free_buffer(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The oldest buffer, once its copy is over, or a new one."""
        if len(self._pinned) == _BUFFERS:
            pinned, done = self._pinned.popleft()
            done.synchronize()  # of a copy two frames ago: over long since
            if pinned.shape == shape:
                return pinned
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)


def _same(begun: Sequence[NDArray[np.uint8]], images: Images) -> bool:
    return len(begun) == len(images) and all(first is second for first, second in zip(begun, images, strict=True))
