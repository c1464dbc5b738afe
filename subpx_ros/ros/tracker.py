"""The odometry as the node runs it: when it starts again, and why."""

from __future__ import annotations

import threading
from collections.abc import Callable

from subpx_ros.config import Config
from subpx_ros.datatypes import Frame, OdometryResult, Rig
from subpx_ros.errors import DataError
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.ros.results import Names


class Tracker:
    """A VisualOdometry that starts again when the calibration changes, time goes back, or somebody asks for it."""

    def __init__(self, config: Config, report: Callable[[str], None]) -> None:
        """Loads the models; the cameras become known with the first frame.

        Raises:
            SubpxError: a model, its weights or the device cannot be had.
        """
        self._config = config
        self._front_end = FrontEnd(config, report)
        self._odometry: VisualOdometry | None = None
        self._rig: Rig | None = None
        self._last_stamp_ns: int | None = None
        self._reset_asked = threading.Event()

    @property
    def names(self) -> Names:
        front = self._front_end
        return Names(front.detector.name, front.matcher.name, front.refiner.name)

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return self._front_end.device.type

    def forget(self) -> None:
        """Back to the state without any frame, while nobody else uses the tracker."""
        self._odometry = self._rig = self._last_stamp_ns = None
        self._reset_asked.clear()

    def ask_reset(self) -> None:
        """From any thread: the next frame becomes the first one."""
        self._reset_asked.set()

    def process(self, frame: Frame) -> tuple[OdometryResult, str]:
        """The result, and why the odometry started again with this frame, else an empty text. For one thread.

        Raises:
            DataError: the frame has the stamp of the one before.
        """
        why = self._why_restart(frame)
        if self._odometry is None or frame.rig != self._rig:
            self._odometry = VisualOdometry(self._config, frame.rig, front_end=self._front_end)
            self._rig = frame.rig
        elif why:
            self._odometry.reset()
        self._last_stamp_ns = frame.stamp_ns
        return self._odometry.process(frame), why

    def _why_restart(self, frame: Frame) -> str:
        if self._reset_asked.is_set():
            self._reset_asked.clear()
            return "reset on request"
        if self._last_stamp_ns is None:
            return ""
        if frame.rig != self._rig:
            return "started again: the calibration or the image size changed"
        if frame.stamp_ns < self._last_stamp_ns:
            return f"started again: stamps went back by {(self._last_stamp_ns - frame.stamp_ns) * 1e-9:.3f} s"
        if frame.stamp_ns == self._last_stamp_ns:
            raise DataError(f"a frame with this stamp was there before ({frame.stamp_ns} ns)")
        return ""
