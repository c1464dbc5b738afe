"""DeDoDe (Edstedt et al., 3DV 2024): kornia's networks with the published weights, detector L (v2), descriptors B or G.

The descriptors G read DINOv2's ViT-L/14 beside a VGG; they are large, and what the published Keypt2Subpx was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import grid_sample, normalize, pad

from subpx_ros import weights
from subpx_ros.config import FeatureConfig
from subpx_ros.datatypes import Features
from subpx_ros.features.detector import Detector

_STRIDE = 14
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DETECTOR = "dedode-detector-l"
_BACKBONE = "dinov2-vitl14"
_DECODER_G = {"14": (1024, 768, 512), "8": (1024, 512, 256), "4": (512, 256, 128), "2": (256, 64, 32), "1": (96, 32, 1)}
"""Channels that come in, that are hidden and that go on, per stride of the decoder; as published."""
_HIDDEN_BLOCKS = 5


class DedodeDetector(Detector):
    """The most probable pixels, spread over the image; unit descriptors of 256 values and their original length.

    A score is p / (p + 1 / number of pixels) for a keypoint's probability p: 0.5 says as probable as the average pixel.
    """

    def __init__(self, config: FeatureConfig, device: torch.device, report: Callable[[str], None]) -> None:
        from kornia.feature.dedode.dedode_models import get_descriptor, get_detector

        super().__init__(config, device, report)
        network = _uninitialised(lambda: get_detector("L"))
        weights.load_into(network, self._tensors(_DETECTOR, report), _DETECTOR)
        self._network = network.eval().to(device)
        describer = (
            _uninitialised(lambda: get_descriptor("B")) if self.name == "dedode-b" else self._describer_g(report)
        )
        weights.load_into(describer, self._tensors(self.name, report), self.name)
        self._describer = describer.eval().to(device)

    def _tensors(self, name: str, report: Callable[[str], None]) -> dict[str, torch.Tensor]:
        """Of one of the files, which `features.weights` may give as a folder with their published names."""
        if not self._config.weights:
            return weights.load_known(name, report)
        return weights.load_tensors(Path(self._config.weights) / weights.checkpoint_named(name).file)

    def _describer_g(self, report: Callable[[str], None]) -> nn.Module:
        """kornia's own constructor would download the backbone unchecked; here it comes from the verified file."""
        from kornia.feature.dedode.decoder import ConvRefiner, Decoder
        from kornia.feature.dedode.descriptor import DeDoDeDescriptor
        from kornia.feature.dedode.encoder import VGG_DINOv2

        mixed: dict[str, Any] = {"amp": True, "amp_dtype": torch.float16}
        size = self.descriptor_size
        layers = {
            stride: ConvRefiner(before, hidden, after + size, hidden_blocks=_HIDDEN_BLOCKS, residual=True, **mixed)
            for stride, (before, hidden, after) in _DECODER_G.items()
        }
        backbone = self._tensors(_BACKBONE, report)
        encoder = VGG_DINOv2(vgg_kwargs=mixed, dinov2_kwargs=mixed | {"dinov2_weights": backbone})
        return DeDoDeDescriptor(encoder=encoder, decoder=Decoder(nn.ModuleDict(layers), num_prototypes=size))

    def _detect(self, images: torch.Tensor) -> list[Features]:
        height, width = images.shape[-2:]
        normalised = [(images - mean) / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
        # As published, zeros (the mean colour) fill up the image.
        padded = pad(torch.stack(normalised, dim=1), (0, -width % _STRIDE, 0, -height % _STRIDE))
        logits = self._network(padded)[:, 0, :height, :width].float()
        maps = self._describer(padded)[..., :height, :width].float()
        return [self._select(*each) for each in zip(images, logits, maps, strict=True)]

    def _select(self, image: torch.Tensor, logits: torch.Tensor, maps: torch.Tensor) -> Features:
        from kornia.feature.dedode.utils import sample_keypoints

        height, width = image.shape
        probabilities = logits.flatten().softmax(dim=0).view(1, height, width)
        places, _ = sample_keypoints(probabilities, num_samples=self._config.max_keypoints)
        size = torch.tensor([width, height], device=image.device)
        keypoints = ((places[0] + 1.0) * size / 2.0 - 0.5).round()
        columns, rows = keypoints.long().unbind(dim=1)
        found = probabilities[0, rows, columns]
        scores = found / (found + 1.0 / (height * width))
        kept = scores > self._config.detection_threshold
        described = grid_sample(maps[None], places[:, None], align_corners=False)[0, :, 0].T[kept]
        norms = described.norm(dim=1)
        return Features(keypoints[kept], scores[kept], normalize(described, dim=1), image, descriptor_norms=norms)


def _uninitialised(make: Callable[[], nn.Module]) -> nn.Module:
    """A network all of whose tensors are to be loaded: the random ones that it begins with would cost a second."""
    with torch.device("meta"):
        network = make()
    return network.to_empty(device="cpu")
