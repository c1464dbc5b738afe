"""Train the shipped weights of the refiner subpx from what shipped_refiner_data.py wrote.

    python tools/shipped_refiner_data.py street 1 96 street.npz
    python tools/shipped_refiner_data.py warps 11 170 warps_11.npz
    python tools/shipped_refiner_data.py warps 12 170 warps_12.npz
    python tools/train_shipped_refiner.py subpx.safetensors street.npz warps_11.npz warps_12.npz

The last 2 % of every file are for validation and for the scale of the covariance. The learning rate follows a cosine
over the steps; the shipped run had it follow the clock, for 20.5 minutes of one CPU core, which came to as many steps.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from subpx_ros.refinement.subpx import PATCH_SIZE, Estimate, SubpxNetwork, unpack_whitening
from subpx_ros.training.losses import refinement_loss

STEPS = 11363
BATCH = 384
LEARNING_RATE = 2e-3
WARM_UP = 200
VALIDATION = 0.02
DETECTOR_SHARES = (0.5, 0.25, 0.25)
WARP_SHARE = 0.6
LARGEST_ERROR_PX = 4.5
CORRECT_PX = 3.0
"""The covariance is scaled for matches whose error as detected is smaller; larger ones are called wrong."""
NOMINAL = {1: 1.0 - math.exp(-0.5), 2: 1.0 - math.exp(-2.0)}


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
        return network(patches(crop0, self.place0), lambda shift: patches(crop1, self.place1 + shift))

    def errors(self, estimates: list[Estimate]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(self.place1 + each.shift - self.target, each.whitening) for each in estimates]


def patches(crops: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(N, 17, 17), sampled bilinearly."""
    steps = torch.arange(PATCH_SIZE) - (PATCH_SIZE - 1) / 2
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    grid = (offsets + places[:, None, None]) / ((crops.shape[-1] - 1) / 2)
    return torch.nn.functional.grid_sample(crops[:, None], grid, padding_mode="border", align_corners=True)[:, 0]


def read(files: list[Path]) -> tuple[Matches, Matches]:
    """Matches to train on and to validate with."""
    parts: tuple[list[Matches], list[Matches]] = ([], [])
    for file in files:
        with np.load(file) as arrays:
            names = ("crop0", "crop1", "fraction0", "fraction1", "target", "jacobian", "detector")
            tensors = [torch.from_numpy(arrays[name]) for name in names]
        tensors.append(torch.full((len(tensors[0]),), "street" in file.name))
        matches = Matches(*tensors)
        last = torch.arange(len(tensors[0])) > (1.0 - VALIDATION) * len(tensors[0])
        parts[0].append(matches[~last])
        parts[1].append(matches[last])
    joined = [
        Matches(*(torch.cat([getattr(each, field) for each in part]) for field in Matches.__dataclass_fields__))
        for part in parts
    ]
    return joined[0], joined[1]


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


def covariance_scale(squared: torch.Tensor, detector: torch.Tensor) -> float:
    """With which the shares inside the 1- and 2-sigma ellipses are nearest to nominal, every detector counting alike."""
    weights = torch.zeros(len(squared))
    for each in detector.unique():
        weights[detector == each] = 1.0 / float((detector == each).sum())
    weights /= weights.sum()

    def miss(scale: float) -> float:
        return max(
            abs(math.log(float(weights[squared < sigmas**2 * scale].sum()) / share))
            for sigmas, share in NOMINAL.items()
        )

    return min((step / 100.0 for step in range(30, 200)), key=miss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    training, validation = read(options.data)
    weights = drawing_weights(training)
    network = SubpxNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    for step in range(options.steps):
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / options.steps))
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / WARM_UP) * (cosine + 0.003)
        matches = augmented(training[torch.multinomial(weights, BATCH, replacement=True)])
        loss = refinement_loss(matches.errors(matches.estimate(network)))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        if step % 500 == 0:
            lengths, _ = validate(network, validation)
            means = [float(lengths[validation.detector == each].mean()) for each in range(3)]
            print(step, "mean error, px:", [round(mean, 3) for mean in means], flush=True)
    correct = validation[(validation.place1 - validation.target).norm(dim=1) < CORRECT_PX]
    network.covariance_scale.fill_(covariance_scale(validate(network, correct)[1], correct.detector))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
