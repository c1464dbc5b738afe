"""SuperPoint against transformers' under the same random weights, and both layouts of checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from superpoint_reference import GOLDEN, IMAGE, official_weights, published

from subpx_ros.config import FeatureConfig
from subpx_ros.errors import WeightsError
from subpx_ros.features import create_detector
from subpx_ros.features.detector import Detector
from subpx_ros.features.superpoint import SuperPointNetwork

Reference = dict[str, NDArray[np.float32]]


def detector(weights: Path | str, max_keypoints: int = 16384) -> Detector:
    config = FeatureConfig("superpoint", str(weights), max_keypoints, detection_threshold=0.005)
    return create_detector(config, torch.device("cpu"))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the authors' layout."""
    path = tmp_path_factory.mktemp("superpoint") / "superpoint_v1.pth"
    torch.save(official_weights(), path)
    return path


@pytest.fixture(scope="module", params=["stored", "live"])
def reference(request: pytest.FixtureRequest) -> Reference:
    """What transformers' SuperPoint makes of the weights and the image: as stored with the tests, and right now."""
    if request.param == "live":
        pytest.importorskip("transformers")
        return published()
    with np.load(GOLDEN) as stored:
        return dict(stored)


def test_keypoints_scores_and_descriptors_equal_those_of_transformers(official: Path, reference: Reference) -> None:
    (mine,) = detector(official).detect([IMAGE])
    order, theirs = (np.lexsort(points.T) for points in (mine.keypoints.numpy(), reference["keypoints"]))
    assert len(order) == len(theirs) > 50
    for name in ("keypoints", "scores", "descriptors"):
        difference = getattr(mine, name).numpy()[order] - reference[name][theirs]
        assert np.abs(difference).max() < 1e-4, name
    assert reference["scores"].std() > 0.01, "scores that hardly differ would prove nothing"


def test_features_are_what_their_record_says(official: Path) -> None:
    image = np.pad(IMAGE, ((0, 3), (0, 5)), mode="edge")
    (features,) = detector(official, 40).detect([image])
    assert len(features) == 40 and features.descriptors.shape == (40, 256)
    assert features.score_map is not None and features.score_map.shape == image.shape
    columns, rows = features.keypoints.long().unbind(dim=1)
    torch.testing.assert_close(features.score_map[rows, columns], features.scores)
    assert torch.all(features.scores[:-1] >= features.scores[1:])
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(40))
    limit = torch.tensor(image.shape[::-1]) - 5
    assert torch.all(features.keypoints >= 4) and torch.all(features.keypoints <= limit)


def retrained_network() -> SuperPointNetwork:
    torch.manual_seed(0)
    network = SuperPointNetwork(256, batch_norm=True).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network


def test_the_retrained_variant_has_the_layout_of_its_authors_and_runs(tmp_path: Path) -> None:
    network = retrained_network()
    tensors = network.state_dict()
    # Names and shapes as the retrained variant's own file has them.
    assert tensors["backbone.0.0.conv.weight"].shape == (64, 1, 3, 3)
    assert tensors["backbone.3.1.bn.running_var"].shape == (128,)
    assert tensors["detector.0.conv.weight"].shape == (256, 128, 3, 3)
    assert tensors["detector.1.bn.num_batches_tracked"].shape == ()
    assert tensors["descriptor.1.conv.weight"].shape == (256, 256, 1, 1)
    assert len(tensors) == 12 * (2 + 5)
    path = tmp_path / "superpoint_v6_from_tf.pth"
    torch.save(tensors, path)
    (features,) = detector(path).detect([IMAGE])
    assert len(features) > 20

    with torch.inference_mode():
        scores, descriptors = network(features.image[None, None])
    columns, rows = features.keypoints.long().unbind(dim=1)
    torch.testing.assert_close(scores[0, 0, rows, columns], features.scores)
    expected = [_bilinear(descriptors[0].numpy(), x, y) for x, y in features.keypoints.tolist()]
    assert np.abs(np.array(expected) - features.descriptors.numpy()).max() < 1e-5


def _bilinear(maps: NDArray[np.float32], x: float, y: float) -> NDArray[np.float32]:
    """The unit vector of maps (C, h, w), whose cells are 8 pixels wide, at a pixel; zeros lie around the maps."""
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    column, row = (x + 0.5) / 8.0 + 0.5, (y + 0.5) / 8.0 + 0.5
    left, top = int(column), int(row)
    right, down = column - left, row - top
    cells = padded[:, top : top + 2, left : left + 2]
    value = np.einsum("crk,r,k->c", cells, [1 - down, down], [1 - right, right])
    return value / np.linalg.norm(value)


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, change: str) -> None:
    tensors = official_weights()
    if change == "missing":
        del tensors["convDb.bias"]
    else:
        tensors["convPb.weight"] = torch.zeros(64, 256, 1, 1)
    torch.save(tensors, tmp_path / "thing.pth")
    with pytest.raises(WeightsError, match=r"thing\.pth do not fit SuperPointNetwork.*(descriptor|detector)\.1\.conv"):
        detector(tmp_path / "thing.pth")


def test_weights_that_nobody_gave_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"superpoint is not downloaded.*research.*superpoint_v1\.pth.*SUBPX_WEIGHTS"
    ):
        detector("")


def test_new_limits_hold_for_the_next_image(official: Path) -> None:
    changed = detector(official)
    config = FeatureConfig("superpoint", str(official), max_keypoints=16, detection_threshold=0.0)
    changed.reconfigure(config)
    (expected,), (found,) = create_detector(config, torch.device("cpu")).detect([IMAGE]), changed.detect([IMAGE])
    assert len(found) == 16
    torch.testing.assert_close(found.keypoints, expected.keypoints)
    changed.reconfigure(replace(config, detection_threshold=1.0))
    assert len(changed.detect([IMAGE])[0]) == 0


def test_two_views_are_matched_and_refined_with_random_weights(official: Path) -> None:
    """The plumbing of the whole chain: a shift of the image comes back, whatever the weights."""
    from subpx_ros.config import load_config
    from subpx_ros.pipeline import FrontEnd

    settings = {"detector": "superpoint", "weights": str(official), "max_keypoints": 512, "detection_threshold": 0.005}
    matching = {"matcher": "mutual_nn", "min_similarity": 0.5}
    front_end = FrontEnd(load_config({"preset": "xfeat", "device": "cpu", "features": settings, "matching": matching}))
    view0, view1 = (front_end.detect([image])[0] for image in (IMAGE[:, 8:], IMAGE[:, :-8]))
    refined = front_end.refine(view0, view1, front_end.match(view0, view1))
    shift = np.median(refined.refined1 - refined.refined0, axis=0)
    assert len(refined) > 20 and np.abs(shift - [8.0, 0.0]).max() < 0.2
