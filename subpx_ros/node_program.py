"""The program of the node: it minds SIGINT and SIGTERM before it imports anything large.

A thread waits for them, so that they are heard whatever the main thread is in: an import, a model that loads, a
network. The main thread then ends in order; where that takes too long, or nothing runs yet, the process just ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from subpx_ros.errors import SubpxError
from subpx_ros.memory import keep_freed_memory
from subpx_ros.processors import sleep_at_barriers

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ORDERLY_S = 1.5


class StopSignal:
    """Hears the first SIGINT or SIGTERM of the process; later ones change nothing. Made in the main thread."""

    def __init__(self) -> None:
        self._action: Callable[[], None] | None = None
        self._pipe, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._wait, name="signals", daemon=True).start()
        # Whoever started this process may have held them back until now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def then(self, action: Callable[[], None]) -> None:
        """From now on a signal calls `action`, in another thread, which is to make the main thread end soon."""
        self._action = action

    def _wait(self) -> None:
        os.read(self._pipe, 1)
        if self._action is not None:
            self._action()
            time.sleep(_ORDERLY_S)
        _end(0)


def main(args: list[str] | None = None) -> NoReturn:
    """Runs the node and ends the process: code 0 after SIGINT or SIGTERM, 2 when the node cannot start."""
    stop = StopSignal()
    keep_freed_memory()
    sleep_at_barriers()
    try:
        from subpx_ros.ros.node import run

        code = run(args, stop.then)
    except SubpxError as error:
        print(f"subpx_odometry: {error}", file=sys.stderr)
        code = 2
    _end(code)


def _end(code: int) -> NoReturn:
    """Without taking the interpreter down, which lasts seconds on a busy machine once torch is in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
