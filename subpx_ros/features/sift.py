"""SIFT (Lowe, IJCV 2004) by OpenCV, with the Hellinger kernel of RootSIFT (Arandjelovic and Zisserman, CVPR 2012)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector


class SiftDetector(Detector):
    """Sub-pixel keypoints of scale-space extrema, descriptors of 128 values. One keypoint per position."""

    def reconfigure(self, config: FeatureConfig) -> None:
        super().reconfigure(config)
        options = {"nfeatures": config.max_keypoints, "contrastThreshold": config.detection_threshold}
        # OpenCV's type stubs leave SIFT out.
        create: Any = cv2.SIFT_create  # type: ignore[attr-defined]
        try:
            self._sift = create(enable_precise_upscale=True, **options)
            self._bias_px = 0.0
        except (TypeError, cv2.error):
            # OpenCV before 4.8 doubles the image with a shift of a quarter pixel and cannot be told not to.
            self._sift = create(**options)
            self._bias_px = 0.25

    def _detect(self, images: torch.Tensor) -> list[Features]:
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: torch.Tensor) -> Features:
        grey = (image * 255.0).round().byte().cpu().numpy()
        found, descriptors = self._sift.detectAndCompute(grey, None)
        positions = np.array([keypoint.pt for keypoint in found], dtype=np.float32).reshape(-1, 2) - self._bias_px
        scores = np.array([keypoint.response for keypoint in found], dtype=np.float32)
        # A position with several orientations is found several times; one of them is enough for upright cameras
        # and keeps matches unique.
        _, first = np.unique(positions, axis=0, return_index=True)
        first = first[np.argsort(-scores[first], kind="stable")][: self._config.max_keypoints]
        frames = np.array([(keypoint.size, keypoint.angle) for keypoint in found], dtype=np.float32).reshape(-1, 2)
        frames[:, 1] = np.deg2rad(frames[:, 1])
        root = np.sqrt(_l1_normalised(descriptors[first])) if len(first) else np.zeros((0, self.descriptor_size))
        arrays = (positions[first], scores[first], root.astype(np.float32), frames[first])
        keypoints, strength, described, frame = (torch.from_numpy(array).to(self._device) for array in arrays)
        return Features(keypoints, strength, described, image, scales=frame[:, 0], orientations=frame[:, 1])


def _l1_normalised(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    return descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
