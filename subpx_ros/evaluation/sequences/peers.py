"""Other odometries on the same images: each a command of its own that reads a KITTI folder and writes KITTI poses."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from subpx_ros.config import read_yaml_table
from subpx_ros.console import note
from subpx_ros.datasets import Sequence, sequence_layout
from subpx_ros.datasets.sequence import relative_to_first
from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence
from subpx_ros.datasets.text import parse_number, pose_from_row, read_lines
from subpx_ros.datatypes import Array, TrackingState
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.evaluation.run import RunRecord

PEER = "peer"
"""Stands for the preset in the tables."""
_TOY_VO = Path(__file__).with_name("toy_vo_adapter.py")
_PLACES = ("{sequence}", "{poses}")
_LAST_WORDS = 300


@dataclass(frozen=True)
class Peer:
    """An odometry beside ours."""

    name: str
    command: tuple[str, ...]
    """With {sequence}, {poses} and perhaps {times} in it: a KITTI folder to read, a file for a KITTI row per frame (T_first_camera,
    twelve zeros where there is no pose), and one for the milliseconds of every frame."""


def known_peers(python: str, file: str) -> list[Peer]:
    """toy-vo, if the interpreter `python` (empty: this one) has it, and what the YAML `file` names (empty: none).

    Raises:
        ConfigError: `python` cannot be run, or the file is no table of name: command; or there is no peer at all.
    """
    peers = []
    python = python or sys.executable
    if _has_module(python, "toy_vo"):
        peers.append(Peer("toy-vo", (python, str(_TOY_VO), "{sequence}", "{poses}", "{times}")))
    else:
        note(f"toy-vo: not installed for {python} (pip install toy-vo opencv-python-headless)")
    peers += [_peer(name, command) for name, command in (read_yaml_table(Path(file)) if file else {}).items()]
    if not peers:
        raise ConfigError("--peers found none: install toy-vo, name an interpreter that has it, or a file of commands")
    return peers


def _peer(name: object, command: object) -> Peer:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        raise ConfigError(f"a peer's name has letters, digits, dots, dashes and underscores; got {str(name)[:60]!r}")
    if not isinstance(command, str) or not all(place in command for place in _PLACES):
        raise ConfigError(
            f"the peer {name} needs a command with {' and '.join(_PLACES)} in it, as docs/benchmarking.md shows"
        )
    try:
        return Peer(name, tuple(shlex.split(command)))
    except ValueError as error:
        raise ConfigError(f"the command of the peer {name} cannot be split into words: {error}") from None


def _has_module(python: str, module: str) -> bool:
    test = f"import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)"
    try:
        return subprocess.run([python, "-c", test], check=False, timeout=60, capture_output=True).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the interpreter {python} cannot be run: {error}") from None


def run_peer(peer: Peer, recording: Sequence, source: str, timeout_s: float) -> RunRecord:
    """The peer over a recording with the same images that our odometry sees.

    Raises:
        DataError: its command fails, takes longer than `timeout_s`, or does not write a pose per frame.
    """
    with TemporaryDirectory(prefix="subpx-peer-") as scratch, _as_kitti(recording, source, Path(scratch)) as folder:
        files = {"sequence": folder, "poses": Path(scratch) / "poses.txt", "times": Path(scratch) / "times.txt"}
        seconds = _call(peer, files, timeout_s)
        poses, lost = _read_poses(peer, files["poses"], len(recording))
        times = _read_times(files["times"], len(recording)) or [1e3 * seconds / len(recording)] * len(recording)
    return RunRecord(
        source=source,
        preset=PEER,
        refiner=peer.name,
        device="cpu",
        mode=recording.rig.mode,
        config={},
        stamps_ns=recording.stamps_ns,
        poses=poses,
        states=[TrackingState.LOST if without else TrackingState.TRACKING for without in lost],
        reasons=["no pose" if without else "" for without in lost],
        stage_ms=[{"total": each} for each in times],
        counts=[{}] * len(recording),
        seconds=seconds,
        metric=recording.rig.mode != "mono",
        truth=recording.truth,
    )


@contextmanager
def _as_kitti(recording: Sequence, source: str, scratch: Path) -> Iterator[Path]:
    """The recording's own folder where that is the same, else a copy in KITTI's layout."""
    path = Path(source).expanduser()
    if path.exists() and sequence_layout(path) == "kitti" and _is_whole(recording, path):
        yield path.resolve()
        return
    write_kitti_sequence(recording, scratch / "sequence")
    yield scratch / "sequence"


def _is_whole(recording: Sequence, folder: Path) -> bool:
    images = [len(list((folder / f"image_{camera}").glob("*.png"))) for camera in (0, 1)]
    return images == [len(recording), len(recording) if recording.rig.stereo else 0]


def _call(peer: Peer, files: dict[str, Path], timeout_s: float) -> float:
    """Runs the command; its seconds."""
    words = [_filled(word, files) for word in peer.command]
    start = time.perf_counter()
    try:
        done = subprocess.run(words, check=False, timeout=timeout_s, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise DataError(f"{peer.name} cannot be run: {error}") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"{peer.name} was not done after {timeout_s:g} s") from None
    if done.returncode:
        words_of_it = " ".join(done.stderr.split())[-_LAST_WORDS:]
        raise DataError(f"{peer.name} ended with code {done.returncode}: {words_of_it}")
    return time.perf_counter() - start


def _filled(word: str, files: dict[str, Path]) -> str:
    for name, path in files.items():
        word = word.replace(f"{{{name}}}", str(path))
    return word


def _read_poses(peer: Peer, path: Path, frames: int) -> tuple[Array, list[bool]]:
    """T_first_camera (frames, 4, 4), the last good pose where there is none, and which have none."""
    lines = read_lines(path)
    if len(lines) != frames:
        raise DataError(f"{peer.name} wrote {len(lines)} poses; {frames} frames need one each")
    poses, lost = [np.eye(4)], []
    for number, line in lines:
        where = f"{peer.name}'s poses, line {number}"
        values = np.array([parse_number(token, where) for token in line.split()])
        if len(values) != 12:
            raise DataError(f"{where}: 12 numbers are required, [R | t] row by row; got {len(values)}")
        lost.append(not values.any())
        poses.append(poses[-1] if lost[-1] else pose_from_row(values, where))
    return relative_to_first(np.array(poses[1:])), lost


def _read_times(path: Path, frames: int) -> list[float] | None:
    """Milliseconds per frame; None where the peer wrote none."""
    if not path.exists():
        return None
    times = [parse_number(line, f"{path.name} line {number}") for number, line in read_lines(path)]
    return times if len(times) == frames else None
