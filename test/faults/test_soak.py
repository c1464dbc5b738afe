"""A long drive: memory, threads and open files stay what they were."""

from __future__ import annotations

import shots
from bench import STATUS, bench
from rclpy.context import Context
from scale import LONG, record
from vitals import vitals

_FRAMES, _WARM, _GROWTH = (3000, 300, 1.02) if LONG else (120, 40, 1.05)
"""The bar is 2 % from frame 300 on; in so short a time, allocators have not settled."""


def test_nothing_grows(context: Context) -> None:
    with bench(context, shots.stereo, {"refiner": "subpx"}) as node:
        for index in range(_FRAMES):
            node.play(node.shot())
            if index == _WARM:
                before = vitals(node.process.pid)
            if index % 100 == 99:
                node.check_outputs()
                for topic, messages in node.listener.received.items():
                    del messages[: -1 if topic == STATUS else None]
        after = vitals(node.process.pid)
        growth = after.rss_mb / before.rss_mb
        record(f"memory growth, frame {_WARM} to {_FRAMES}", 100.0 * (growth - 1.0), "%", "< 2")
        record("threads more after the soak", after.threads - before.threads, "", "0")
        record("files more after the soak", after.files - before.files, "", "0")
        assert growth < _GROWTH
        assert (after.threads, after.files) == (before.threads, before.files)
