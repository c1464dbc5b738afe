"""What the node says on /diagnostics: three entries, each OK, WARN or ERROR by the limits of DiagnosticsConfig.

`tracking` is about the pose, `images` about what comes in, `processing` about the time and the machine it takes. All
but the state itself is judged over the last seconds, so that a fault of one frame can still be read.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from subpx_ros.config import DiagnosticsConfig
from subpx_ros.datatypes import TrackingState
from subpx_ros.msg import OdometryStatus

_MOST_REASONS = 5
WINDOW_S = 5.0
_LATENCY_ERROR = 4.0
"""ERROR beyond so many times the limit of WARN."""

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_STATE_LEVELS = {
    TrackingState.INITIALISING: WARN,
    TrackingState.TRACKING: OK,
    TrackingState.DEGRADED: WARN,
    TrackingState.LOST: ERROR,
}


@dataclass(frozen=True)
class Machine:
    """What the odometry runs on."""

    device: str = "cpu"
    notes: tuple[str, ...] = ()
    """In what lasting way it does with less than was asked for."""
    gpu_used_mb: float = 0.0
    gpu_total_mb: float = 0.0
    """0 without a GPU."""


@dataclass(frozen=True)
class Heard:
    """What became of the messages on an input since the node was activated."""

    received: int
    refused: int
    trouble: str
    """What is wrong now, or was lately; empty where nothing is."""


@dataclass(frozen=True)
class _Event:
    """One status, and when it was published."""

    time_s: float
    status: OdometryStatus
    silent: bool

    @property
    def processed(self) -> bool:
        return bool(self.status.stage_names)


@dataclass
class _Entry:
    """A DiagnosticStatus in the making."""

    name: str
    values: dict[str, str] = field(default_factory=dict)
    findings: list[tuple[bytes, str]] = field(default_factory=list)

    def check(self, wrong: bool, text: str, level: bytes = WARN) -> None:
        if wrong:
            self.findings.append((level, text))

    def message(self, prefix: str, otherwise: str) -> DiagnosticStatus:
        worst_first = sorted(self.findings, key=lambda finding: finding[0], reverse=True)
        level = worst_first[0][0] if worst_first else OK
        text = "; ".join(text for _, text in worst_first) or otherwise
        status = DiagnosticStatus(level=level, name=f"{prefix}: {self.name}", message=text)
        status.values = [KeyValue(key=key, value=value) for key, value in self.values.items()]
        return status


class Diagnostics:
    """Hears every status; reports when asked. Any thread may call it."""

    def __init__(self, node_name: str, limits: DiagnosticsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            node_name: fully qualified, without the leading slash.
            limits: of WARN.
            clock: seconds that never go back.
        """
        self._node_name = node_name
        self._clock = clock
        self._lock = threading.Lock()
        self._events: deque[_Event] = deque()
        self._begin_s = clock()
        self.limits = limits

    def hear(self, status: OdometryStatus, *, silent: bool) -> None:
        """A status that was published; `silent`: because no images come."""
        with self._lock:
            self._events.append(_Event(self._clock(), status, silent))
            self._forget()

    def _forget(self) -> None:
        """Leaves the window, and always the newest event, which holds the state."""
        now_s = self._clock()
        while len(self._events) > 1 and now_s - self._events[0].time_s > WINDOW_S:
            self._events.popleft()

    def report(self, stamp: Time, machine: Machine, assumed: str = "", wheels: Heard | None = None) -> DiagnosticArray:
        """All entries.

        Args:
            stamp: now, by the node's clock.
            machine: what the odometry runs on.
            assumed: why the camera's place on the robot is not known; empty where it is.
            wheels: what became of the messages of the other odometry, where metres come from it.
        """
        with self._lock:
            self._forget()
            events = list(self._events)
            seconds = max(min(self._clock() - self._begin_s, WINDOW_S), 1e-3)
        array = DiagnosticArray()
        array.header.stamp = stamp
        entries = (
            (self._tracking(events, assumed, wheels), "tracking"),
            (self._images(events, seconds), "complete sets of images arrive"),
            (self._processing(events, seconds, machine), "keeps up"),
        )
        array.status = [entry.message(self._node_name, otherwise) for entry, otherwise in entries]
        return array

    def _tracking(self, events: list[_Event], assumed: str, wheels: Heard | None) -> _Entry:
        entry = _Entry("tracking")
        entry.check(bool(assumed), assumed)
        if wheels is not None:
            entry.check(bool(wheels.trouble), f"wheel odometry: {wheels.trouble}")
            entry.values |= {
                "wheel odometry received": _text(wheels.received),
                "wheel odometry refused": _text(wheels.refused),
            }
        if not events:
            entry.check(True, "no images yet")
            return entry
        latest = events[-1].status
        state = TrackingState(latest.state)
        level = _STATE_LEVELS[state]
        entry.check(level != OK, state.name + (f": {latest.reason}" if latest.reason else ""), level)
        processed = [event.status for event in events if event.processed]
        shares = [status.inliers / status.matches for status in processed if status.matches]
        share = _median(shares)
        least = self.limits.min_inlier_ratio
        entry.check(share is not None and share < least, f"inlier share {_text(share)}, limit {least:g}")
        entry.values |= {
            "state": state.name,
            "reason": latest.reason,
            "reasons lately": "; ".join(_last_reasons(events)),
            "time since good pose (s)": _text(latest.time_since_good_pose),
            "inlier share": _text(share),
            "inliers": _text(_median([status.inliers for status in processed])),
            "matches": _text(_median([status.matches for status in processed])),
            "keypoints": _text(_median([status.keypoints for status in processed])),
            "stereo matches": _text(_median([status.stereo_matches for status in processed])),
        }
        return entry

    def _images(self, events: list[_Event], seconds: float) -> _Entry:
        entry = _Entry("images")
        heard = [event.status for event in events if not event.silent]
        refused = [event.status for event in events if not event.silent and not event.processed]
        if not events or events[-1].silent:
            had_some = bool(events) and events[-1].status.frames_received > 0
            entry.check(True, events[-1].status.reason if events else "no images yet", ERROR if had_some else WARN)
        if refused:
            entry.check(True, f"{len(refused)} refused in {seconds:.0f} s, the last: {refused[-1].reason}")
        sync = _median([status.sync_difference for status in heard])
        most = self.limits.max_sync_difference_s
        entry.check(sync is not None and sync > most, f"stamps of a set differ by {_text(sync)} s, limit {most:g} s")
        received = _growth(events, "frames_received")
        entry.values |= {
            "received": _text(events[-1].status.frames_received if events else 0),
            "rate (Hz)": _text(received / seconds),
            "refused lately": _text(len(refused)),
            "stamp difference in a set (s)": _text(sync),
        }
        return entry

    def _processing(self, events: list[_Event], seconds: float, machine: Machine) -> _Entry:
        entry, limits = _Entry("processing"), self.limits
        for note in machine.notes:
            entry.check(True, note)
        processed = [event.status for event in events if event.processed]
        rate = len(processed) / seconds
        coming = bool(events) and not events[-1].silent
        entry.check(coming and rate < limits.min_rate_hz, f"{rate:.1f} Hz processed, limit {limits.min_rate_hz:g} Hz")
        latencies = [status.latency for status in processed]
        latency, most = _median(latencies), limits.max_latency_s
        if latency is not None and latency > most:
            level = ERROR if latency > _LATENCY_ERROR * most else WARN
            entry.check(True, f"latency {latency:.3f} s, limit {most:g} s", level)
        received, dropped = _growth(events, "frames_received"), _growth(events, "frames_dropped")
        refused = sum(1 for event in events[1:] if not event.silent and not event.processed)
        share = max(dropped - refused, 0) / received if received else 0.0
        entry.check(share > limits.max_drop_ratio, f"{share:.0%} dropped, limit {limits.max_drop_ratio:.0%}")
        memory = machine.gpu_used_mb / machine.gpu_total_mb if machine.gpu_total_mb else 0.0
        entry.check(memory > limits.max_gpu_memory_ratio, f"{memory:.0%} of the GPU's memory in use")
        entry.values |= {
            "device": machine.device,
            "processed": _text(events[-1].status.frames_processed if events else 0),
            "dropped": _text(events[-1].status.frames_dropped if events else 0),
            "rate (Hz)": _text(rate),
            "dropped share": _text(share),
            "latency, median (s)": _text(latency),
            "latency, largest (s)": _text(max(latencies, default=None)),
        }
        entry.values |= {f"{name} (ms)": _text(value) for name, value in _stage_medians(processed).items()}
        if machine.gpu_total_mb:
            entry.values["GPU memory in use (MiB)"] = _text(machine.gpu_used_mb)
            entry.values["GPU memory (MiB)"] = _text(machine.gpu_total_mb)
        return entry


def _last_reasons(events: list[_Event]) -> list[str]:
    """What was the matter within the window, each once, the newest last: it may be over before a report is due."""
    return list(dict.fromkeys(event.status.reason for event in reversed(events) if event.status.reason))[
        :_MOST_REASONS
    ][::-1]


def _growth(events: list[_Event], counter: str) -> int:
    """How much a counter of the status grew over the events."""
    return int(getattr(events[-1].status, counter) - getattr(events[0].status, counter)) if events else 0


def _stage_medians(statuses: list[OdometryStatus]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for status in statuses:
        for name, value in zip(status.stage_names, status.stage_milliseconds, strict=True):
            times.setdefault(name, []).append(value)
    return {name: float(np.median(values)) for name, values in times.items()}


def _median(values: list[Any]) -> float | None:
    return float(np.median(values)) if values else None


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
