"""The node in a process of its own: its environment, start, death and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import yaml

from subpx_ros.errors import SubpxError

_STOP_S = 5.0
_DOMAINS = 100
"""Domain ids 1 to 100 keep clear of the default one and of the ports that the system hands out."""


@contextmanager
def ros_environment() -> Iterator[int]:
    """Variables that keep a ROS graph on this machine and apart from others, where the user did not set them.

    Yields the domain id. Processes started inside inherit all of it.
    """
    wanted = {
        "ROS_DOMAIN_ID": str(1 + os.getpid() % _DOMAINS),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "AMENT_PREFIX_PATH": sys.prefix,
    }
    added = {name: value for name, value in wanted.items() if not os.environ.get(name)}
    os.environ.update(added)
    try:
        yield _domain_id(os.environ["ROS_DOMAIN_ID"])
    finally:
        for name in added:
            os.environ.pop(name, None)


def _domain_id(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 232:
        raise SubpxError(f"ROS_DOMAIN_ID must be a number from 0 to 232; got '{text}'")
    return int(text)


class NodeProcess:
    """The node as a child process, from entering the block to leaving it."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """`parameters` by dotted names, as NodeParameters declares them."""
        self._parameters = dict(parameters)
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="subpx_node_")
        parameter_file = Path(self._folder.name) / "parameters.yaml"
        parameter_file.write_text(yaml.safe_dump({"/**": {"ros__parameters": self._parameters}}), encoding="utf-8")
        self._log = Path(self._folder.name) / "log.txt"
        command = [sys.executable, "-m", "subpx_ros.node_program", "--ros-args", "--params-file", str(parameter_file)]
        try:
            with self._log.open("wb") as log, _signals_held():
                # A session of its own: Ctrl-C reaches this process only, which then ends the node in order.
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self.stop()
        self._folder.cleanup()

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError("the node's process exists inside a with block only")
        return self._child

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Sends a signal and does not wait."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Sends the signal, waits, and kills what does not end in time. Returns the exit code, negative for a signal."""
        try:
            self.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        finally:
            self._process.kill()
        return self._process.wait()

    def check(self) -> None:
        """Raises SubpxError, with the end of its log, when the node is not running any more."""
        code = self._process.poll()
        if code is not None:
            raise SubpxError(f"the node ended early (exit code {code}): {self.last_words()}")

    def log(self) -> str:
        """What the node has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """The last lines that the node wrote, as one line."""
        lines = self.log().split("\n")
        return " | ".join([line.strip() for line in lines if line.strip()][-3:]) or "it wrote nothing"

    def peak_rss_mb(self) -> float | None:
        """Largest resident memory of the node so far, MiB; None where the system does not tell."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return None
        kilobytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(kilobytes[0]) / 1024.0 if kilobytes else None


@contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C takes effect after the block: in the middle of starting a child it would leave one that nobody knows.

    A child that starts inside has both signals held back too, until it is ready to take them.
    """
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    caught: list[int] = []
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # Another thread may receive them; Python then calls the handler in this one.
        previous = {number: signal.signal(number, lambda number, _: caught.append(number)) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in caught:
        signal.raise_signal(number)
