"""What converting ahead is worth where the networks leave the processor alone, as on a GPU.

    python tools/measure_convert_ahead.py [MILLISECONDS]

The odometry is replaced by a wait of that many milliseconds (25), the images are two views of the rendered street, which
come half as fast again as the node could take them without converting ahead. On and off in turns. `subpx bench throughput`
measures the same with a real node.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
from statistics import median

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from subpx_ros.console import table
from subpx_ros.datasets import open_sequence
from subpx_ros.ros.intake import Intake
from subpx_ros.ros.messages import (
    ImageSet,
    camera_info_messages,
    compressed_image_message,
    frame_from_messages,
    image_message,
    stamp_from_ns,
)

_FRAMES, _ROUNDS = 60, 4
_OVERLOAD = 1.5
_DISTORTION = [-0.05, 0.01, 0.0, 0.0, 0.0]


def kinds() -> dict[str, ImageSet]:
    """Image sets by the name of their kind."""
    frame = open_sequence("demo", frames=(0, 2)).frame(0)
    header = Header(stamp=stamp_from_ns(1))
    infos = camera_info_messages(frame.rig, header, header)
    bent = [copy.copy(info) for info in infos if info is not None]
    for info in bent:
        info.d = list(_DISTORTION)
    assert frame.right_image is not None
    views = (frame.image, frame.right_image)
    raw: list[Image] = [image_message(view, header) for view in views]
    png = [compressed_image_message(view, header) for view in views]
    return {
        "grey": ImageSet(raw[0], infos[0], raw[1], infos[1]),
        "unrectified": ImageSet(raw[0], bent[0], raw[1], bent[1], rectify=True),
        "compressed": ImageSet(png[0], infos[0], png[1], infos[1]),
        "compressed-unrectified": ImageSet(png[0], bent[0], png[1], bent[1], rectify=True),
    }


def conversion_s(images: ImageSet) -> float:
    times = []
    for _ in range(20):
        start_s = time.monotonic()
        frame_from_messages(images)
        times.append(time.monotonic() - start_s)
    return median(times)


def play(images: ImageSet, ahead: bool, work_s: float, period_s: float) -> tuple[float, float]:
    """Frames per second, and the median latency in ms."""
    intake = Intake(keep_all=False, ahead=ahead)
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(period_s):
            intake.put(copy.copy(images))

    sender = threading.Thread(target=send)
    sender.start()
    latencies_ms = []
    start_s = time.monotonic()
    for _ in range(_FRAMES):
        arrival = intake.take()
        assert arrival is not None
        arrival.frame()
        time.sleep(work_s)
        latencies_ms.append(1e3 * (time.monotonic() - arrival.time_s))
        intake.finish(processed=True)
    seconds = time.monotonic() - start_s
    stop.set()
    sender.join()
    intake.close()
    return _FRAMES / seconds, median(latencies_ms)


def main() -> None:
    work_s = 1e-3 * float(sys.argv[1]) if len(sys.argv) > 1 else 0.025
    rows = []
    for name, images in kinds().items():
        lasts_s = conversion_s(images)
        period_s = (work_s + lasts_s) / _OVERLOAD
        rounds = [[play(images, ahead, work_s, period_s) for ahead in (False, True)] for _ in range(_ROUNDS)]
        off, on = ([median(each[side][figure] for each in rounds) for figure in (0, 1)] for side in (0, 1))
        cells = [1e3 * lasts_s, off[0], on[0], on[0] / off[0], off[1], on[1], on[1] / off[1]]
        rows.append((name, *(f"{cell:.2f}" for cell in cells)))
    columns = ("images", "conversion (ms)", "frames/s off", "on", "ratio", "latency (ms) off", "on", "ratio")
    table(f"odometry: a wait of {1e3 * work_s:g} ms", columns, rows)


if __name__ == "__main__":
    main()
