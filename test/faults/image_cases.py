"""Raw images that do not fit their description, and images that show nothing."""

from __future__ import annotations

import array

import cv2
import numpy as np
from bench import Bench
from fault_case import HUGE, NO_POSE, Case, bad, paint, put
from shots import LEFT, RIGHT, Shot


def _shorter(shot: Shot) -> None:
    del shot[LEFT].data[100:]


LAYOUT_CASES = [
    bad("data shorter than its size", "image.* bytes", _shorter),
    bad("right data one byte short", "right image.* bytes", lambda shot: shot[RIGHT].data.pop()),
    bad("data longer than its size", "", lambda shot: shot[LEFT].data.extend(bytes(999))),
    bad("no data", "image.* bytes", put(LEFT, data=array.array("B"))),
    bad("zero width", "image.*0x240", put(LEFT, width=0, step=0)),
    bad("zero height", "image.*320x0", put(LEFT, height=0)),
    bad("zero step", "image.* step", put(LEFT, step=0)),
    bad("step shorter than a row", "image.* step", put(LEFT, step=100)),
    bad("huge step", "image.* bytes", put(LEFT, step=HUGE)),
    bad("huge size", "image", put(LEFT, width=HUGE, height=HUGE, step=HUGE)),
    bad("huge height with little data", "image", put(LEFT, height=2**31)),
    bad("unknown encoding", "encoding", put(LEFT, encoding="spectral7")),
    bad("empty encoding", "encoding", put(LEFT, encoding="")),
    bad("endless encoding", "encoding", put(LEFT, encoding="mono8" * 20_000)),
    bad("encoding with odd characters", "encoding", put(LEFT, encoding="mono8\n\u202e\U0001f4f7")),
    bad("floats as pixels", "encoding", put(LEFT, encoding="32FC1")),
    bad("colour with the data of grey", "image.* step", put(LEFT, encoding="bgr8")),
    bad("chroma pairs in an odd width", "even", put(LEFT, encoding="yuv422", width=159)),
    bad("1x1 image", "left image must be .* 320x240", put(LEFT, width=1, height=1, step=1)),
    bad(
        "image of another size than camera_info",
        "left image must be .* 320x240",
        put(LEFT, width=160, height=480, step=160),
    ),
    bad("right image smaller than the left", "right image must be .* 320x240", put(RIGHT, height=120)),
]


def _swap(shot: Shot) -> None:
    shot[LEFT].data, shot[RIGHT].data = shot[RIGHT].data, shot[LEFT].data


def _quarter_turn(bench: Bench) -> None:
    shot = bench.shot()
    paint(lambda pixels: cv2.resize(np.rot90(pixels).copy(), pixels.shape[::-1]))(shot)
    bench.play(shot)


def _frozen(bench: Bench) -> None:
    first = bench.shot()
    for _ in range(8):
        shot = bench.shot()
        shot[LEFT].data, shot[RIGHT].data = first[LEFT].data, first[RIGHT].data
        bench.play(shot)


_noise = np.random.default_rng(5)

CONTENT_CASES = [
    bad("all black", NO_POSE, paint(np.zeros_like)),
    bad("all white", NO_POSE, paint(lambda pixels: np.full_like(pixels, 255))),
    bad("saturated blink of one camera", NO_POSE, paint(lambda pixels: np.full_like(pixels, 255), RIGHT)),
    bad("pure noise", NO_POSE, paint(lambda pixels: _noise.integers(0, 256, pixels.shape))),
    bad("left and right swapped", NO_POSE, _swap),
    bad("one camera upside down", NO_POSE, paint(lambda pixels: pixels[::-1, ::-1], RIGHT)),
    bad(
        "stripes without end",
        NO_POSE,
        paint(lambda pixels: np.tile(np.arange(pixels.shape[1]) % 8 * 32, (len(pixels), 1))),
    ),
    bad("lens half covered", "", paint(lambda pixels: np.where(np.arange(pixels.shape[1]) < 160, 0, pixels))),
    bad("out of focus", "", paint(lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 6.0))),
    Case("90 degree flip in one frame", NO_POSE, _quarter_turn),
    Case("the same images again and again", "", _frozen),
]
