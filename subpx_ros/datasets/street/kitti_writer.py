"""Any stereo or mono sequence as a folder in KITTI's layout."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.sequence import Sequence
from subpx_ros.datatypes import Camera
from subpx_ros.errors import DataError

WORKERS = 2


def write_kitti_sequence(
    sequence: Sequence,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    reopen: Callable[[], Sequence] | None = None,
    processes: int = 1,
) -> None:
    """Write image_0, image_1, calib.txt, times.txt and, where the truth is known, poses.txt.

    The folder appears under its name when it is complete.

    Args:
        sequence: what is written.
        folder: not there yet.
        progress: told how many frames are done, out of how many.
        reopen: gives the same sequence again, in another process; it must survive pickling. Needed for processes.
        processes: how many make frames at the same time; one makes two at a time.

    Raises:
        DataError: `folder` is there already or cannot be written, or a process was ended.
    """
    if folder.exists():
        raise DataError(
            f"a KITTI sequence is written into a new folder; {folder} is there already: remove or rename it"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise DataError(
            f"cannot write into {folder.parent}: {error.strerror}: name a folder that can be written"
        ) from None
    try:
        _write_tables(sequence, beside)
        _write_images(sequence, beside, progress, reopen if processes > 1 else None, processes)
        beside.chmod(0o755)
        os.replace(beside, folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror}: is the disk full?") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_tables(sequence: Sequence, folder: Path) -> None:
    rig = sequence.rig
    projections = [_projection(rig.left, 0.0)]
    if rig.right is not None and rig.baseline_m is not None:
        projections.append(_projection(rig.right, rig.baseline_m))
    rows = [f"P{index}: {_numbers(matrix)}" for index, matrix in enumerate(projections)]
    _write_lines(folder / "calib.txt", rows)
    _write_lines(folder / "times.txt", [f"{stamp // 10**9}.{stamp % 10**9:09d}" for stamp in sequence.stamps_ns])
    if sequence.truth is not None:
        _write_lines(folder / "poses.txt", [_numbers(pose[:3]) for pose in sequence.truth])


def _projection(camera: Camera, baseline_m: float) -> NDArray[np.float64]:
    return np.column_stack([camera.matrix, [-camera.fx * baseline_m, 0.0, 0.0]])


def _numbers(matrix: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.17g}" for value in matrix.ravel())


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _write_images(
    sequence: Sequence,
    folder: Path,
    progress: Callable[[int, int], None],
    reopen: Callable[[], Sequence] | None,
    processes: int,
) -> None:
    for camera in range(2 if sequence.rig.stereo else 1):
        (folder / f"image_{camera}").mkdir()
    with _pool(sequence, folder, reopen, processes) as (pool, write):
        try:
            for done, _ in enumerate(pool.map(write, range(len(sequence))), start=1):
                progress(done, len(sequence))
        except BrokenProcessPool:
            raise DataError("a process that made images was ended (out of memory?): use fewer processes") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _pool(
    sequence: Sequence, folder: Path, reopen: Callable[[], Sequence] | None, processes: int
) -> Iterator[tuple[Executor, Callable[[int], None]]]:
    """Threads that share the sequence, or processes with one of their own; and what writes a frame there."""
    if reopen is None:
        with ThreadPoolExecutor(WORKERS) as threads:
            yield threads, partial(_write_frame, sequence, folder)
        return
    # Spawned, not forked: libraries with threads of their own do not survive a fork.
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_open_own, initargs=(reopen, folder)) as pool:
        yield pool, _write_own


_own: list[Callable[[int], None]] = []
"""In a process of the pool: what writes a frame."""


def _open_own(reopen: Callable[[], Sequence], folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted run is ended by its first process
    _own[:] = [partial(_write_frame, reopen(), folder)]


def _write_own(index: int) -> None:
    _own[0](index)


def _write_frame(sequence: Sequence, folder: Path, index: int) -> None:
    frame = sequence.frame(index)
    _write_png(folder / "image_0" / f"{index:06d}.png", frame.image)
    if frame.right_image is not None:
        _write_png(folder / "image_1" / f"{index:06d}.png", frame.right_image)


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    import cv2

    encoded, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise DataError(f"could not encode {path.name} as PNG")
    path.write_bytes(data.tobytes())
