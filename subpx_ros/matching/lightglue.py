"""LightGlue (Lindenberger, Sarlin and Pollefeys, ICCV 2023): kornia's network with the published weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from subpx_ros import weights
from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.errors import ConfigError
from subpx_ros.features.detector import Detector
from subpx_ros.matching.matcher import Matcher

_CHECKPOINTS = {"aliked-n16": "lightglue-aliked"}
_NO_DOWNLOAD: Any = None
"""As the name of the features this keeps kornia from fetching weights, which its type hints do not know."""


class LightGlueMatcher(Matcher):
    """Matches by a transformer over both sets of features; trained for one detector."""

    def __init__(
        self, config: MatchingConfig, detector: Detector, device: torch.device, report: Callable[[str], None]
    ) -> None:
        from kornia.feature import LightGlue

        if detector.name not in _CHECKPOINTS:
            raise ConfigError(
                f"LightGlue has no weights for the detector {detector.name}; it works with {', '.join(_CHECKPOINTS)}: "
                "choose one of these, or the matcher mutual_nn"
            )
        name = _CHECKPOINTS[detector.name]
        network = LightGlue(_NO_DOWNLOAD, input_dim=detector.descriptor_size, filter_threshold=config.min_confidence)
        tensors = {_kornia_name(key): tensor for key, tensor in weights.load_known(name, report).items()}
        weights.load_into(network, tensors, name, constants=("confidence_thresholds",))
        self._network = network.eval().to(device)
        super().__init__(config, detector, device, report)

    def reconfigure(self, config: MatchingConfig) -> None:
        super().reconfigure(config)
        self._network.conf.filter_threshold = config.min_confidence

    def _match(self, features0: Features, features1: Features) -> Matches:
        found = self._network({"image0": _view(features0), "image1": _view(features1)})
        pairs = found["matches"][0]
        return Matches(pairs[:, 0], pairs[:, 1], found["scores"][0])


def _view(features: Features) -> dict[str, torch.Tensor]:
    height, width = features.image.shape
    return {
        "keypoints": features.keypoints[None],
        "descriptors": features.descriptors[None],
        "image_size": torch.tensor([[width, height]], device=features.keypoints.device),
    }


def _kornia_name(key: str) -> str:
    """The published 'self_attn.3.' is kornia's 'transformers.3.self_attn.'."""
    return re.sub(r"^(self_attn|cross_attn)\.(\d+)\.", r"transformers.\2.\1.", key)
