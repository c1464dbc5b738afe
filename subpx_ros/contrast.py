"""Images of too little contrast, in the dark or in haze: stretched, and smoothed as far as their noise asks for.

An image of a twentieth of the light still shows what a bright one shows, but noise covers it, and thresholds that were
made for usual images take it for an even surface.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Frame

_SHARE = 0.01
"""Of the pixels that may be darker or brighter than what counts as contrast: lamps and reflections."""
_STEP = 4
"""Every so many pixels of a row and of a column are looked at for the contrast."""
_DARKEST, _BRIGHTEST = 64.0, 192.0
"""Where the ends of the contrast come to lie; beyond them is room for lamps."""
_NOTHING_SEEN = 8.0
"""Contrast over noise of an image that shows nothing else: six deviations hold 98 % of normal noise, and some margin."""
_WANTED = 70.0
"""Contrast over noise that smoothing aims at, as images in daylight have it."""
_WIDEST_PX = 1.5
"""Standard deviation of the smoothing at most: more would take away what keypoints stand on."""
_NARROWEST_PX = 0.3
"""Less does not change an image."""
_QUANTISATION = 0.29
"""Standard deviation of rounding to whole levels of grey: noise is never less."""
_MEDIAN_OF_NORMAL = 0.6745
"""Median absolute value of a standard normal variable."""
_LAPLACIANS = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]], dtype=np.float32)
"""The difference of two Laplacians, which is blind to planes of grey (Immerkaer, 1996); the length of its elements is 6."""


def made_visible(frame: Frame, least_contrast: float) -> Frame:
    """The frame itself, or with both images stretched in one way where the left one has too little contrast.

    Args:
        frame: as it came.
        least_contrast: grey levels between the darkest and the brightest hundredth of an image that is left as it is;
            0: every image is.
    """
    low, high = _ends(frame.image)
    contrast = high - low
    if contrast >= least_contrast or contrast <= 0.0:
        return frame
    noise = noise_level(frame.image)
    if contrast < _NOTHING_SEEN * noise:
        return frame
    sigma_px = min(smoothing_px(noise * _WANTED / contrast), _WIDEST_PX)
    gain = (_BRIGHTEST - _DARKEST) / contrast

    def stretched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        grey: NDArray[Any] = image.astype(np.float32)
        if sigma_px >= _NARROWEST_PX:
            grey = cv2.GaussianBlur(grey, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(np.clip(np.rint(_DARKEST + gain * (grey - low)), 0, 255), dtype=np.uint8)

    right = None if frame.right_image is None else stretched(frame.right_image)
    return replace(frame, image=stretched(frame.image), right_image=right)


def noise_level(image: NDArray[np.uint8]) -> float:
    """Standard deviation of the noise of an image (H, W), grey levels, from the median of what is no plane of grey."""
    if min(image.shape) < 3:
        return _QUANTISATION
    beyond = cv2.filter2D(image.astype(np.float32), -1, _LAPLACIANS)
    return float(max(np.median(np.abs(beyond)) / (_MEDIAN_OF_NORMAL * 6.0), _QUANTISATION))


def smoothing_px(reduction: float) -> float:
    """Standard deviation of the Gaussian that makes white noise smaller by a factor, at least about 1."""
    return reduction / (2.0 * np.sqrt(np.pi))


def _ends(image: NDArray[np.uint8]) -> tuple[float, float]:
    """The grey levels that a hundredth of the pixels are below, and above."""
    counts = np.bincount(image[::_STEP, ::_STEP].ravel(), minlength=256).cumsum()
    low, high = np.searchsorted(counts, [_SHARE * counts[-1], (1.0 - _SHARE) * counts[-1]])
    return float(low), float(high)
