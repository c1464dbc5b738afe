"""ALIKED (Zhao et al., IEEE TIM 2023): kornia's network with the published weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from subpx_ros import weights
from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector


class AlikedDetector(Detector):
    """Sub-pixel keypoints by a soft-argmax of the score map; variants t16, n16, n32 and n16rot (rotated in training)."""

    exports_any_size = False

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        from kornia.feature.aliked import ALIKED

        # A threshold of zero selects the strongest maxima; weak ones are dropped below. (With a threshold kornia
        # falls back to the mean score where nothing exceeds it, and a black image would be full of keypoints.)
        network = ALIKED(config.detector, max_num_keypoints=config.max_keypoints, detection_threshold=0.0)
        tensors, source = weights.load_chosen(config.weights, config.detector, report)
        weights.load_into(network, tensors, source, constants=("dkd.hw_grid",))
        self._network = network.eval().to(device)
        super().__init__(config, device, report)

    def reconfigure(self, config: FeatureConfig) -> None:
        super().reconfigure(config)
        self._network.dkd.top_k = config.max_keypoints

    def _detect(self, images: torch.Tensor) -> list[Features]:
        height, width = images.shape[-2:]
        dense, score_maps = self._network.extract_dense_map(images[:, None].expand(-1, 3, -1, -1))
        keypoints, scores, _ = self._network.dkd(score_maps)
        descriptors, _ = self._network.desc_head(dense, keypoints)
        half_size = torch.tensor([width - 1, height - 1], device=images.device) / 2
        features = []
        for i, image in enumerate(images):
            strong = scores[i] > self._config.detection_threshold
            pixels = (keypoints[i][strong] + 1.0) * half_size
            features.append(Features(pixels, scores[i][strong], descriptors[i][strong], image, score_maps[i, 0]))
        return features
