"""Data sets of image pairs. A new one is a function that gives a `PairSet`, and a line in `LAYOUTS`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from subpx_ros.datasets import sequence_layout
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.settings import unknown_name

if TYPE_CHECKING:
    from subpx_ros.datasets.pairs.pair import PairSet

LAYOUTS = {
    "list": "subpx_ros.datasets.pairs.pair_list:read_pair_list",
    "colmap": "subpx_ros.datasets.pairs.posed:read_colmap_pairs",
    "megadepth1500": "subpx_ros.datasets.pairs.indexed:read_megadepth1500",
    "scannet1500": "subpx_ros.datasets.pairs.indexed:read_scannet1500",
    "hpatches": "subpx_ros.datasets.pairs.homographies:read_hpatches",
    "oxford": "subpx_ros.datasets.pairs.homographies:read_oxford",
    "sequence": "subpx_ros.datasets.pairs.posed:read_sequence_pairs",
}


def open_pairs(data: str, layout: str = "auto", gap: int = 1) -> PairSet:
    """The pairs of a data set.

    Args:
        data: a folder, a list of pairs, or a recording as `open_sequence` takes it.
        layout: a name in `LAYOUTS`, or "auto" to go by the files.
        gap: for recordings, frames from the first image of a pair to the second.

    Raises:
        DataError: nothing there, of no known layout, or damaged.
        ConfigError: an unknown layout.
    """
    if layout not in ("auto", *LAYOUTS):
        raise ConfigError(unknown_name("layout", layout, ["auto", *LAYOUTS]))
    if layout == "auto":
        layout = pair_layout(data)
    module, name = LAYOUTS[layout].split(":")
    read: Callable[..., PairSet] = getattr(import_module(module), name)
    return read(data, gap) if layout == "sequence" else read(Path(data).expanduser())


def pair_layout(data: str) -> str:
    """Name in `LAYOUTS` by the files that are there; what is nothing else counts as a recording."""
    path = Path(data).expanduser()
    if not data:
        raise DataError(f"a data set of pairs is required: {', '.join(LAYOUTS)}; give its path with --data")
    if path.suffix == ".txt":
        return "list"
    if not path.is_dir() or sequence_layout(path):
        return "sequence"
    from subpx_ros.datasets.pairs.indexed import SCANNET_INDEX, megadepth_files
    from subpx_ros.datasets.pairs.pair_list import NAMES

    if any((path / name).is_file() for name in NAMES):
        return "list"
    if (path / SCANNET_INDEX).is_file():
        return "scannet1500"
    if megadepth_files(path):
        return "megadepth1500"
    if (path / "H1to2p").is_file() or any(path.glob("*/H1to2p")):
        return "oxford"
    if any(path.glob("[iv]_*/H_1_2")):
        return "hpatches"
    if any(path.rglob("images.txt")):
        return "colmap"
    return "sequence"
