"""ORB (Rublee et al., ICCV 2011) by OpenCV: corners over a pyramid with binary descriptors."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector

_SCALE_FACTOR = 1.2
_CANDIDATES = 4
"""Times the budget, spread over the pyramid by OpenCV, of which the strongest are kept."""


class OrbDetector(Detector):
    """Corners at whole pixels of their pyramid level. `detection_threshold` is FAST's, grey in [0, 1].

    The 256 bits of a descriptor become values of one size, so that the cosine similarity of two descriptors is one
    minus twice the share of bits that differ.
    """

    def reconfigure(self, config: FeatureConfig) -> None:
        super().reconfigure(config)
        self._orb = cv2.ORB_create(  # type: ignore[attr-defined]
            nfeatures=_CANDIDATES * config.max_keypoints,
            scaleFactor=_SCALE_FACTOR,
            fastThreshold=max(1, round(255 * config.detection_threshold)),
        )

    def _detect(self, images: torch.Tensor) -> list[Features]:
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: torch.Tensor) -> Features:
        grey = (image * 255.0).round().byte().cpu().numpy()
        found = sorted(self._orb.detect(grey, None), key=lambda keypoint: -keypoint.response)
        found, bits = self._orb.compute(grey, found[: self._config.max_keypoints])
        positions = np.array([keypoint.pt for keypoint in found], dtype=np.float32).reshape(-1, 2)
        levels = np.array([keypoint.octave for keypoint in found], dtype=np.int64)
        positions = _true_positions(positions, levels, grey.shape)
        signs = np.zeros((0, self.descriptor_size)) if bits is None else 2.0 * np.unpackbits(bits, axis=1) - 1.0
        responses = np.array([keypoint.response for keypoint in found], dtype=np.float32)
        arrays = (positions, responses, (signs / np.sqrt(self.descriptor_size)).astype(np.float32))
        keypoints, scores, descriptors = (torch.from_numpy(array).to(self._device) for array in arrays)
        return Features(keypoints, scores, descriptors, image)


def _true_positions(
    positions: NDArray[np.float32], levels: NDArray[np.int64], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Positions (N, 2) with their level's pixel centres in place, in an image of shape (H, W).

    OpenCV gives pixels of a level times its nominal scale; but levels have whole numbers of pixels, so that their true
    scale differs, and it is the corners of pixels that scaling keeps in place, not their centres.
    """
    nominal = _SCALE_FACTOR ** levels[:, None].astype(np.float64)
    size = np.array(shape[::-1])
    true = size / np.rint(size / nominal)
    return ((positions / nominal + 0.5) * true - 0.5).astype(np.float32)
