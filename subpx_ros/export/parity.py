"""What onnxruntime makes of the exported files, against PyTorch on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.datatypes import Features
from subpx_ros.export.inputs import detector_inputs, matcher_inputs, refiner_inputs
from subpx_ros.export.onnx_files import OnnxStage
from subpx_ros.pipeline import FrontEnd

LARGEST_DIFFERENCE_PX = 1e-3
LEAST_SAME = 0.99


@dataclass(frozen=True)
class Check:
    """One comparison: a share that is the same, or a largest difference."""

    name: str
    value: float
    bar: float
    of: int
    """Keypoints or matches that were compared."""
    share: bool
    """Whether the bar is the least value; otherwise it is the largest."""

    @property
    def passed(self) -> bool:
        return self.of > 0 and (self.value >= self.bar if self.share else self.value <= self.bar)


@dataclass(frozen=True)
class Parity:
    """All comparisons of an export."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        rows = [
            {"check": check.name, "value": check.value, "bar": check.bar, "of": check.of, "passed": check.passed}
            for check in self.checks
        ]
        return {"passed": self.passed, "checks": rows}


def compare(
    front_end: FrontEnd,
    stages: dict[str, OnnxStage],
    budget: int,
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> Parity:
    """Each stage alone on what PyTorch gives the stage before it, then all of them in a row.

    Args:
        front_end: the stages in PyTorch.
        stages: the exported ones: detector, matcher, and refiner where there is one.
        budget: their keypoint budget.
        images: two grey views (H, W) uint8.
    """
    views = front_end.detect([images[0]])[0], front_end.detect([images[1]])[0]
    found = [stages["detector"](detector_inputs(features)) for features in views]
    exported_views = (_features_of(found[0], views[0]), _features_of(found[1], views[1]))
    same = [_same_places(mine, theirs) for mine, theirs in zip(views, exported_views, strict=True)]
    checks = [_share("keypoints that are the same", sum(same), sum(map(_larger, views, exported_views)))]

    matches = front_end.match(*views)
    pairs = set(zip(matches.indices0.tolist(), matches.indices1.tolist(), strict=True))
    exported_pairs = _pairs_of(stages["matcher"](matcher_inputs(views, budget)))
    both = len(pairs & exported_pairs)
    checks.append(_share("matches that are the same", both, max(len(pairs), len(exported_pairs))))

    chain = torch.tensor(sorted(_pairs_of(stages["matcher"](matcher_inputs(exported_views, budget)))))
    chain = chain.reshape(-1, 2)
    refined = front_end.refine(*views, matches)
    points = np.hstack([refined.refined0, refined.refined1])
    if "refiner" in stages:
        indices = matches.indices0, matches.indices1
        moved = _refined(stages["refiner"], front_end, views, indices, budget)
        difference = float(np.abs(moved - points).max(initial=0.0))
        checks.append(
            Check("refined keypoints, largest difference (px)", difference, LARGEST_DIFFERENCE_PX, len(points), False)
        )
        chain_points = _refined(stages["refiner"], front_end, exported_views, (chain[:, 0], chain[:, 1]), budget)
    else:
        ends = zip(exported_views, chain.T, strict=True)
        chain_points = np.hstack([features.keypoints[index].numpy() for features, index in ends])
    near = _nearest(torch.from_numpy(points), torch.from_numpy(chain_points).double()) <= LARGEST_DIFFERENCE_PX
    checks.append(
        _share("refined matches of the whole chain that are the same", int(near.sum()), max(len(points), len(chain)))
    )
    return Parity(tuple(checks))


def _refined(
    stage: OnnxStage,
    front_end: FrontEnd,
    views: tuple[Features, Features],
    indices: tuple[torch.Tensor, torch.Tensor],
    budget: int,
) -> NDArray[Any]:
    """Refined keypoints of both views side by side, (M, 4)."""
    refined = stage(refiner_inputs(front_end.refiner, views, indices, budget))
    return np.hstack([refined["refined0"], refined["refined1"]])[: len(indices[0])]


def _features_of(outputs: dict[str, NDArray[Any]], like: Features) -> Features:
    count = int(outputs["count"])
    rows = {name: torch.from_numpy(outputs[name][:count]) for name in ("keypoints", "scores", "descriptors")}
    norms, score_map = outputs.get("descriptor_norms"), outputs.get("score_map")
    return Features(
        **rows,
        image=like.image,
        score_map=None if score_map is None else torch.from_numpy(score_map),
        descriptor_norms=None if norms is None else torch.from_numpy(norms[:count]),
    )


def _pairs_of(outputs: dict[str, NDArray[Any]]) -> set[tuple[int, int]]:
    return {(first, int(second)) for first, second in enumerate(outputs["partners"]) if second >= 0}


def _same_places(mine: Features, theirs: Features) -> int:
    return int((_nearest(mine.keypoints, theirs.keypoints) <= LARGEST_DIFFERENCE_PX).sum())


def _nearest(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Largest coordinate difference (N,) of each row (N, C) to the row of others (M, C) where it is least."""
    if len(points) == 0 or len(others) == 0:
        return torch.full((len(points),), torch.inf)
    return torch.cdist(points.double(), others.double(), p=torch.inf).min(dim=1).values


def _larger(mine: Features, theirs: Features) -> int:
    return max(len(mine), len(theirs))


def _share(name: str, same: int, total: int) -> Check:
    return Check(name, same / max(total, 1), LEAST_SAME, total, True)
