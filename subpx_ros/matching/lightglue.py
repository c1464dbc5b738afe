"""LightGlue (Lindenberger, Sarlin and Pollefeys, ICCV 2023): kornia's network with the published weights.

LighterGlue, published with XFeat, is the same architecture in small.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from subpx_ros import weights
from subpx_ros.config import MatchingConfig
from subpx_ros.datatypes import Features, Matches
from subpx_ros.errors import WeightsError
from subpx_ros.features.detector import Detector
from subpx_ros.fit import matcher_checkpoint
from subpx_ros.matching.matcher import Matcher

_NO_DOWNLOAD: Any = None
"""As the name of the features this keeps kornia from fetching weights, which its type hints do not know."""
_LEFT_OVER = re.compile(r"extractor\..*|log_assignment\.\d+\.r")
"""What published files hold beside the network: XFeat itself, and a parameter of DISK's that nothing uses."""


class LightGlueMatcher(Matcher):
    """Matches by a transformer over both sets of features; trained for one detector."""

    def __init__(
        self, config: MatchingConfig, detector: Detector, device: torch.device, report: Callable[[str], None]
    ) -> None:
        known = matcher_checkpoint(detector.name, config.matcher, config.weights)
        tensors, source = weights.load_chosen(config.weights, known, report)
        self.network = network_for(tensors, source).eval().to(device)
        if not config.adaptive:
            self.network.conf.depth_confidence = self.network.conf.width_confidence = -1
        self._needs_frames = bool(self.network.conf.add_scale_ori)
        if self.network.conf.input_dim != detector.descriptor_size:
            raise WeightsError(
                f"the matcher {source} takes descriptors of {self.network.conf.input_dim} values, but {detector.name} "
                f"makes {detector.descriptor_size}: choose the checkpoint that was trained for {detector.name}"
            )
        super().__init__(config, detector, device, report)

    def reconfigure(self, config: MatchingConfig) -> None:
        super().reconfigure(config)
        self.network.conf.filter_threshold = config.min_confidence

    def _match(self, features0: Features, features1: Features) -> Matches:
        found = self.network({"image0": self.view(features0), "image1": self.view(features1)})
        pairs = found["matches"][0]
        return Matches(pairs[:, 0], pairs[:, 1], found["scores"][0])

    def view(self, features: Features) -> dict[str, torch.Tensor]:
        """What the network takes of an image, as a batch of one."""
        height, width = features.image.shape
        descriptors = features.descriptors
        if features.descriptor_norms is not None:
            descriptors = descriptors * features.descriptor_norms[:, None]
        view = {
            "keypoints": features.keypoints[None],
            "descriptors": descriptors[None],
            "image_size": torch.tensor([[width, height]], device=features.keypoints.device),
        }
        if self._needs_frames:
            if features.scales is None or features.orientations is None:
                raise WeightsError(
                    "this LightGlue was trained with scales and orientations of keypoints, which the detector does "
                    "not find: choose the checkpoint that was trained for it"
                )
            view |= {"scales": features.scales[None], "oris": features.orientations[None]}
        return view


def network_for(tensors: dict[str, torch.Tensor], source: str) -> Any:
    """kornia's LightGlue of the size that a checkpoint's shapes ask for, with its weights.

    Raises:
        WeightsError: they are no LightGlue's.
    """
    from kornia.feature import LightGlue

    named = {_kornia_name(key): tensor for key, tensor in tensors.items()}
    named = {key: tensor for key, tensor in named.items() if not _LEFT_OVER.fullmatch(key)}
    try:
        frequencies, coordinates = named["posenc.Wr.weight"].shape
        width = named["log_assignment.0.final_proj.weight"].shape[0]
        input_size = named["input_proj.weight"].shape[1] if "input_proj.weight" in named else width
        layers = sum(re.fullmatch(r"log_assignment\.\d+\.final_proj\.weight", key) is not None for key in named)
        heads = width // (2 * frequencies)
    except (KeyError, ValueError, IndexError, ZeroDivisionError):
        raise WeightsError(
            f"{source} is no LightGlue checkpoint: it lacks the positional encoding or the assignment"
        ) from None
    sizes = {"input_dim": input_size, "descriptor_dim": width, "n_layers": layers, "num_heads": heads}
    # LighterGlue was trained and published without early stopping.
    early_stop = {"depth_confidence": -1, "width_confidence": 0.95} if width < 256 else {}
    network = LightGlue(_NO_DOWNLOAD, **sizes, **early_stop, add_scale_ori=coordinates == 4)
    weights.load_into(network, named, source, constants=("confidence_thresholds",))
    return network


def _kornia_name(key: str) -> str:
    """The published 'self_attn.3.' is kornia's 'transformers.3.self_attn.'; LighterGlue's names begin with 'matcher.'."""
    return re.sub(r"^(self_attn|cross_attn)\.(\d+)\.", r"transformers.\2.\1.", key.removeprefix("matcher."))
