"""The training loop: checkpoints, exact resume, determinism, what makes it stop, and several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from training_setup import small_training

from subpx_ros.cli import main
from subpx_ros.config import FeatureConfig, RefinementConfig
from subpx_ros.datatypes import Camera
from subpx_ros.errors import ConfigError, TrainingError
from subpx_ros.features import create_detector
from subpx_ros.geometry import essential_matrix, se3
from subpx_ros.refinement import create_refiner
from subpx_ros.settings import to_mapping
from subpx_ros.training.config import DataConfig, StreetSourceConfig, TrainConfig, dry_run_of, load_train_config
from subpx_ros.training.losses import clamped_sampson_loss
from subpx_ros.training.trainer import learning_rate, train

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("keypt2subpx", "subpx")


def last_weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "last.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_loss_is_the_squared_distance_to_the_epipolar_line_clamped() -> None:
    camera = Camera(100.0, 100.0, 50.0, 40.0, 101, 81)
    E = essential_matrix(se3(np.eye(3), np.array([1.0, 0.0, 0.0])))  # rows correspond to rows
    points0 = torch.tensor([[10.0, 20.0], [30.0, 40.0], [70.0, 60.0]])
    points1 = points0 + torch.tensor([[5.0, 0.0], [-3.0, 1.0], [9.0, 8.0]])
    loss = clamped_sampson_loss(E, points0, points1, camera, camera, 1.5)
    # Both points share the error: a row difference d is a Sampson distance of d / sqrt(2).
    assert float(loss) == pytest.approx((0.0 + 0.5 + 1.5**2) / 3)


def test_matches_beyond_the_threshold_have_no_gradient() -> None:
    camera = Camera(100.0, 100.0, 50.0, 40.0, 101, 81)
    E = essential_matrix(se3(np.eye(3), np.array([1.0, 0.0, 0.0])))
    points0 = torch.tensor([[30.0, 40.0], [70.0, 60.0]])
    points1 = (points0 + torch.tensor([[0.0, 1.0], [0.0, 8.0]])).requires_grad_()
    clamped_sampson_loss(E, points0, points1, camera, camera, 1.5).backward()
    assert points1.grad is not None
    assert points1.grad[0, 1] > 0.1
    assert torch.all(points1.grad[1] == 0.0)


@pytest.mark.parametrize("network", NETWORKS)
def test_two_and_two_steps_are_four_steps(network: str, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(small_training(network=network), whole)
    train(small_training(network=network, steps=2), halves)
    assert not same(last_weights(halves), last_weights(whole))
    train(small_training(network=network), halves, resume=True)
    assert same(last_weights(halves), last_weights(whole)), "bit by bit"


def test_the_learning_rate_falls_to_nothing_along_a_cosine() -> None:
    falling = small_training(decay="cosine", steps=100, learning_rate=2e-3)
    assert [learning_rate(falling, step) for step in (0, 50, 100)] == pytest.approx([2e-3, 1e-3, 0.0])
    assert learning_rate(small_training(learning_rate=2e-3), 3) == 2e-3


def test_the_decay_decides_what_is_learned_and_fixes_the_steps(tmp_path: Path) -> None:
    train(small_training(steps=2), tmp_path / "steady")
    train(small_training(steps=2, decay="cosine"), tmp_path / "falling")
    assert not same(last_weights(tmp_path / "steady"), last_weights(tmp_path / "falling"))
    with pytest.raises(TrainingError, match="other settings.*only device, threads"):
        train(small_training(steps=4, decay="cosine"), tmp_path / "falling", resume=True)


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("same", 0), ("other", 1)):
        train(small_training(seed=seed, steps=2), tmp_path / name)
    first, again, other = (last_weights(tmp_path / name) for name in ("first", "same", "other"))
    assert same(first, again)
    assert not same(first, other)


def test_a_checkpoint_carries_its_history_and_loads_as_a_refiner(tmp_path: Path) -> None:
    metrics = train(small_training(steps=2), tmp_path)
    history = json.loads((tmp_path / "best.json").read_text())
    assert history["metrics"] == metrics
    assert history["config"]["matches_per_pair"] == 24
    assert history["package_version"]
    assert "astronaut" in str(history["data"]["training"])
    assert "coins" in str(history["data"]["validation"])
    assert {"loss", "detected_loss", "end_point_px"} <= metrics.keys()
    device = torch.device("cpu")
    detector = create_detector(FeatureConfig(detector="sift"), device)
    weights = RefinementConfig(weights=str(tmp_path / "best.safetensors"))
    assert create_refiner("keypt2subpx", weights, detector, device).name == "keypt2subpx"


def test_the_course_of_a_training_is_logged_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(small_training(steps=2), tmp_path)
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    assert [event.step for event in log.Scalars("training/loss")] == [1, 2]
    assert [event.step for event in log.Scalars("validation/end_point_px")] == [2]


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    train(small_training(steps=1), tmp_path / "first")
    given = tmp_path / "first" / "last.safetensors"
    changes: dict[str, Any] = {"steps": 1, "learning_rate": 1e-8, "initial_weights": str(given), "seed": 5}
    train(small_training(**changes), tmp_path / "second")
    first, second = last_weights(tmp_path / "first"), last_weights(tmp_path / "second")
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    train(small_training(steps=1), tmp_path / "first")
    spoilt = {name: torch.full_like(tensor, torch.nan) for name, tensor in last_weights(tmp_path / "first").items()}
    save_file(spoilt, tmp_path / "nan.safetensors")
    with pytest.raises(TrainingError, match="the loss of step 1 is nan"):
        train(small_training(initial_weights=str(tmp_path / "nan.safetensors")), tmp_path / "second")
    assert not (tmp_path / "second" / "best.safetensors").exists()


def test_a_finished_training_is_not_overwritten(tmp_path: Path) -> None:
    train(small_training(steps=1), tmp_path)
    with pytest.raises(TrainingError, match="--resume"):
        train(small_training(steps=1), tmp_path)


def damage_settings(out: Path) -> dict[str, Any]:
    return {"learning_rate": 0.5}


def damage_state(out: Path) -> dict[str, Any]:
    (out / "state.pt").write_bytes(b"PK")
    return {}


def remove_state(out: Path) -> dict[str, Any]:
    (out / "state.pt").unlink()
    return {}


@pytest.mark.parametrize(
    ("damage", "what"),
    [(damage_settings, "other settings"), (damage_state, "cannot be read"), (remove_state, "without --resume")],
)
def test_only_the_same_training_is_resumed(damage: Callable[[Path], dict[str, Any]], what: str, tmp_path: Path) -> None:
    train(small_training(steps=1), tmp_path)
    with pytest.raises(TrainingError, match=what):
        train(small_training(**damage(tmp_path)), tmp_path, resume=True)


def test_pairs_without_matches_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="min_matches"):
        train(small_training(min_matches=60000), tmp_path)


def test_select_by_what_is_not_known_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="auc5 is not known"):
        train(small_training(select_by="auc5", steps=1), tmp_path)  # flat scenes have no pose


def test_the_shipped_configuration_is_valid_and_its_sets_are_apart() -> None:
    config = load_train_config(ROOT / "config" / "train.yaml")
    assert config.training.street.seed != config.validation.street.seed
    assert config.training.warps.photographs != config.validation.warps.photographs
    small = dry_run_of(config)
    assert small.steps < 10
    assert small.features == config.features
    assert 0 < small.training.street.pairs < config.training.street.pairs


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("train*.yaml")), ids=lambda file: file.name)
def test_every_configuration_of_the_package_is_valid(file: Path) -> None:
    small = dry_run_of(load_train_config(file))
    assert small.steps < 10 and 0 < small.training.street.pairs < 10


@pytest.mark.parametrize(
    "text", ["stepps: 3", "training: {warps: {pairs: 0}, street: {pairs: 0}}", "steps: 0", "network: x"]
)
def test_configurations_that_cannot_be_meant_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_train_config(tmp_path / "train.yaml")


def test_a_dry_run_goes_from_pairs_to_a_loadable_checkpoint(tmp_path: Path) -> None:
    settings = to_mapping(small_training(min_matches=2))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    out = tmp_path / "out"
    assert main(["train", str(tmp_path / "train.yaml"), "--dry-run", "--out", str(out)]) == 0
    assert last_weights(out)
    assert main(["train", str(tmp_path / "train.yaml"), "--dry-run", "--out", str(out)]) == 2, "not overwritten"
    assert main(["train", str(tmp_path / "train.yaml"), "--dry-run", "--out", str(out), "--resume"]) == 0


def test_training_on_the_street_makes_matches_more_accurate(tmp_path: Path) -> None:
    """From scratch, by a fixed seed; another street, which the network has not seen, judges."""
    streets = [
        DataConfig(street=StreetSourceConfig(pairs=pairs, seed=seed, scale=0.5, length_m=50.0))
        for pairs, seed in ((8, 1001), (3, 2001))
    ]
    config = TrainConfig(
        network="subpx", device="cpu", threads=1, steps=50, batch_pairs=2, matches_per_pair=150, learning_rate=1e-3,
        validate_every=50, save_every=50, features=FeatureConfig(max_keypoints=500),
        training=streets[0], validation=streets[1],
    )  # fmt: skip
    metrics = train(config, tmp_path)
    assert metrics["loss"] < 0.9 * metrics["detected_loss"]
    assert metrics["end_point_px"] < 0.85 * metrics["detected_end_point_px"]


GRADIENTS = """
import sys, torch
from pathlib import Path
from training_setup import small_training
from subpx_ros.training.distributed import run_joined
from subpx_ros.training.matches import extract_matches
from subpx_ros.training.trainer import Trainer

torch.set_num_threads(1)
torch.manual_seed(0)
config = small_training(network=sys.argv[1], batch_pairs=int(sys.argv[2]))
folder = Path(sys.argv[3])
stores = [extract_matches(data, config.features, config.matching, folder) for data in (config.training, config.validation)]

def work(processes):
    trainer = Trainer(config, *stores, folder, processes)
    loss = trainer.batch_loss(1)
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in trainer.network.parameters()]
    mean = processes.mean(loss)
    if processes.main:
        torch.save({"loss": mean, "gradients": gradients, "processes": processes.count}, sys.argv[4])

run_joined("cpu", work)
"""


@pytest.mark.parametrize("network", NETWORKS)
def test_two_processes_have_the_gradients_of_one_with_the_doubled_batch(network: str, tmp_path: Path) -> None:
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    path = os.pathsep.join([str(ROOT), str(ROOT / "test"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    results = []
    for processes, batch in ((1, 2), (2, 1)):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        out = tmp_path / f"{processes}.pt"
        arguments = [str(script), network, str(batch), str(tmp_path), str(out)]
        done = subprocess.run([*launch, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        results.append(torch.load(out, weights_only=True))
    one, two = results
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
    assert any(float(gradient.abs().max()) > 1e-4 for gradient in one["gradients"])
    for first, second in zip(one["gradients"], two["gradients"], strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-7)
