"""The worker thread: takes the newest set of images, runs the odometry, publishes. Callbacks only fill its slot."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from std_msgs.msg import Header

from subpx_ros.datatypes import OdometryResult, TrackingState
from subpx_ros.errors import SubpxError
from subpx_ros.ros.messages import ImageSet, frame_from_messages, stamp_to_ns
from subpx_ros.ros.outputs import Outputs
from subpx_ros.ros.results import status_message
from subpx_ros.ros.slot import Slot
from subpx_ros.ros.tracker import Tracker

_THROTTLE_S = 5.0
_SILENCE_S = 2.0


class Worker:
    """One thread between `start` and `stop`. Nothing that arrives ends it: what cannot be used is dropped and named."""

    def __init__(
        self, tracker: Tracker, outputs: Outputs, keep_all: bool, logger: Any, alive: Callable[[], bool]
    ) -> None:
        """Args:
        tracker: used by this thread alone from now on, but for `ask_reset`.
        outputs: published to from this thread.
        keep_all: process every set in order instead of the newest.
        logger: of the node.
        alive: False once ROS has shut down, when nothing can be published or logged any more.
        """
        self._tracker = tracker
        self._outputs = outputs
        self._logger = logger
        self._alive = alive
        self._slot: Slot[ImageSet] = Slot(keep_all)
        self._state = TrackingState.INITIALISING
        self._last_good_ns: int | None = None
        self._last_good_s: float | None = None
        self._last_work_s: float | None = None
        self._thread = threading.Thread(target=self._run, name="odometry", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, images: ImageSet) -> None:
        """From the subscription's callback: stores and returns."""
        self._slot.put(images)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Drops what waits, lets the frame in work finish and joins. False when the timeout came first."""
        self._slot.close()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def publish_silence(self, header: Header, reason: str) -> None:
        """Status while no images come: before the first set, and when the last one is some time ago."""
        counts = self._slot.counts
        busy = counts.waiting or counts.in_work
        if busy or (self._last_work_s is not None and time.monotonic() - self._last_work_s < _SILENCE_S):
            return
        # Nothing says that images are stamped by the clock that runs here, so this time is measured without stamps.
        since_s = None if self._last_good_s is None else time.monotonic() - self._last_good_s
        self._outputs.publish_status(status_message(None, header, counts, reason, since_s))

    def _run(self) -> None:
        while (images := self._slot.take()) is not None and self._alive():
            result = None
            try:
                result, reason = self._process(images)
            except SubpxError as error:
                reason = str(error)
                self._warn(f"images dropped: {error}")
            except Exception as error:  # noqa: BLE001 - a defect in one frame must not end the node
                reason = f"{type(error).__name__}: {error}"
                self._warn(f"images dropped after a defect: {traceback.format_exc()}")
            self._slot.finish(processed=result is not None)
            self._last_work_s = time.monotonic()
            try:
                self._report(images.header, result, reason)
            except Exception:  # noqa: BLE001 - as above, and ROS may shut down at any line
                self._warn(f"no status after a defect: {traceback.format_exc()}")

    def _process(self, images: ImageSet) -> tuple[OdometryResult, str]:
        """What the images gave, published, and why the state is not TRACKING or the odometry started again."""
        result, restarted = self._tracker.process(frame_from_messages(images))
        if restarted:
            self._outputs.clear_path()
        self._outputs.publish(result, images.header, self._tracker.names)
        tracking = result.state is TrackingState.TRACKING
        return result, restarted or ("" if tracking else result.relative_pose.reason)

    def _report(self, header: Header, result: OdometryResult | None, reason: str) -> None:
        """Status, and a line in the log when the state changed."""
        if not self._alive():
            return
        if result is not None:
            if result.state in (TrackingState.TRACKING, TrackingState.DEGRADED):
                self._last_good_ns, self._last_good_s = stamp_to_ns(header.stamp), time.monotonic()
            self._log_change(result.state, reason)
        counts = self._slot.counts
        last_ns = self._last_good_ns
        since_s = None if last_ns is None else (stamp_to_ns(header.stamp) - last_ns) * 1e-9
        self._outputs.publish_status(status_message(result, header, counts, reason, since_s))

    def _log_change(self, state: TrackingState, reason: str) -> None:
        if state is self._state:
            return
        text = f"{self._state.name} -> {state.name}" + (f": {reason}" if reason else "")
        self._state = state
        # rclpy ties a severity to the line that logs.
        if state is TrackingState.LOST:
            self._logger.warning(text)
        else:
            self._logger.info(text)

    def _warn(self, text: str) -> None:
        if self._alive():
            self._logger.warning(text, throttle_duration_sec=_THROTTLE_S)
