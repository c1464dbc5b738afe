"""Training of a refiner on stored matches.

    torchrun --nproc-per-node 4 -m subpx_ros.cli train config/train.yaml

trains on four GPUs with the same configuration; a step then learns from four times `batch_pairs` pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from subpx_ros.console import note, progress_bar
from subpx_ros.device import set_threads
from subpx_ros.errors import TrainingError
from subpx_ros.output import output_folder, write_text
from subpx_ros.settings import to_mapping
from subpx_ros.training.batches import Batches
from subpx_ros.training.checkpoints import STATE, State, history_of, load_state, save_state, save_weights
from subpx_ros.training.config import DataConfig, TrainConfig
from subpx_ros.training.distributed import Processes, run_joined
from subpx_ros.training.matches import MatchStore, extract_matches
from subpx_ros.training.networks import Chosen, TrainableNetwork, create_network
from subpx_ros.training.validation import validate


def train(config: TrainConfig, out: Path, resume: bool = False) -> dict[str, float]:
    """Extract the matches, train, and leave in `out`:

    best.safetensors, last.safetensors   weights, each with a .json of configuration, data, version and metrics
    state.pt                             what --resume goes on from
    config.yaml, matches/, tensorboard/

    Returns:
        The metrics of the best validation.

    Raises:
        SubpxError: data, weights or device cannot be had; `out` holds another training; the loss is not finite.
    """
    if not resume and (out / STATE).exists():
        raise TrainingError(f"{out} holds a training already: give --resume to go on with it, or another --out")
    set_threads(config.threads)

    def work(processes: Processes) -> dict[str, float]:
        output_folder(out)
        stores = [_store(data, config, out, processes) for data in (config.training, config.validation)]
        trainer = Trainer(config, stores[0], stores[1], out, processes)
        if resume:
            trainer.restore()
        trainer.run()
        return trainer.best

    with _deterministic(config.seed):
        return run_joined(config.device, work)


class Trainer:
    """One training in one of its processes."""

    def __init__(
        self, config: TrainConfig, training: MatchStore, validation: MatchStore, out: Path, processes: Processes
    ) -> None:
        self.config = config
        self.step = 0
        self.best: dict[str, float] = {}
        self.network: TrainableNetwork = create_network(config, training).to(processes.device)
        self._model = processes.wrap(self.network)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self._batches = Batches(training, config, processes.rank, processes.count)
        self._validation = validation
        self._validation_pairs = Batches(validation, config, 0, 1).all_pairs()
        self._data = {"training": training.manifest["sources"], "validation": validation.manifest["sources"]}
        self._out = out
        self._processes = processes

    def run(self) -> None:
        """All steps that are left, with validation, saved states and a progress bar."""
        if self._processes.main:
            write_text(self._out / "config.yaml", _yaml(to_mapping(self.config)))
        with _log(self._out, self._processes.main, self.step) as write, progress_bar() as bar:
            main = self._processes.main
            task = bar.add_task("training", total=self.config.steps, completed=self.step, detail="steps", visible=main)
            while self.step < self.config.steps:
                loss = self.take_step()
                write({"training/loss": loss}, self.step)
                bar.update(task, completed=self.step, detail=f"steps, loss {loss:.4f}")
                last = self.step == self.config.steps
                if last or self.step % self.config.validate_every == 0:
                    self._validate(write)
                if last or self.step % self.config.save_every == 0:
                    self._save()
        self._processes.wait()

    def take_step(self) -> float:
        """One step of the optimiser; the loss, averaged over the processes.

        Raises:
            TrainingError: the loss is not finite. The weights are those before the step.
        """
        loss = self.batch_loss(self.step)
        mean = self._processes.mean(loss)
        if not math.isfinite(mean):
            raise TrainingError(
                f"the loss of step {self.step + 1} is {mean}: training stops before it spoils the weights; lower "
                f"learning_rate, or look at the pairs of that step in {self._out / 'matches'}"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self.step += 1
        return mean

    def batch_loss(self, step: int) -> torch.Tensor:
        """Mean over this process's pairs of the mean loss of their matches."""
        device = self._processes.device
        batch = self._batches.of_step(step)
        inputs = [self.network.inputs(pair, indices) for pair, indices in batch]
        stages = self._model(*(torch.cat(parts).to(device) for parts in zip(*inputs, strict=True)))
        losses, start = [], 0
        for pair, indices in batch:
            stop = start + len(indices)
            part = [shifts.part(start, stop) for shifts in stages]
            losses.append(self.network.loss(Chosen.of(pair, indices, device), part))
            start = stop
        return torch.stack(losses).mean()

    def restore(self) -> None:
        """Go on from the saved state. Raises TrainingError where there is none that fits."""
        state = load_state(self._out, self.config, self._processes.count)
        self.network.network.load_state_dict(state.network)
        self._optimiser.load_state_dict(state.optimiser)
        torch.set_rng_state(state.random)
        self.step, self.best = state.step, state.best

    def _validate(self, write: Any) -> None:
        if self._processes.main:
            metrics = validate(
                self.network, self._validation, self._validation_pairs, self.config, self._processes.device
            )
            write({f"validation/{name}": value for name, value in metrics.items()}, self.step)
            note(f"step {self.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
            if _better(metrics, self.best, self.config.select_by):
                self.best = metrics
                self._save_weights("best", metrics)
            self._save_weights("last", metrics)
        self._processes.wait()

    def _save_weights(self, name: str, metrics: Mapping[str, float]) -> None:
        history = history_of(self.config, self._data, self.step, self._processes.count, metrics)
        save_weights(self._out / f"{name}.safetensors", self.network.network, history)

    def _save(self) -> None:
        if not self._processes.main:
            return
        weights, optimiser = self.network.network.state_dict(), self._optimiser.state_dict()
        state = State(self.step, weights, optimiser, torch.get_rng_state(), self.best)
        save_state(self._out, state, self.config, self._processes.count)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Adam's learning rate in step `step` from 0."""
    if config.decay == "cosine":
        return 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * step / config.steps))
    return config.learning_rate


def _store(data: DataConfig, config: TrainConfig, out: Path, processes: Processes) -> MatchStore:
    """The first process extracts; the others read what it wrote."""
    folder = output_folder(out / "matches")
    if not processes.main:
        processes.wait()
    store = extract_matches(data, config.features, config.matching, folder, config.device)
    if processes.main:
        processes.wait()
    return store


def _better(metrics: Mapping[str, float], best: Mapping[str, float], by: str) -> bool:
    if by not in metrics:
        raise TrainingError(f"select_by: {by} is not known on the validation data; it gives {', '.join(metrics)}")
    if not best:
        return True
    return metrics[by] > best[by] if by.startswith("auc") else metrics[by] < best[by]


@contextmanager
def _log(out: Path, main: bool, step: int) -> Iterator[Any]:
    """A function that writes named values of a step for TensorBoard, where it is installed."""
    writer = None
    if main:
        try:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else None)
        except ImportError:
            note("no TensorBoard log: pip install tensorboard adds it")

    def write(values: Mapping[str, float], at: int) -> None:
        for name, value in values.items() if writer else ():
            writer.add_scalar(name, value, at)  # type: ignore[union-attr]

    try:
        yield write
    finally:
        if writer:
            writer.close()


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Random numbers by seed, and algorithms that repeat themselves where PyTorch has them."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _yaml(values: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(values), sort_keys=False)
    return text
