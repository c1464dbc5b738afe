"""camera_info that cannot be, and camera_info that changes."""

from __future__ import annotations

import array
import math

from bench import Bench
from fault_case import HUGE, NO_POSE, Case, bad, every, filled, projection, put
from shots import LEFT_INFO, RIGHT_INFO, Shot, infos_of

_BOTH = (LEFT_INFO, RIGHT_INFO)


def _crop(shot: Shot) -> None:
    for info in infos_of(shot):
        info.roi.width, info.roi.height, info.roi.x_offset = 100, 100, 50


def _zoom(bench: Bench) -> None:
    """Every set has a focal length of its own."""
    for step in range(1, 4):
        shot = bench.shot()
        for info in infos_of(shot):
            info.p[0] = info.p[5] = 260.0 + 5.0 * step
        bench.play(shot)


CALIBRATION_CASES = [
    bad("NaN in K and P", "camera_info.* finite", filled(k=math.nan, p=math.nan)),
    bad("infinity in P", "camera_info.* finite", projection(2, math.inf)),
    bad("K and P all zeros", "uncalibrated", filled(k=0.0, p=0.0)),
    bad("singular P", "focal", projection(0, 0.0)),
    bad("negative focal length", "focal", projection(0, -260.0)),
    bad("P of enormous numbers", "camera_info", filled(p=1e300)),
    bad("P with a third row of zeros", "projection", projection(10, 0.0)),
    bad("skewed P", "projection", projection(1, 50.0)),
    bad("negative baseline", "baseline", projection(3, 52.0, RIGHT_INFO)),
    bad("no baseline", "baseline", projection(3, 0.0, RIGHT_INFO)),
    bad("infinite baseline", "camera_info.* finite", projection(3, -math.inf, RIGHT_INFO)),
    bad("focal lengths that differ", "rectified", projection(0, 130.0, RIGHT_INFO)),
    bad("right camera above the left", "x axis", projection(7, -52.0, RIGHT_INFO)),
    bad("principal point far outside", "calibration|" + NO_POSE, projection(2, 1e7)),
    bad("camera_info of zero size, which leaves it to the image", "", every(_BOTH, width=0, height=0)),
    bad("camera_info of huge size", "Mpx", every(_BOTH, width=HUGE, height=HUGE)),
    bad("camera_info of another size", "640x480", every(_BOTH, width=640, height=480)),
    bad("camera_infos of two sizes", "640x240", put(RIGHT_INFO, width=640)),
    bad("binned images", "binn", every(_BOTH, binning_x=2, binning_y=2)),
    bad("cropped images", "region of interest", _crop),
    bad("endless distortion of rectified images", "", every(_BOTH, d=array.array("d", [0.1] * 10_000))),
    bad("unknown distortion of rectified images", "", every(_BOTH, distortion_model="lens\nof glass")),
    Case("camera_info that changes", "calibration", _zoom),
]
