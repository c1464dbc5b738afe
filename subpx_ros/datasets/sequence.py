"""What every data source offers: frames by index, one rig, stamps and, where known, the true camera path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from subpx_ros.datatypes import Array, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import invert


class Sequence(ABC):
    """Frames of one rig in the order of time. Pixels are loaded when a frame is asked for."""

    name: str
    """Short, for tables and titles."""
    rig: Rig
    """The same for every frame."""
    stamps_ns: tuple[int, ...]
    """One per frame, integer nanoseconds, strictly increasing."""
    truth: Array | None
    """(N, 4, 4) T_first_camera of the left (or only) camera, metres; first is this sequence's own frame 0."""

    def __init__(self, name: str, rig: Rig, stamps_ns: tuple[int, ...], truth: Array | None) -> None:
        """Raises DataError when there is no frame, when stamps do not increase or when truth does not fit them."""
        if not stamps_ns:
            raise DataError(f"{name} has no frames: a sequence needs at least one")
        check_increasing(stamps_ns, name)
        if truth is not None and truth.shape != (len(stamps_ns), 4, 4):
            raise DataError(f"{name} needs one true pose per frame, ({len(stamps_ns)}, 4, 4); got shape {truth.shape}")
        self.name = name
        self.rig = rig
        self.stamps_ns = stamps_ns
        self.truth = truth

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @abstractmethod
    def frame(self, index: int) -> Frame:
        """The frame at 0 <= index < len(self). Raises DataError when its data cannot be read, IndexError outside."""

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(index) for index in range(len(self)))

    def check_index(self, index: int) -> None:
        """Raises IndexError unless 0 <= index < len(self)."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has frames 0 to {len(self) - 1}; asked for {index}")

    def window(self, start: int | None, stop: int | None) -> Sequence:
        """The frames start <= index < stop as a sequence of their own, its truth relative to frame `start`.

        Raises:
            DataError: the window is empty or reaches outside of the sequence.
        """
        first = 0 if start is None else start
        last = len(self) if stop is None else stop
        if not 0 <= first < last <= len(self):
            raise DataError(
                f"--frames A:B needs 0 <= A < B <= {len(self)}, as {self.name} has {len(self)} frames; "
                f"got {'' if start is None else start}:{'' if stop is None else stop}"
            )
        return self if last - first == len(self) else _Window(self, first, last)

    def left_only(self) -> Sequence:
        """The same frames without the right camera or the depth."""
        return _LeftOnly(self) if self.rig.stereo or self.rig.depth else self


class _Window(Sequence):
    def __init__(self, whole: Sequence, start: int, stop: int) -> None:
        truth = None if whole.truth is None else relative_to_first(whole.truth[start:stop])
        super().__init__(whole.name, whole.rig, whole.stamps_ns[start:stop], truth)
        self._whole = whole
        self._start = start

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        return self._whole.frame(self._start + index)


class _LeftOnly(Sequence):
    def __init__(self, both: Sequence) -> None:
        super().__init__(both.name, Rig(both.rig.left), both.stamps_ns, both.truth)
        self._both = both

    def frame(self, index: int) -> Frame:
        frame = self._both.frame(index)
        return Frame(frame.stamp_ns, frame.image, self.rig)


def relative_to_first(poses: Array) -> Array:
    """T_first_camera (N, 4, 4) from T_anything_camera (N, 4, 4)."""
    relative: Array = invert(poses[0]) @ poses
    relative[0] = np.eye(4)
    return relative


def check_increasing(stamps_ns: tuple[int, ...], where: str) -> None:
    """Raises DataError unless the stamps are non-negative and strictly increasing."""
    if stamps_ns and stamps_ns[0] < 0:
        raise DataError(f"{where}: stamps must not be negative; the first is {stamps_ns[0]} ns")
    for index in range(1, len(stamps_ns)):
        if stamps_ns[index] <= stamps_ns[index - 1]:
            raise DataError(
                f"{where}: times must increase from frame to frame; frame {index} has {stamps_ns[index]} ns "
                f"after {stamps_ns[index - 1]} ns: sort the frames or drop the repeated ones"
            )
