"""Stores what transformers' SuperPoint makes of random weights, for the tests: test/data/superpoint_random.npz.

    pip install transformers; python tools/superpoint_reference.py

The weights come from a generator whose numbers never change; only what the network makes of them is stored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data

GOLDEN = Path(__file__).parents[1] / "test" / "data" / "superpoint_random.npz"
IMAGE: NDArray[np.uint8] = data.camera()[60:156, 180:308]  # type: ignore[no-untyped-call]
_BORDER = 4
_LAYERS = {
    "conv1a": (64, 1, 3),
    "conv1b": (64, 64, 3),
    "conv2a": (64, 64, 3),
    "conv2b": (64, 64, 3),
    "conv3a": (128, 64, 3),
    "conv3b": (128, 128, 3),
    "conv4a": (128, 128, 3),
    "conv4b": (128, 128, 3),
    "convPa": (256, 128, 3),
    "convPb": (65, 256, 1),
    "convDa": (256, 128, 3),
    "convDb": (256, 256, 1),
}


def official_weights() -> dict[str, torch.Tensor]:
    """Random weights under the names of the authors' checkpoint, scaled so that activations keep their size."""
    generator = np.random.RandomState(0)
    tensors = {}
    for name, (outputs, inputs, size) in _LAYERS.items():
        values = generator.standard_normal((outputs, inputs, size, size)) * np.sqrt(2.0 / (inputs * size**2))
        tensors[f"{name}.weight"] = torch.from_numpy(values).float()
        tensors[f"{name}.bias"] = torch.from_numpy(0.05 * generator.standard_normal(outputs)).float()
    return tensors


def published() -> dict[str, NDArray[np.float32]]:
    """Keypoints (N, 2) pixels, scores (N,) and descriptors (N, 256) by transformers.

    It keeps keypoints near the right and the lower border, which the published method drops; they are dropped here.
    """
    from transformers import SuperPointConfig, SuperPointForKeypointDetection

    network: Any = SuperPointForKeypointDetection(SuperPointConfig()).eval()
    weights = official_weights()
    network.load_state_dict({name: weights[_official_name(name)] for name in network.state_dict()})
    with torch.inference_mode():
        found = network(torch.from_numpy(IMAGE).float().div(255.0).expand(1, 3, -1, -1))
    kept = found.mask[0].bool()
    height, width = IMAGE.shape
    keypoints = (found.keypoints[0][kept] * torch.tensor([width, height])).round()
    inside = (keypoints < torch.tensor([width - _BORDER, height - _BORDER])).all(dim=1)
    values = (keypoints, found.scores[0][kept], found.descriptors[0][kept])
    return dict(zip(("keypoints", "scores", "descriptors"), (each[inside].numpy() for each in values), strict=True))


def _official_name(name: str) -> str:
    name = name.replace("keypoint_decoder.conv_score_", "convP").replace("descriptor_decoder.conv_descriptor_", "convD")
    stage = re.fullmatch(r"encoder\.conv_blocks\.(\d)\.conv_([ab])\.(weight|bias)", name)
    return f"conv{int(stage[1]) + 1}{stage[2]}.{stage[3]}" if stage else name


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **published())  # type: ignore[arg-type]
