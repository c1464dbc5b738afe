"""Matches of training pairs, extracted once and stored.

A store is a folder: `manifest.json` says what is in it (sources, detector, matcher, package version) and carries their
fingerprint; `000000.safetensors`, ... hold one pair each, with the same fingerprint in the header. A file is written
beside and renamed, so it is complete or not there; extraction that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from subpx_ros import __version__
from subpx_ros.config import Config, FeatureConfig, MatchingConfig
from subpx_ros.console import note, progress_bar
from subpx_ros.datatypes import Array, Camera, Features, Matches
from subpx_ros.errors import DataError
from subpx_ros.output import output_folder, write_text, written_beside
from subpx_ros.pipeline import FrontEnd
from subpx_ros.settings import to_mapping
from subpx_ros.training.config import DataConfig
from subpx_ros.training.pairs import TrainingPair, transfer
from subpx_ros.training.sources import create_source

FORMAT = 1
_MANIFEST = "manifest.json"
_HEADER = "pair"


@dataclass(frozen=True)
class StoredPair:
    """The matches of one pair. Images are grey uint8 tensors (H, W); M matches."""

    name: str
    image0: torch.Tensor
    image1: torch.Tensor
    score_map0: torch.Tensor | None
    """(H, W) float32, where the detector has one."""
    score_map1: torch.Tensor | None
    keypoints0: torch.Tensor
    """(M, 2) float32 pixels, as detected."""
    keypoints1: torch.Tensor
    target1: torch.Tensor
    """(M, 2) float32: where the point of keypoints0 is in image1, exactly; NaN where that is not known."""
    jacobian1: torch.Tensor
    """(M, 2, 2) float32: how target1 moves with the point of image0; NaN where that is not known."""
    scores: torch.Tensor
    """(M,) float32, the matcher's."""
    descriptors0: torch.Tensor
    """(M, D) float32, unit length."""
    descriptors1: torch.Tensor
    camera0: Camera
    camera1: Camera
    T_0_1: Array | None
    """(4, 4)"""
    flat: bool
    """Whether the scene is one plane: then matches alone do not determine the pose."""
    essential: Array | None
    """E (3, 3) with x1' E x0 = 0 for normalised coordinates; None where there is no translation."""

    def __len__(self) -> int:
        return len(self.keypoints0)


class MatchStore:
    """Reads a store; opening checks that it is complete."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError for a store that is missing, damaged or not complete."""
        self.folder = folder
        self.manifest = _read_manifest(folder)
        if not self.manifest["complete"]:
            raise DataError(f"{folder} is not complete: run the extraction again, it goes on where it stopped")
        self.counts: list[int] = self.manifest["matches"]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def descriptor_size(self) -> int:
        return int(self.manifest["detector"]["descriptor_size"])

    @property
    def has_score_map(self) -> bool:
        return bool(self.manifest["detector"]["has_score_map"])

    def read(self, index: int) -> StoredPair:
        """Raises DataError when the file is missing, cut off, or of another store."""
        return _read_pair(self.folder / _file_name(index), self.manifest["fingerprint"])


def extract_matches(
    data: DataConfig, features: FeatureConfig, matching: MatchingConfig, parent: Path, device: str = "auto"
) -> MatchStore:
    """The store of these settings below `parent`, made or completed where needed, with a progress bar.

    The folder is named after the fingerprint of settings and package version, so that other settings are another one.

    Raises:
        SubpxError: data, weights or the device cannot be had, or the folder cannot be written.
    """
    made_of = {
        "format": FORMAT,
        "package_version": __version__,
        "data": to_mapping(data),
        "features": to_mapping(features),
        "matching": to_mapping(matching),
    }
    fingerprint = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    folder = output_folder(parent / f"{features.detector}-{fingerprint[:12]}")
    if (folder / _MANIFEST).is_file() and _read_manifest(folder)["complete"]:
        store = MatchStore(folder)
        if store.manifest["fingerprint"] == fingerprint and _all_valid(store):
            return store
    source = create_source(data)
    front_end = FrontEnd(
        Config(device=device, refiner="none", threads=torch.get_num_threads(), features=features, matching=matching),
        note,
    )
    detector = front_end.detector
    manifest = made_of | {
        "fingerprint": fingerprint,
        "sources": dict(source.describe()),
        "detector": {
            "name": detector.name,
            "descriptor_size": detector.descriptor_size,
            "has_score_map": detector.has_score_map,
        },
    }
    _write_manifest(folder, manifest | {"complete": False, "matches": []})
    counts = []
    with progress_bar() as bar:
        task = bar.add_task(f"matches of {detector.name}", total=len(source), detail="pairs")
        for index in range(len(source)):
            path = folder / _file_name(index)
            count = _stored_count(path, fingerprint)
            if count is None:
                count = _extract(source.pair(index), front_end, path, fingerprint)
            counts.append(count)
            bar.advance(task)
    _write_manifest(folder, manifest | {"complete": True, "matches": counts})
    return MatchStore(folder)


def match_pair(pair: TrainingPair, front_end: FrontEnd) -> tuple[Features, Features, Matches]:
    """Features of both images and their matches."""
    features0, features1 = (front_end.detect([image])[0] for image in (pair.image0, pair.image1))
    return features0, features1, front_end.match(features0, features1)


def exact_targets(pair: TrainingPair, pixels0: NDArray[np.floating]) -> tuple[Array, Array]:
    """Exact positions (M, 2) in image1 of pixels (M, 2) of image0, and their derivative (M, 2, 2) by those pixels.

    NaN where they are not known or not visible; the derivative is a central difference over one pixel.
    """
    pixels0 = np.asarray(pixels0, dtype=np.float64)

    def follow(offset: tuple[float, float]) -> Array:
        if not pair.exact:
            return np.full_like(pixels0, np.nan)
        pixels1, valid = transfer(pair, pixels0 + offset)
        return np.where(valid[:, None], pixels1, np.nan)

    along_x = follow((0.5, 0.0)) - follow((-0.5, 0.0))
    along_y = follow((0.0, 0.5)) - follow((0.0, -0.5))
    return follow((0.0, 0.0)), np.stack([along_x, along_y], axis=2)


def _extract(pair: TrainingPair, front_end: FrontEnd, path: Path, fingerprint: str) -> int:
    features0, features1, matches = match_pair(pair, front_end)
    keypoints0 = features0.keypoints[matches.indices0]
    target1, jacobian1 = exact_targets(pair, keypoints0.cpu().numpy())
    tensors = {
        "image0": torch.from_numpy(pair.image0),
        "image1": torch.from_numpy(pair.image1),
        "keypoints0": keypoints0,
        "keypoints1": features1.keypoints[matches.indices1],
        "target1": torch.from_numpy(target1.astype(np.float32)),
        "jacobian1": torch.from_numpy(jacobian1.astype(np.float32)),
        "scores": matches.scores,
        "descriptors0": features0.descriptors[matches.indices0],
        "descriptors1": features1.descriptors[matches.indices1],
        "cameras": torch.tensor([_camera_row(pair.camera0), _camera_row(pair.camera1)], dtype=torch.float64),
    }
    if features0.score_map is not None and features1.score_map is not None:
        tensors |= {"score_map0": features0.score_map, "score_map1": features1.score_map}
    if pair.T_0_1 is not None:
        tensors["T_0_1"] = torch.from_numpy(np.ascontiguousarray(pair.T_0_1, dtype=np.float64))
    if pair.essential is not None:
        tensors["essential"] = torch.from_numpy(np.ascontiguousarray(pair.essential))
    header = {
        "fingerprint": fingerprint,
        "name": pair.name,
        "matches": len(matches),
        "flat": pair.homography is not None,
    }
    with written_beside(path) as temporary:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            {_HEADER: json.dumps(header)},  # one entry, as several would come in an order that changes
        )
    return len(matches)


def _read_pair(path: Path, fingerprint: str) -> StoredPair:
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} is missing or cut off ({' '.join(str(error).split())}): extract the matches again"
        ) from None
    if header.get("fingerprint") != fingerprint:
        raise DataError(f"{path} belongs to matches of other settings: remove it and extract the matches again")
    cameras = [_camera_of(row) for row in tensors.pop("cameras").tolist()]
    T_0_1, essential = (tensors.pop(name, None) for name in ("T_0_1", "essential"))
    score_maps = {name: tensors.pop(name, None) for name in ("score_map0", "score_map1")}
    return StoredPair(
        name=header["name"],
        flat=header["flat"],
        camera0=cameras[0],
        camera1=cameras[1],
        T_0_1=None if T_0_1 is None else T_0_1.numpy(),
        essential=None if essential is None else essential.numpy(),
        **score_maps,
        **tensors,
    )


def _stored_count(path: Path, fingerprint: str) -> int | None:
    """Matches in a stored file of this store; None where there is none that is complete."""
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata())
    except (OSError, SafetensorError):
        return None
    return int(header["matches"]) if header.get("fingerprint") == fingerprint else None


def _header(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    try:
        header = json.loads((metadata or {})[_HEADER])
    except (KeyError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def _all_valid(store: MatchStore) -> bool:
    fingerprint = store.manifest["fingerprint"]
    stored = [_stored_count(store.folder / _file_name(index), fingerprint) for index in range(len(store))]
    return stored == store.counts


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): extract the matches again") from None
    needed = {"format", "fingerprint", "complete", "matches", "detector", "sources"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys() or manifest["format"] != FORMAT:
        raise DataError(f"{path} is no manifest of format {FORMAT}: remove the folder and extract the matches again")
    return manifest


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    write_text(folder / _MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _file_name(index: int) -> str:
    return f"{index:06d}.safetensors"


def _camera_row(camera: Camera) -> list[float]:
    return [camera.fx, camera.fy, camera.cx, camera.cy, float(camera.width), float(camera.height)]


def _camera_of(row: list[float]) -> Camera:
    fx, fy, cx, cy, width, height = row
    return Camera(fx, fy, cx, cy, int(width), int(height))
