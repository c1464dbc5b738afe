"""What the node may claim about its odometry: the state, and since when there was no pose."""

from __future__ import annotations

import time

from subpx_ros.datatypes import TrackingState


class Health:
    """Follows the state over processed, refused and missing images. One thread at a time may call it."""

    def __init__(self) -> None:
        self.state = TrackingState.INITIALISING
        self.last_good_ns: int | None = None
        """Stamp of the last frame that had a pose; None before the first, also after a new start."""
        self._last_good_s = 0.0

    def processed(self, stamp_ns: int, state: TrackingState, *, located: bool, restarted: bool) -> None:
        """A frame went through the odometry."""
        if restarted:
            self.last_good_ns = None
        if located and state is not TrackingState.INITIALISING:
            self.last_good_ns, self._last_good_s = stamp_ns, time.monotonic()
        self.state = state

    def refused(self, stamp_ns: int) -> None:
        """Images could not be used. They cost nothing where their stamp has a pose already, as with duplicates."""
        if self.last_good_ns is None or stamp_ns != self.last_good_ns:
            self.silent()

    def silent(self) -> None:
        """No images come, or none that can be used."""
        self.state = TrackingState.INITIALISING if self.last_good_ns is None else TrackingState.LOST

    def since_good_s(self, stamp_ns: int | None = None) -> float | None:
        """Time since the last pose: by stamps where one is given that is not older, else by the clock. None before it."""
        if self.last_good_ns is None:
            return None
        if stamp_ns is not None and stamp_ns >= self.last_good_ns:
            return (stamp_ns - self.last_good_ns) * 1e-9
        # Nothing says that images are stamped by the clock that runs here.
        return time.monotonic() - self._last_good_s
