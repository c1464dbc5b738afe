"""One frame's matches drawn into its image: tracks, and how far refinement moved each keypoint."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array, OdometryResult, TrackingState

OFFSET_SCALE = 10.0
"""Offsets are fractions of a pixel: drawn so many times as long."""

_MOST_DRAWN = 250
_LEAST_WIDTH = 640
_LARGEST_FACTOR = 4
_SUBPIXEL_BITS = 4
_DOT = 4
# Okabe and Ito's colours as blue, green, red.
_TRACK, _OUTLIER, _OFFSET = (233, 180, 86), (167, 121, 204), (66, 228, 240)
_STATE_COLOURS = {
    TrackingState.INITIALISING: (178, 114, 0),
    TrackingState.TRACKING: (115, 158, 0),
    TrackingState.DEGRADED: (0, 159, 230),
    TrackingState.LOST: (0, 94, 213),
}


def draw_matches(image: NDArray[np.uint8], result: OdometryResult) -> NDArray[np.uint8]:
    """(H', W, 3) uint8 BGR: the image, enlarged where it is small, above a line that says how the odometry is doing.

    Blue lines lead from where an inlier was in the reference to where it is now; purple dots are matches that do not
    agree with the pose; yellow lines are the offsets of refinement, OFFSET_SCALE times as long. Of many matches an
    even selection is drawn, so that the image stays visible.

    Args:
        image: (H, W) uint8 grey, the left or only one of the frame.
        result: what the frame gave.
    """
    factor = min(max(1, round(_LEAST_WIDTH / image.shape[1])), _LARGEST_FACTOR)
    canvas = image.repeat(factor, axis=0).repeat(3 * factor, axis=1).reshape(image.shape[0] * factor, -1, 3)
    matches, inliers = result.matches, result.inliers
    agreeing, other = (_selection(np.flatnonzero(mask)) for mask in (inliers, ~inliers))

    before, now = _fixed(matches.refined0, factor), _fixed(matches.refined1, factor)
    offsets = matches.refined1 - matches.detected1
    tips = _fixed(matches.refined1 + OFFSET_SCALE * offsets, factor)
    _lines(canvas, now[other], now[other], _OUTLIER, _DOT)
    _lines(canvas, before[agreeing], now[agreeing], _TRACK)
    _lines(canvas, now[agreeing], tips[agreeing], _OFFSET)
    _lines(canvas, now[agreeing], now[agreeing], _TRACK, _DOT)
    lengths = np.linalg.norm(offsets[inliers], axis=1)
    return np.vstack([canvas, _caption(canvas.shape[1], result, float(np.median(lengths)) if len(lengths) else 0.0)])


def _selection(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    return indices[:: max(1, -(-len(indices) // _MOST_DRAWN))]


def _fixed(points: Array, factor: int) -> NDArray[np.int32]:
    """Pixels of the image (N, 2) as OpenCV's fixed-point coordinates in the enlarged one."""
    enlarged = (points + 0.5) * factor - 0.5
    return np.rint(enlarged * (1 << _SUBPIXEL_BITS)).clip(-(2**20), 2**20).astype(np.int32)


def _lines(
    canvas: NDArray[np.uint8],
    starts: NDArray[np.int32],
    ends: NDArray[np.int32],
    colour: tuple[int, int, int],
    thickness: int = 1,
) -> None:
    segments = np.stack([starts, ends], axis=1)
    if len(segments):
        cv2.polylines(canvas, list(segments), False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _caption(width: int, result: OdometryResult, offset_px: float) -> NDArray[np.uint8]:
    inliers = int(np.count_nonzero(result.relative_pose.inliers))
    text = f"{result.state.name}  {inliers} inliers of {len(result.matches)} matches"
    text += f", offsets x{OFFSET_SCALE:.0f}, median {offset_px:.2f} px" if offset_px > 0 else ""
    text += f": {result.reason}" if result.reason else ""
    bar = np.full((26, width, 3), _STATE_COLOURS[result.state], dtype=np.uint8)
    text = text.encode("ascii", "replace").decode()  # all that OpenCV's own font has
    cv2.putText(bar, text, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return bar
