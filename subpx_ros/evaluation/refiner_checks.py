"""The measurements of `subpx bench refiner`: each takes the same matches through every refiner."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from subpx_ros.config import PoseConfig
from subpx_ros.console import track
from subpx_ros.datasets.pairs.pair import PairSet
from subpx_ros.datasets.sequence import Sequence as ImageSequence
from subpx_ros.datatypes import Array, Features, Matches, RefinedMatches
from subpx_ros.errors import DataError
from subpx_ros.evaluation.estimators import create_estimator
from subpx_ros.evaluation.pairs.benchmark import compare_refiners
from subpx_ros.evaluation.pairs.pose import PoseTask
from subpx_ros.evaluation.pairs.task import errors_of
from subpx_ros.evaluation.pose_auc import THRESHOLDS_DEG, area_under_curve
from subpx_ros.pipeline import FrontEnd
from subpx_ros.refinement.refiner import Refinement, Refiner
from subpx_ros.training.pairs import TrainingPair, transfer
from subpx_ros.training.sources import PairSource

Refiners = Mapping[str, Refiner]

INLIER_PX = 3.0
"""Matches whose detected end-point error is larger are wrong ones, which no refiner is to mend."""
_CLIP_PX = 2.0
_NOMINAL = {1: 1.0 - np.exp(-0.5), 2: 1.0 - np.exp(-2.0)}
"""Share of a normal distribution in the plane inside its 1- and 2-sigma ellipse."""
_ROUNDS = 9


class SecondOnly(Refiner):
    """Another refiner of which only the second point's move is kept: the first stays for tracks and stereo."""

    def __init__(self, refiner: Refiner) -> None:
        self._refiner = refiner
        self.name = f"{refiner.name}, second point"

    def _refine(self, features0: Features, features1: Features, matches: Matches) -> Refinement:
        refinement = self._refiner._refine(features0, features1, matches)
        return Refinement(features0.keypoints[matches.indices0], refinement.refined1)


@dataclass
class Sample:
    """What the pictures are drawn from: one pair and its matches by every refiner."""

    pair: TrainingPair
    refined: dict[str, RefinedMatches]
    correct: NDArray[np.bool_]


@dataclass
class EndPoints:
    """Errors of correct matches under exact ground truth, by refiner."""

    vectors: dict[str, Array]
    """(M, 2) pixels of image 1, the same matches for every refiner."""
    offsets: dict[str, Array]
    """(M, 2) refined minus detected of the second point."""
    covariances: dict[str, Array]
    """(M, 2, 2) px^2 of the refiners that predict it."""
    samples: list[Sample] = field(default_factory=list)

    def row(self, refiner: str) -> dict[str, Any]:
        """Figures of one refiner; `ratio` is to the detected points."""
        lengths = {name: np.linalg.norm(vectors, axis=1) for name, vectors in self.vectors.items()}
        chosen = lengths[refiner]
        if not len(chosen):
            return {"refiner": refiner, "matches": 0, "mean_px": None, "median_px": None, "ratio": None}
        return {
            "refiner": refiner,
            "matches": len(chosen),
            "mean_px": float(chosen.mean()),
            "median_px": float(np.median(chosen)),
            "ratio": float(chosen.mean() / lengths["detected"].mean()),
        }


def end_point_errors(source: PairSource, front_end: FrontEnd, refiners: Refiners, title: str) -> EndPoints:
    """Errors on the pairs of a source with exact correspondences.

    A match counts when its point of image 0 is visible in image 1, as detected and as refined by everybody, and its
    error as detected is below 3 px.
    """
    vectors: dict[str, list[Array]] = {name: [] for name in refiners}
    offsets: dict[str, list[Array]] = {name: [] for name in refiners}
    covariances: dict[str, list[Array]] = {}
    samples = []
    for index in track(range(len(source)), title, len(source)):
        pair = source.pair(index)
        features0, features1 = (front_end.detect([image])[0] for image in (pair.image0, pair.image1))
        matches = front_end.match(features0, features1)
        refined = {name: refiner.refine(features0, features1, matches) for name, refiner in refiners.items()}
        errors, counted = {}, np.ones(len(matches), dtype=bool)
        for name, result in refined.items():
            target1, visible = transfer(pair, result.refined0)
            errors[name] = result.refined1 - target1
            counted &= visible
        counted &= np.linalg.norm(np.nan_to_num(errors["detected"], nan=np.inf), axis=1) < INLIER_PX
        for name, result in refined.items():
            vectors[name].append(errors[name][counted])
            offsets[name].append((result.refined1 - result.detected1)[counted])
            if result.covariance1 is not None:
                covariances.setdefault(name, []).append(result.covariance1[counted])
        samples.append(Sample(pair, refined, counted))
    return EndPoints(_joined(vectors), _joined(offsets), _joined(covariances), samples[:2])


def calibration(errors: Array, covariances: Array) -> dict[str, Any]:
    """Shares of errors (M, 2) inside the 1- and 2-sigma ellipses of their covariances (M, 2, 2).

    `percent_of_nominal_<k>` is 100 where they are as many as a normal distribution has there.
    """
    squared = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(covariances), errors)
    row: dict[str, Any] = {"matches": len(errors)}
    for sigmas, nominal in _NOMINAL.items():
        inside = float(np.mean(squared <= sigmas**2)) if len(errors) else None
        row[f"inside_{sigmas}"] = inside
        row[f"percent_of_nominal_{sigmas}"] = None if inside is None else 100.0 * inside / nominal
    return row


def row_residuals(
    sequence: ImageSequence, front_end: FrontEnd, refiners: Refiners, most_frames: int = 26
) -> list[dict[str, Any]]:
    """Left-right differences of rows, in which a rectified pair has none, without the rectification's smooth offset.

    The matches are those of the whole images whose rows, as detected, differ by at most 2 px; frames are spread evenly.

    Raises:
        DataError: the sequence has no right camera.
    """
    if sequence.rig.right is None:
        raise DataError(f"{sequence.name} has no right camera: row residuals need a stereo sequence")
    found: dict[str, list[Array]] = {name: [] for name in refiners}
    frames = np.unique(np.linspace(0, len(sequence) - 1, most_frames).round().astype(int)).tolist()
    for index in track(frames, f"rows of {sequence.name}", len(frames)):
        frame = sequence.frame(index)
        assert frame.right_image is not None
        left, right = front_end.detect([frame.image, frame.right_image])
        matches = front_end.match(left, right)
        for name, refiner in refiners.items():
            result = refiner.refine(left, right, matches)
            near = np.abs(result.detected1[:, 1] - result.detected0[:, 1]) <= _CLIP_PX
            found[name].append(np.concatenate([result.refined0, result.refined1], axis=1)[near])
    size = np.array([sequence.rig.left.width, sequence.rig.left.height])
    rows = []
    for name, places in _joined(found).items():
        residual = without_smooth_offset(places[:, :2] / size, places[:, 3] - places[:, 1])
        size_px = np.abs(residual)
        rows.append(
            {
                "refiner": name,
                "matches": len(residual),
                "median_px": float(np.median(size_px)) if len(residual) else None,
                "rms_clipped_px": float(np.sqrt(np.mean(np.minimum(size_px, _CLIP_PX) ** 2)))
                if len(residual)
                else None,
            }
        )
    return rows


def without_smooth_offset(places: Array, values: Array) -> Array:
    """Values (N,) minus the quadratic function of their places (N, 2) in [0, 1] that most of them lie near."""
    x, y = places.T
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    weights = np.ones(len(values))
    residual = values
    for _ in range(20):
        # Re-weighted towards the least sum of absolute values, which wrong matches hardly move.
        root = np.sqrt(weights)[:, None]
        coefficients = np.linalg.lstsq(basis * root, values * root[:, 0], rcond=None)[0]
        residual = values - basis @ coefficients
        weights = 1.0 / np.maximum(np.abs(residual), 0.02)
    return residual


def pose_accuracy(pairs: PairSet, front_end: FrontEnd, refiners: Refiners) -> list[dict[str, Any]]:
    """AUC of relative poses over the pairs (PoseLib at 1 px), and the share of inliers."""
    task, estimators = PoseTask(), [create_estimator("poselib", PoseConfig())]
    features: dict[str, Features] = {}
    results = []
    for index in track(range(len(pairs)), f"poses by {front_end.detector.name}", len(pairs)):
        pair = pairs.pair(index)
        for view in (pair.view0, pair.view1):
            if view.name not in features:
                features[view.name] = front_end.detect([view.image])[0]
        both = features[pair.view0.name], features[pair.view1.name]
        results.append(compare_refiners(task, pair, both, front_end, refiners, estimators))
    rows = []
    for name in refiners:
        models = [result[name]["estimators"]["poselib"] for result in results]
        matched = sum(result[name]["matches"]["count"] for result in results)
        row = {"refiner": name, "pairs": len(pairs), "matches": matched}
        row["inlier_share"] = sum(model["inliers"] for model in models) / max(1, matched)
        areas = area_under_curve(errors_of(models, task.error))
        row |= {f"auc{limit:.0f}": 100.0 * area for limit, area in zip(THRESHOLDS_DEG, areas, strict=True)}
        rows.append(row)
    return rows


def microseconds_per_match(pair: TrainingPair, front_end: FrontEnd, refiners: Refiners) -> list[dict[str, Any]]:
    """Median over several rounds, in which the refiners take turns, so that they share the machine's moods."""
    features0, features1 = (front_end.detect([image])[0] for image in (pair.image0, pair.image1))
    matches = front_end.match(features0, features1)
    taken: dict[str, list[float]] = {name: [] for name in refiners if name != "detected"}
    for _ in range(_ROUNDS):
        for name, times in taken.items():
            start = time.perf_counter()
            refiners[name].refine(features0, features1, matches)
            if features0.keypoints.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    count = max(1, len(matches))
    return [
        {"refiner": name, "matches": len(matches), "microseconds": 1e6 * float(np.median(times)) / count}
        for name, times in taken.items()
    ]


def _joined(parts: Mapping[str, Iterable[Array]]) -> dict[str, Array]:
    return {name: np.concatenate(list(arrays)) for name, arrays in parts.items()}
