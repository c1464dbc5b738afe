"""Train the shipped weights of the refiner subpx from what shipped_refiner_data.py wrote: see docs/models.md."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from subpx_ros.refinement.subpx_network import PATCH_SIZE, Estimate, SubpxNetwork, unpack_whitening
from subpx_ros.training.losses import refinement_loss

BATCH = 384
WARM_UP = 200
DETECTOR_SHARES = (0.5, 0.25, 0.25)
WARP_SHARE = 0.6
LARGEST_ERROR_PX = 4.5
CORRECT_PX = 3.0
"""The covariance is scaled for matches whose error as detected is smaller; larger ones are called wrong."""
SMALLEST_GROUP = 300
"""Matches of a detector and kind, fewer of which tell too little about a share."""
NOMINAL = {1: 1.0 - math.exp(-0.5), 2: 1.0 - math.exp(-2.0)}


@dataclass
class Phase:
    """A part of the training, with a schedule of its own."""

    steps: int
    learning_rate: float
    fine_runs: int


PHASES = (Phase(17000, 2e-3, 1), Phase(4500, 6e-4, 2), Phase(4000, 6e-4, 2))


@dataclass
class Matches:
    """N matches: crops (N, S, S) of either image, and places (N, 2) relative to the middle of their crop."""

    crop0: torch.Tensor
    crop1: torch.Tensor
    place0: torch.Tensor
    place1: torch.Tensor
    target: torch.Tensor
    """(N, 2) in crop1."""
    jacobian: torch.Tensor
    """(N, 2, 2) of the target by the point of image 0; 0 where not known."""
    detector: torch.Tensor
    street: torch.Tensor
    """(N,) whether they come from the rendered street."""

    def __getitem__(self, chosen: torch.Tensor) -> Matches:
        return Matches(*(getattr(self, field)[chosen] for field in self.__dataclass_fields__))

    def estimate(self, network: SubpxNetwork) -> list[Estimate]:
        crop0, crop1 = self.crop0.float() / 255.0, self.crop1.float() / 255.0
        patches0 = patches(crop0, self.place0, PATCH_SIZE)
        return network(patches0, lambda shift, size: patches(crop1, self.place1 + shift, size))

    def errors(self, estimates: list[Estimate]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.place1 + each.shift - self.target, each.whitening) for each in estimates]


def patches(crops: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
    """(N, size, size), sampled bilinearly."""
    steps = torch.arange(size) - (size - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    grid = (offsets + places[:, None, None]) / ((crops.shape[-1] - 1) / 2)
    return torch.nn.functional.grid_sample(crops[:, None], grid, padding_mode="border", align_corners=True)[:, 0]


def read(files: list[Path]) -> Matches:
    """The matches of all files; street files have that word in their names."""
    parts = []
    for file in files:
        with np.load(file) as arrays:
            names = ("crop0", "crop1", "fraction0", "fraction1", "target", "jacobian", "detector")
            tensors = [torch.from_numpy(arrays[name]) for name in names]
        tensors.append(torch.full((len(tensors[0]),), "street" in file.name))
        parts.append(Matches(*tensors))
    return Matches(*(torch.cat([getattr(each, field) for each in parts]) for field in Matches.__dataclass_fields__))


def drawing_weights(matches: Matches) -> torch.Tensor:
    """(N,) so that every detector and both kinds of pairs get their share."""
    weights = torch.zeros(len(matches.detector))
    for detector, share in enumerate(DETECTOR_SHARES):
        for street, kind_share in ((False, WARP_SHARE), (True, 1.0 - WARP_SHARE)):
            group = (matches.detector == detector) & (matches.street == street)
            weights[group] = share * kind_share / max(1, int(group.sum()))
    return weights


def augmented(matches: Matches) -> Matches:
    """First points moved within half a pixel, some second points put elsewhere, flips, transposition, noise."""
    count = len(matches.place0)
    known = (matches.jacobian.abs().sum(dim=(1, 2)) > 0)[:, None]
    move = (torch.rand(count, 2) - 0.5) * (torch.rand(count, 1) < 0.5) * known
    place0 = matches.place0 + move
    target = matches.target + (matches.jacobian @ move[..., None])[..., 0]
    spread = torch.empty(count, 1).uniform_(math.log(0.1), math.log(1.6)).exp()
    place1 = torch.where(torch.rand(count, 1) < 0.25, target + spread * torch.randn(count, 2), matches.place1)
    place1 = torch.where((place1 - target).norm(dim=1, keepdim=True) > LARGEST_ERROR_PX, target, place1)
    crops, places = [matches.crop0.float(), matches.crop1.float()], [place0, place1, target]
    for axis in (0, 1):
        if torch.rand(()) < 0.5:
            crops = [each.flip(2 - axis) for each in crops]
            sign = torch.tensor([-1.0, 1.0] if axis == 0 else [1.0, -1.0])
            places = [each * sign for each in places]
    if torch.rand(()) < 0.5:
        crops, places = [each.transpose(1, 2) for each in crops], [each.flip(1) for each in places]
    if torch.rand(()) < 0.3:
        level = 255.0 * 0.02 * torch.rand(count, 1, 1)
        crops = [each + level * torch.randn_like(each) for each in crops]
    return Matches(
        crops[0], crops[1], places[0], places[1], places[2], matches.jacobian, matches.detector, matches.street
    )


def validate(network: SubpxNetwork, matches: Matches) -> tuple[torch.Tensor, torch.Tensor]:
    """Length (N,) of the errors, pixels, and their squared Mahalanobis lengths (N,) for a covariance scale of 1."""
    lengths, squared = [], []
    with torch.inference_mode():
        for indices in torch.arange(len(matches.detector)).split(512):
            part = matches[indices]
            errors, whitening = part.errors(part.estimate(network))[-1]
            u00, u01, u11 = unpack_whitening(whitening)
            lengths.append(errors.norm(dim=1))
            squared.append((u00 * errors[:, 0] + u01 * errors[:, 1]).square() + (u11 * errors[:, 1]).square())
    return torch.cat(lengths), torch.cat(squared)


def groups(matches: Matches) -> dict[str, torch.Tensor]:
    """Which of the matches (N,) are of one detector and one kind of pairs, where there are enough to count."""
    found = {
        f"{name} {kind}": (matches.detector == detector) & (matches.street == street)
        for street, kind in ((False, "warps"), (True, "street"))
        for detector, name in enumerate(("xfeat", "sift", "aliked"))
    }
    return {name: chosen for name, chosen in found.items() if int(chosen.sum()) >= SMALLEST_GROUP}


def covariance_scale(squared: torch.Tensor, chosen: list[torch.Tensor]) -> float:
    """With which the worst share inside a 1- or 2-sigma ellipse, of all groups, is nearest to nominal."""

    def miss(scale: float) -> float:
        return max(
            abs(math.log(float((squared[group] < sigmas**2 * scale).float().mean()) / share))
            for sigmas, share in NOMINAL.items()
            for group in chosen
        )

    return min((step / 100.0 for step in range(30, 200)), key=miss)


def report(network: SubpxNetwork, matches: Matches) -> None:
    lengths, squared = validate(network, matches)
    for name, chosen in groups(matches).items():
        shares = [
            f"{100 * float((squared[chosen] < sigmas**2 * network.covariance_scale).float().mean()) / share:.0f} %"
            for sigmas, share in NOMINAL.items()
        ]
        mean, median = float(lengths[chosen].mean()), float(lengths[chosen].median())
        print(f"  {name}: mean {mean:.3f} px, median {median:.3f} px; 1, 2 sigma: {', '.join(shares)}", flush=True)


def train(network: SubpxNetwork, phase: Phase, training: Matches, validation: Matches, out: Path) -> None:
    """Keeps what there is in `out` every 500 steps."""
    network.fine_runs = phase.fine_runs
    weights = drawing_weights(training)
    optimiser = torch.optim.AdamW(network.parameters(), lr=phase.learning_rate, weight_decay=1e-3)
    for step in range(phase.steps + 1):
        if step % 500 == 0 or step == phase.steps:
            squared = validate(network, validation)[1]
            network.covariance_scale.fill_(covariance_scale(squared, list(groups(validation).values())))
            print(f"step {step}, covariance scale {float(network.covariance_scale):.2f}", flush=True)
            report(network, validation)
            save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, out)
        if step == phase.steps:
            break
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / phase.steps))
        for group in optimiser.param_groups:
            group["lr"] = phase.learning_rate * min(1.0, step / WARM_UP) * (cosine + 0.003)
        matches = augmented(training[torch.multinomial(weights, BATCH, replacement=True)])
        loss = refinement_loss(matches.errors(matches.estimate(network)))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, nargs="+", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, validation = read(options.data), read(options.validation)
    validation = validation[(validation.place1 - validation.target).norm(dim=1) < CORRECT_PX]
    print(f"{len(training.detector)} matches to train on, {len(validation.detector)} to validate with")
    torch.manual_seed(0)
    network = SubpxNetwork()
    for seed, phase in enumerate(PHASES):
        if seed:
            torch.manual_seed(seed)
        train(network, phase, training, validation, options.out)


if __name__ == "__main__":
    main()
