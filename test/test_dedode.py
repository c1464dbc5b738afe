"""DeDoDe's plumbing with random weights of the published shapes; the published ones are too large for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.enhance import Normalize
from superpoint_reference import IMAGE
from torch import nn

from subpx_ros.config import FeatureConfig
from subpx_ros.errors import WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector


def random_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Of the shapes of a network, in sizes that keep its signals alive."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensors[name] = torch.randn(tensor.shape) * (3.0 * tensor[0].numel()) ** -0.5
        elif name.endswith(("weight", "running_var")):
            tensors[name] = 1.0 + 0.2 * torch.rand(tensor.shape)
        else:
            tensors[name] = 0.1 * torch.rand(tensor.shape).to(tensor.dtype)
    return tensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as published, but of random weights."""
    from kornia.feature.dedode.dedode_models import get_descriptor, get_detector

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dedode")
    with torch.device("meta"):
        detector, descriptor = get_detector("L"), get_descriptor("B")
    torch.save(random_weights(detector), path / "dedode_detector_L_v2.pth")
    torch.save(random_weights(descriptor), path / "dedode_descriptor_B.pth")
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Detector:
    return create(folder)


def create(folder: Path) -> Detector:
    return create_detector(config(folder, 64), torch.device("cpu"))


def config(folder: Path, max_keypoints: int) -> FeatureConfig:
    return FeatureConfig("dedode-b", str(folder), max_keypoints, detection_threshold=0.0)


def test_features_equal_those_of_kornias_own_way(folder: Path, loaded: Detector) -> None:
    from kornia.feature import DeDoDe

    image = np.ascontiguousarray(IMAGE[:90, :121])
    (mine,) = loaded.detect([image])
    with torch.device("meta"):  # all its tensors are loaded
        whole = DeDoDe("L", "B")
    for network, file in ((whole.detector, "dedode_detector_L_v2.pth"), (whole.descriptor, "dedode_descriptor_B.pth")):
        network.load_state_dict(torch.load(folder / file, weights_only=True), assign=True)
    whole.normalizer = Normalize(torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225]))
    colour = torch.from_numpy(image).float().div(255.0).expand(1, 3, -1, -1)
    keypoints, _, descriptors = whole.eval()(colour, n=64)
    # kornia's pixel centres are at halves.
    torch.testing.assert_close(mine.keypoints, keypoints[0] - 0.5, atol=1e-3, rtol=0)
    assert mine.descriptor_norms is not None
    torch.testing.assert_close(mine.descriptors * mine.descriptor_norms[:, None], descriptors[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.descriptors.norm(dim=1), torch.ones(64))
    assert torch.all((mine.scores > 0) & (mine.scores < 1))


def test_an_empty_image_has_no_keypoints(loaded: Detector) -> None:
    (found,) = loaded.detect([np.full((40, 60), 128, np.uint8)])
    assert len(found) == 0 and found.descriptors.shape == (0, 256)


def test_a_new_budget_holds_for_the_next_image(folder: Path, loaded: Detector) -> None:
    image = np.ascontiguousarray(IMAGE[:40, :60])
    for budget in (16, 64):
        loaded.reconfigure(config(folder, budget))
        (found,) = loaded.detect([image])
        assert len(found) == budget


def test_a_file_that_is_missing_from_the_folder_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dedode_detector_L_v2.pth").symlink_to(folder / "dedode_detector_L_v2.pth")
    with pytest.raises(WeightsError, match=r"no weights at .*dedode_descriptor_B\.pth"):
        create(tmp_path)
