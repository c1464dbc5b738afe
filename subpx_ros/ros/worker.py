"""The worker: takes the newest set of images, runs the odometry, publishes. Callbacks only fill its slot."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from std_msgs.msg import Header

from subpx_ros.config import NodeConfig
from subpx_ros.datatypes import Frame, OdometryResult, TrackingState
from subpx_ros.errors import SubpxError
from subpx_ros.ros.diagnostics import Diagnostics
from subpx_ros.ros.health import Health
from subpx_ros.ros.intake import Arrival, Intake
from subpx_ros.ros.messages import ImageSet, stamp_to_ns
from subpx_ros.ros.outputs import Outputs
from subpx_ros.ros.parameters import Effective
from subpx_ros.ros.results import Account, status_message
from subpx_ros.ros.tracker import Tracker
from subpx_ros.ros.wheel_odometry import WheelOdometry

_THROTTLE_S = 5.0
_CHANGES_THROTTLE_S = 1.0
_SILENCE_S = 2.0
_BEATS_PER_REPORT = 2
"""Of two beats a second: /diagnostics goes out once a second."""


def converts_ahead(settings: NodeConfig, tracker: Tracker) -> bool:
    """What convert_ahead means on this machine."""
    return settings.convert_ahead == "on" or (settings.convert_ahead == "auto" and tracker.leaves_cores)


class Worker:
    """Works from when it is made until `stop`. Nothing that arrives ends it: what cannot be used is dropped and named."""

    def __init__(
        self,
        thread: Executor,
        tracker: Tracker,
        outputs: Outputs,
        diagnostics: Diagnostics,
        intake: Intake,
        logger: Any,
        alive: Callable[[], bool],
        wheels: WheelOdometry | None = None,
    ) -> None:
        """Args:
        thread: occupied until `stop`.
        tracker: used by that thread alone from now on, but for `ask_reset`.
        outputs: published to from that thread.
        diagnostics: hears every status.
        intake: where sets of images come from; closed by `stop`.
        logger: of the node.
        alive: False once ROS has shut down, when nothing can be published or logged any more.
        wheels: the other odometry, where one camera gets its metres from it.
        """
        self._tracker = tracker
        self._outputs = outputs
        self._diagnostics = diagnostics
        self._logger = logger
        self._alive = alive
        self._intake = intake
        self._wheels = wheels
        self._new_settings: deque[Effective] = deque(maxlen=1)
        self._speaking = threading.Lock()
        """Status comes from this thread, and while no images do from that of `beat`."""
        self._health = Health()
        self._assumed = ""
        """Why the camera's place on the robot is not known."""
        self._said: set[str] = set()
        """Notes that the status and the log have had already: diagnostics repeat them, these do not."""
        self._last_work_s: float | None = None
        self._beats = 0
        self._end = thread.submit(self._run)

    def put(self, images: ImageSet) -> None:
        """From the subscription's callback: stores and returns."""
        self._intake.put(images)

    def reconfigure(self, effective: Effective) -> None:
        """From any thread: settings that hold from the next frame on."""
        self._new_settings.append(effective)

    def stop(self) -> None:
        """Drops what waits, lets the frame in work finish and waits for it."""
        self._intake.close()
        self._end.result()

    def beat(self, header: Header, reason: str) -> None:
        """Twice a second, whatever comes in: status while no images come, and diagnostics once a second.

        Args:
            header: with the time of the node's clock.
            reason: why no images come, if none do.
        """
        with self._speaking:
            if self._silent():
                self._health_changes(self._health.silent, reason)
                self._say(header, reason, None, silent=True)
        self._beats += 1
        if self._beats % _BEATS_PER_REPORT == 0:
            heard = self._wheels.heard() if self._wheels is not None else None
            report = self._diagnostics.report(header.stamp, self._tracker.machine(), self._assumed, heard)
            self._outputs.publish_diagnostics(report)

    def _silent(self) -> bool:
        """Before the first set, and when the last one is some time ago."""
        counts = self._intake.counts
        if counts.waiting or counts.in_work:
            return False
        return self._last_work_s is None or time.monotonic() - self._last_work_s >= _SILENCE_S

    def _run(self) -> None:
        while (arrival := self._intake.take()) is not None and self._alive():
            frame, result, restarted = None, None, ""
            try:
                self._take_settings()
                frame = arrival.frame()
                if self._wheels is not None:
                    self._wheels.locate(arrival.images.header.frame_id)
                result, restarted = self._tracker.process(frame)
                reason = self._publish(result, restarted, arrival.images.header)
            except SubpxError as error:
                reason = str(error)
                self._warn(f"images dropped: {error}")
            except Exception as error:  # noqa: BLE001 - a defect in one frame must not end the node
                reason = f"{type(error).__name__}: {error}"
                self._warn(f"images dropped after a defect: {traceback.format_exc()}")
            self._last_work_s = time.monotonic()  # before `finish`, or a beat in between would find silence
            self._intake.finish(processed=result is not None)
            try:
                self._report(arrival, result, restarted, reason)
                self._show(frame, result, arrival.images.header)
            except Exception:  # noqa: BLE001 - as above, and ROS may shut down at any line
                self._warn(f"no status or pictures after a defect: {traceback.format_exc()}")
        self._take_settings()  # for the worker that follows

    def _take_settings(self) -> None:
        if self._new_settings:
            effective = self._new_settings.pop()
            self._tracker.reconfigure(effective.config)
            self._outputs.reconfigure(effective.node)
            self._diagnostics.limits = effective.node.diagnostics
            self._intake.ahead = converts_ahead(effective.node, self._tracker)

    def _publish(self, result: OdometryResult, restarted: str, header: Header) -> str:
        """Everything but status and pictures. Returns what the status has to say."""
        if restarted:
            self._outputs.restart()
        self._assumed = self._outputs.publish(result, header, self._tracker.names)
        new = [note for note in (self._assumed, *self._tracker.notes) if note and note not in self._said]
        for note in new:
            self._said.add(note)
            self._logger.warning(note)
        why = "" if restarted and result.located else result.reason  # that it is the first frame goes without saying
        return "; ".join(text for text in (restarted, why, *new) if text)

    def _report(self, arrival: Arrival, result: OdometryResult | None, restarted: str, reason: str) -> None:
        if not self._alive():
            return
        header = arrival.images.header
        stamp_ns = stamp_to_ns(header.stamp)
        with self._speaking:
            self._health_changes(lambda: self._update_health(stamp_ns, result, bool(restarted)), reason)
            self._say(header, reason, result, arrival=arrival)

    def _update_health(self, stamp_ns: int, result: OdometryResult | None, restarted: bool) -> None:
        if result is None:
            self._health.refused(stamp_ns)
        else:
            found = result.located and not result.bridged
            self._health.processed(stamp_ns, result.state, located=found, restarted=restarted)

    def _show(self, frame: Frame | None, result: OdometryResult | None, header: Header) -> None:
        if frame is not None and result is not None and self._alive():
            self._outputs.show(result, frame.image, header)

    def _say(
        self,
        header: Header,
        reason: str,
        result: OdometryResult | None,
        *,
        arrival: Arrival | None = None,
        silent: bool = False,
    ) -> None:
        health = self._health
        stamp_ns = stamp_to_ns(header.stamp) if arrival else None
        account = Account(health.state, reason, self._intake.counts, health.since_good_s(stamp_ns), health.last_good_ns)
        message = status_message(header, account, result)
        if arrival is not None:
            message.sync_difference = arrival.images.sync_difference_s
            message.latency = time.monotonic() - arrival.time_s
        self._outputs.publish_status(message)
        self._diagnostics.hear(message, silent=silent)

    def _health_changes(self, change: Callable[[], None], reason: str) -> None:
        """A line in the log when the state changes with it."""
        before = self._health.state
        change()
        state = self._health.state
        if state is before:
            return
        text = f"{before.name} -> {state.name}" + (f": {reason}" if reason else "")
        # rclpy ties severity and throttling to the line that logs.
        if state is TrackingState.LOST:
            self._logger.warning(text, throttle_duration_sec=_CHANGES_THROTTLE_S)
        else:
            self._logger.info(text, throttle_duration_sec=_CHANGES_THROTTLE_S)

    def _warn(self, text: str) -> None:
        if self._alive():
            self._logger.warning(text, throttle_duration_sec=_THROTTLE_S)
