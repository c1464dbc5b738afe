"""Every detector with every matcher and refiner that fits it, on one real pair of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros import weights
from subpx_ros.checkpoints import Shipped, Wheel
from subpx_ros.config import PRESETS, Config, RefinementConfig, load_config
from subpx_ros.datasets import open_sequence
from subpx_ros.datatypes import Array, Camera, Features, Matches
from subpx_ros.features import DETECTORS
from subpx_ros.fit import combinations
from subpx_ros.geometry import invert
from subpx_ros.pipeline import FrontEnd
from subpx_ros.pose import estimate_mono
from subpx_ros.refinement import create_refiner

FRAMES = (20, 23)
LIGHT = ("xfeat", "sift", "orb")
"""Detectors that take full images; those of the others are reduced by half, to save time."""
LARGEST_ERROR_DEG = 2.0
EXTRA_FILES = {"dedode-g": ("dedode-detector-l", "dinov2-vitl14"), "dedode-b": ("dedode-detector-l",)}


@dataclass(frozen=True)
class Pair:
    """Two views of a street, 2.7 m apart."""

    images: tuple[NDArray[np.uint8], ...]
    camera: Camera
    T_0_1: Array


@cache
def read_pair(folder: Path, scale: float) -> Pair:
    sequence = open_sequence(str(folder), "mono")
    assert sequence.truth is not None
    whole = [sequence.frame(index).image for index in FRAMES]
    images = [cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for image in whole]
    camera, (height, width) = sequence.rig.left, images[0].shape
    x, y = width / camera.width, height / camera.height
    centre = ((camera.cx + 0.5) * x - 0.5, (camera.cy + 0.5) * y - 0.5)
    small = Camera(camera.fx * x, camera.fy * y, *centre, width, height)
    truth = invert(sequence.truth[FRAMES[0]]) @ sequence.truth[FRAMES[1]]
    return Pair(tuple(image.astype(np.uint8) for image in images), small, truth)


def settings(detector: str, matcher: str) -> Config:
    preset = next((p for p, s in PRESETS.items() if s["features"]["detector"] == detector), "aliked")
    features = {"detector": detector, "max_keypoints": 1024}
    overrides = {"features": features, "matching": {"matcher": matcher}, "refiner": "none"}
    return load_config({"preset": preset, "device": "cpu", **overrides})


@cache
def matched(folder: Path, detector: str, matcher: str) -> tuple[FrontEnd, Pair, Features, Features, Matches]:
    """A pair with its features and matches, by stages that are loaded once."""
    pair = read_pair(folder, 1.0 if detector in LIGHT else 0.5)
    stages = FrontEnd(settings(detector, matcher))
    view0, view1 = (stages.detect([image])[0] for image in pair.images)
    return stages, pair, view0, view1, stages.match(view0, view1)


def skip_without_weights(detector: str, matcher: str, refiner: str) -> None:
    """The published weights must be on this machine, or be of those that tests may fetch."""
    entry = DETECTORS[detector]
    if matcher in entry.matchers and not entry.matchers[matcher]:
        pytest.skip(f"the weights of {matcher} for {detector} are only given by path")
    needed = [detector] if entry.learned else []
    needed += [*EXTRA_FILES.get(detector, ()), *filter(None, [entry.matchers.get(matcher)])]
    needed += [entry.keypt2subpx[0]] if refiner == "keypt2subpx" else []
    for name in needed:
        fetched = isinstance(weights.checkpoint_named(name).source, Wheel | Shipped)
        if not fetched and weights.find(name) is None:
            pytest.skip(f"needs the weights {name} on this machine")


def error_deg(first: Array, second: Array) -> float:
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


@pytest.mark.parametrize(("detector", "matcher", "refiner"), list(combinations()))
def test_the_pose_of_a_real_pair_is_found(
    shared_data: Callable[[str], Path], detector: str, matcher: str, refiner: str
) -> None:
    skip_without_weights(detector, matcher, refiner)
    stages, pair, view0, view1, matches = matched(shared_data("kitti00_mono160"), detector, matcher)
    refining = create_refiner(refiner, RefinementConfig(), stages.detector, stages.device)
    refined = refining.refine(view0, view1, matches)
    pose = estimate_mono(refined.refined0, refined.refined1, pair.camera, pair.camera, load_config().pose)
    assert pose.T_reference_current is not None, pose.reason
    rotation, _ = cv2.Rodrigues(pose.T_reference_current[:3, :3].T @ pair.T_0_1[:3, :3])
    assert np.degrees(np.linalg.norm(rotation)) < LARGEST_ERROR_DEG
    assert error_deg(pose.T_reference_current[:3, 3], pair.T_0_1[:3, 3]) < LARGEST_ERROR_DEG
