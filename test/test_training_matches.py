"""Stored matches: what is in them, resuming, determinism, and stores that are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training_setup import small_training

from subpx_ros.errors import DataError
from subpx_ros.training.config import TrainConfig
from subpx_ros.training.matches import MatchStore, exact_targets, extract_matches
from subpx_ros.training.pairs import transfer
from subpx_ros.training.sources import create_source


def extract(config: TrainConfig, folder: Path) -> MatchStore:
    return extract_matches(config.training, config.features, config.matching, folder, "cpu")


@pytest.fixture
def store(tmp_path: Path) -> MatchStore:
    return extract(small_training(), tmp_path)


def test_a_store_holds_matches_with_their_exact_targets(store: MatchStore) -> None:
    source = create_source(small_training().training)
    assert len(store) == 4
    for index in range(4):
        pair, made = store.read(index), source.pair(index)
        assert len(pair) == store.counts[index] >= 4
        assert np.array_equal(pair.image1.numpy(), made.image1)
        assert pair.camera0 == made.camera0
        expected, valid = transfer(made, pair.keypoints0.numpy())
        assert np.allclose(pair.target1.numpy()[valid], expected[valid], atol=1e-4)
        assert torch.isnan(pair.target1[torch.from_numpy(~valid)]).all()
        assert np.median((pair.keypoints1 - pair.target1).norm(dim=1)[torch.from_numpy(valid)]) < 2.0


def test_the_derivative_of_targets_is_that_of_the_homography() -> None:
    made = create_source(small_training().training).pair(0)
    pixels = np.array([[80.3, 60.2]])
    target, jacobian = exact_targets(made, pixels)
    moved, _ = exact_targets(made, pixels + [[0.3, -0.2]])
    assert np.allclose(target + (jacobian @ [0.3, -0.2]), moved, atol=1e-3)


def test_the_manifest_says_what_the_matches_are_made_of(store: MatchStore) -> None:
    text = (store.folder / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["features"]["detector"] == "sift"
    assert manifest["package_version"]
    assert "astronaut" in manifest["sources"]["sources"][0]["photographs"]
    assert str(store.folder) not in text
    assert store.descriptor_size == 128


def test_extraction_goes_on_where_it_stopped(store: MatchStore) -> None:
    files = sorted(store.folder.glob("*.safetensors"))
    whole = files[2].read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (files[0], files[1])}
    files[2].write_bytes(whole[: len(whole) // 2])
    files[3].unlink()
    again = extract(small_training(), store.folder.parent)
    assert again.folder == store.folder
    assert files[2].read_bytes() == whole, "made again, bit by bit the same"
    assert files[3].exists()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was complete is left alone"


def test_nothing_is_done_twice(store: MatchStore) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    extract(small_training(), store.folder.parent)
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before


def test_other_settings_are_another_store(store: MatchStore) -> None:
    other = extract(small_training(matching={"min_similarity": 0.9}), store.folder.parent)
    assert other.folder != store.folder


def test_a_cut_off_file_is_refused(store: MatchStore) -> None:
    path = store.folder / "000001.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="missing or cut off"):
        store.read(1)


def test_a_file_of_another_store_is_refused(store: MatchStore) -> None:
    other = extract(small_training(matching={"min_similarity": 0.9}), store.folder.parent)
    (store.folder / "000001.safetensors").write_bytes((other.folder / "000001.safetensors").read_bytes())
    with pytest.raises(DataError, match="other settings"):
        store.read(1)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"complete": true, "matches": []}'])
def test_a_damaged_manifest_is_refused(store: MatchStore, text: str) -> None:
    (store.folder / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="extract the matches again"):
        MatchStore(store.folder)


def test_an_interrupted_extraction_is_not_taken_for_a_store(store: MatchStore) -> None:
    manifest = store.manifest | {"complete": False}
    (store.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="goes on where it stopped"):
        MatchStore(store.folder)
