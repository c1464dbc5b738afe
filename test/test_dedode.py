"""DeDoDe's plumbing with random weights of the published shapes; the published ones are too large for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from superpoint_reference import IMAGE

from subpx_ros.config import FeatureConfig
from subpx_ros.errors import WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as published, but of random weights."""
    from kornia.feature.dedode.dedode_models import get_descriptor, get_detector

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("dedode")
    torch.save(get_detector("L").state_dict(), path / "dedode_detector_L_v2.pth")
    torch.save(get_descriptor("B").state_dict(), path / "dedode_descriptor_B.pth")
    return path


def detector(folder: Path | str, max_keypoints: int = 64) -> Detector:
    config = FeatureConfig("dedode-b", str(folder), max_keypoints, detection_threshold=0.0)
    return create_detector(config, torch.device("cpu"))


def test_features_equal_those_of_kornias_own_way(folder: Path) -> None:
    from kornia.feature import DeDoDe

    image = np.ascontiguousarray(IMAGE[:90, :121])
    (mine,) = detector(folder).detect([image])
    whole = DeDoDe("L", "B")
    whole.detector.load_state_dict(torch.load(folder / "dedode_detector_L_v2.pth", weights_only=True))
    whole.descriptor.load_state_dict(torch.load(folder / "dedode_descriptor_B.pth", weights_only=True))
    colour = torch.from_numpy(image).float().div(255.0).expand(1, 3, -1, -1)
    keypoints, _, descriptors = whole.eval()(colour, n=64)
    # kornia's pixel centres are at halves.
    torch.testing.assert_close(mine.keypoints, keypoints[0] - 0.5, atol=1e-3, rtol=0)
    assert mine.descriptor_norms is not None
    torch.testing.assert_close(mine.descriptors * mine.descriptor_norms[:, None], descriptors[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.descriptors.norm(dim=1), torch.ones(64))
    assert torch.all((mine.scores > 0) & (mine.scores < 1))


def test_an_empty_image_has_no_keypoints(folder: Path) -> None:
    (found,) = detector(folder).detect([np.full((40, 60), 128, np.uint8)])
    assert len(found) == 0 and found.descriptors.shape == (0, 256)


def test_a_new_budget_holds_for_the_next_image(folder: Path) -> None:
    changed = detector(folder)
    changed.reconfigure(FeatureConfig("dedode-b", str(folder), 16, detection_threshold=0.0))
    (found,) = changed.detect([np.ascontiguousarray(IMAGE[:40, :60])])
    assert len(found) == 16


def test_a_file_that_is_missing_from_the_folder_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "dedode_detector_L_v2.pth").symlink_to(folder / "dedode_detector_L_v2.pth")
    with pytest.raises(WeightsError, match=r"no weights at .*dedode_descriptor_B\.pth"):
        detector(tmp_path)
