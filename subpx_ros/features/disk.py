"""DISK (Tyszkiewicz, Fua and Trulls, NeurIPS 2020): kornia's network with the published weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import normalize

from subpx_ros import weights
from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector, local_maxima, pad_to_multiple, strongest

_STRIDE = 16
_NMS_RADIUS = 2


class DiskDetector(Detector):
    """Keypoints at integer pixels, descriptors of 128 values of the map at full resolution."""

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        from kornia.feature import DISK

        super().__init__(config, device, report)
        network = DISK()
        tensors, source = weights.load_chosen(config.weights, "disk", report)
        weights.load_into(network, tensors, source)
        self._network = network.eval().to(device)

    def _detect(self, images: torch.Tensor) -> list[Features]:
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images[:, None], _STRIDE).expand(-1, 3, -1, -1)
        score_maps, descriptors = self._network.heatmap_and_dense_descriptors(padded)
        score_maps = score_maps[..., :height, :width]
        masks = local_maxima(score_maps, _NMS_RADIUS, self._config.detection_threshold)
        return [self._select(*maps) for maps in zip(images, score_maps[:, 0], masks[:, 0], descriptors, strict=True)]

    def _select(
        self, image: torch.Tensor, score_map: torch.Tensor, mask: torch.Tensor, descriptors: torch.Tensor
    ) -> Features:
        rows, columns = mask.nonzero(as_tuple=True)
        best = strongest(score_map[rows, columns], self._config.max_keypoints)
        rows, columns = rows[best], columns[best]
        keypoints = torch.stack([columns, rows], dim=1).float()
        described = normalize(descriptors[:, rows, columns].T, dim=1)
        return Features(keypoints, score_map[rows, columns], described, image, score_map)
