"""`subpx export`: the stages that a configuration names as ONNX files, with a parity report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from subpx_ros import __version__
from subpx_ros.config import Config
from subpx_ros.errors import ConfigError
from subpx_ros.export.inputs import Tensors, detector_inputs, matcher_inputs, refiner_inputs
from subpx_ros.export.modules import FixedDetector, FixedMatcher, FixedRefiner
from subpx_ros.export.onnx_files import OnnxStage, require_onnx, write_onnx
from subpx_ros.export.parity import Parity, compare
from subpx_ros.features import DETECTORS, detector_entry
from subpx_ros.output import output_folder, write_text
from subpx_ros.pipeline import FrontEnd
from subpx_ros.settings import to_mapping


def export(
    config: Config,
    out: Path,
    images: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    report: Callable[[str], None] = lambda line: None,
) -> Parity:
    """Write detector.onnx, matcher.onnx, refiner.onnx (unless it is 'none'), parity.json and config.yaml.

    The keypoint budget is `features.max_keypoints`. The files take images of any size, but for ALIKED's detector,
    which takes those of the size of the given ones.

    Args:
        config: which stages; they are exported on the CPU, without LightGlue's adaptive depth and width.
        out: the folder.
        images: two overlapping grey views (H, W) uint8, on which PyTorch and onnxruntime are compared.
        report: called with lines for people.

    Raises:
        ConfigError: a package that export needs is missing, or the detector cannot be exported for these images.
        SubpxError: a model or its weights cannot be had.
    """
    require_onnx()
    if not detector_entry(config.features.detector).learned:
        learned = ", ".join(name for name, entry in DETECTORS.items() if entry.learned)
        raise ConfigError(f"{config.features.detector} is no network and cannot be exported; choose one of {learned}")
    config = replace(config, device="cpu", fixed_size="off", matching=replace(config.matching, adaptive=False))
    front_end = FrontEnd(config, report)
    if not front_end.detector.exports_any_size and images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in images)
        raise ConfigError(
            f"{front_end.detector.name} is exported for one image size, but the images have {sizes} pixels"
        )
    output_folder(out)
    budget = config.features.max_keypoints
    stages = {}
    for stage in _stages(front_end, budget, images):
        path = out / f"{stage.name}.onnx"
        report(f"writing {path}")
        write_onnx(stage.module, stage.inputs, stage.outputs, path, stage.any_size)
        stages[stage.name] = OnnxStage(path)
    parity = compare(front_end, stages, budget, images)
    write_text(out / "config.yaml", yaml.safe_dump(to_mapping(config), sort_keys=False))
    write_text(out / "parity.json", json.dumps({"version": __version__, **parity.to_mapping()}, indent=2) + "\n")
    return parity


@dataclass(frozen=True)
class _Stage:
    """What is written as one file; see `write_onnx`."""

    name: str
    module: nn.Module
    inputs: Tensors
    outputs: Sequence[str]
    any_size: Sequence[str] = ()


def _stages(front_end: FrontEnd, budget: int, images: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Iterator[_Stage]:
    views = front_end.detect([images[0]])[0], front_end.detect([images[1]])[0]
    outputs = ["keypoints", "scores", "descriptors", "count"]
    outputs += [] if views[0].descriptor_norms is None else ["descriptor_norms"]
    outputs += [] if views[0].score_map is None else ["score_map"]
    detector = FixedDetector(front_end.detector, budget)
    free = ["image"] if front_end.detector.exports_any_size else []
    yield _Stage("detector", detector, detector_inputs(views[0]), outputs, free)

    yield _Stage("matcher", FixedMatcher(front_end.matcher), matcher_inputs(views, budget), ("partners", "scores"))

    if front_end.refiner.name == "none":
        return
    matches = front_end.match(*views)
    inputs = refiner_inputs(front_end.refiner, views, (matches.indices0, matches.indices1), budget)
    refiner = FixedRefiner(front_end.refiner)
    with torch.no_grad():
        given = len(refiner(*inputs.values()))
    free = [name for name in inputs if name.startswith(("image", "score_map"))]
    yield _Stage("refiner", refiner, inputs, ("refined0", "refined1", "covariance1")[:given], free)
