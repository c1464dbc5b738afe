"""What a training leaves on disk: weights with their history, and the state from which it goes on exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from subpx_ros import __version__
from subpx_ros.errors import TrainingError
from subpx_ros.output import write_text, written_beside
from subpx_ros.settings import to_mapping
from subpx_ros.training.config import TrainConfig

STATE = "state.pt"
_HOW_LONG = ("steps", "device", "threads", "validate_every", "save_every")
"""Settings that may change when a training goes on; all others decide what it learns, `steps` too under a decay."""


@dataclass
class State:
    """All that the next step depends on."""

    step: int
    """Steps done."""
    network: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    random: torch.Tensor
    """State of torch's generator."""
    best: dict[str, float]
    """Metrics of the best validation so far; empty before the first."""


def save_weights(path: Path, network: torch.nn.Module, history: Mapping[str, Any]) -> None:
    """Tensors as safetensors, and beside them the same name with .json: what they are and how they came about."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with written_beside(path) as temporary:
        save_file(tensors, temporary)
    write_text(path.with_suffix(".json"), json.dumps(history, indent=2) + "\n")


def history_of(
    config: TrainConfig, data: Mapping[str, Any], step: int, processes: int, metrics: Mapping[str, float]
) -> dict[str, Any]:
    """The sidecar of a checkpoint."""
    return {
        "network": config.network,
        "detector": config.features.detector,
        "package_version": __version__,
        "torch_version": torch.__version__,
        "step": step,
        "processes": processes,
        "metrics": dict(metrics),
        "data": dict(data),
        "config": to_mapping(config),
    }


def save_state(folder: Path, state: State, config: TrainConfig, processes: int) -> None:
    """One file, so that it is one instant of the training."""
    content = vars(state) | {"fingerprint": _fingerprint(config, processes)}
    with written_beside(folder / STATE) as temporary:
        torch.save(content, temporary)


def load_state(folder: Path, config: TrainConfig, processes: int) -> State:
    """The state to go on from, read as plain tensors and numbers.

    Raises:
        TrainingError: no state, a damaged one, or one of other settings or another number of processes.
    """
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder} has no {STATE} to go on from: start without --resume")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        fingerprint = content.pop("fingerprint")
        state = State(**content)
    except Exception as error:  # noqa: BLE001 - the reader raises whatever a damaged file leads it to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"{path} cannot be read as the state of a training: {reason}") from None
    if fingerprint != _fingerprint(config, processes):
        raise TrainingError(
            f"{path} is of a training with other settings or another number of processes; only "
            f"{', '.join(_free(config))} may change: restore its configuration, or choose another --out"
        )
    return state


def _free(config: TrainConfig) -> tuple[str, ...]:
    return _HOW_LONG if config.decay == "none" else _HOW_LONG[1:]


def _fingerprint(config: TrainConfig, processes: int) -> str:
    decisive = {name: value for name, value in to_mapping(config).items() if name not in _free(config)}
    text = json.dumps(decisive | {"processes": processes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
