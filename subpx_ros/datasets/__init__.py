"""Recordings: folders of public data sets, rosbag2 and the rendered street, all behind `Sequence`.

A new layout is a file in this folder and a line in `LAYOUTS`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from subpx_ros.config import MODES
from subpx_ros.datasets.sequence import Sequence
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.settings import unknown_name

__all__ = ["Sequence", "is_rendered", "open_sequence"]

DEMO = "demo"
STREET = "street:"
"""What the names of rendered drives begin with."""
LAYOUTS = {
    "euroc": ("subpx_ros.datasets.euroc", "is_euroc", "EurocSequence"),
    "tum": ("subpx_ros.datasets.tum", "is_tum", "TumSequence"),
    "kitti-raw": ("subpx_ros.datasets.kitti_raw", "is_kitti_raw", "KittiRawSequence"),
    "kitti": ("subpx_ros.datasets.kitti", "is_kitti", "KittiSequence"),
    "rosbag": ("subpx_ros.datasets.rosbag", "is_bag", "BagSequence"),
}
"""Module, what recognises a path by the files that are there, and what opens it. The first that recognises it counts."""
SOURCES = (
    "a KITTI sequence folder (calib.txt, image_0/), a drive of KITTI raw (image_00/), EuRoC (mav0/), TUM RGB-D (rgb.txt), "
    f"a rosbag2 (folder, .mcap or .db3, zstd or not), a rendered drive '{STREET}NAME[:SEED]' or '{DEMO}'"
)


def open_sequence(source: str, mode: str = "auto", frames: tuple[int | None, int | None] | None = None) -> Sequence:
    """The sequence that `source` names.

    Args:
        source: a folder or file in one of `LAYOUTS`, "street:NAME" or "street:NAME:SEED" for one of the rendered
            drives in `subpx_ros.datasets.street.DRIVES`, or "demo" for a short drive along the rendered street.
        mode: "mono" drops the right camera or the depth, "stereo" and "rgbd" ask for them, "auto" takes what is there.
        frames: (A, B), the frames A <= index < B; None stands for the beginning or the end.

    Raises:
        DataError: the source is not there, is damaged, lacks the cameras of `mode` or the frames asked for.
        ConfigError: an unknown mode.
    """
    if mode not in MODES:
        raise ConfigError(unknown_name("mode", mode, list(MODES)))
    sequence = _open(source, mode)
    if mode == "stereo" and not sequence.rig.stereo:
        raise DataError(f"mode stereo needs two cameras, and {source} has one: use --mode mono or auto")
    if mode == "rgbd" and not sequence.rig.depth:
        raise DataError(f"mode rgbd needs depth, and {source} has none: use --mode auto")
    return sequence if frames is None else sequence.window(*frames)


def is_rendered(source: str) -> bool:
    """Whether `source` names a rendered drive, not a path."""
    return source == DEMO or source.startswith(STREET)


def _open(source: str, mode: str) -> Sequence:
    if is_rendered(source):
        street = _rendered(source)
        return street.left_only() if mode == "mono" else street
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"a source must be {SOURCES}; '{source}' does not exist")
    layout = sequence_layout(path)
    if layout is None:
        found = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "something else"
        raise DataError(f"a source must be {SOURCES}; '{source}' is {found}")
    module, _, kind = LAYOUTS[layout]
    opened: Sequence = getattr(import_module(module), kind)(path, mode)
    return opened


def _rendered(source: str) -> Sequence:
    from subpx_ros.datasets.street import StreetSequence, named_drive

    if source == DEMO:
        return StreetSequence()
    name, config = named_drive(source.removeprefix(STREET))
    return StreetSequence(config, name=name)


def sequence_layout(path: Path) -> str | None:
    """Name in `LAYOUTS` of what is at the path, by the names of its files; None where it is none of them."""
    for name, (module, recognises, _) in LAYOUTS.items():
        if getattr(import_module(module), recognises)(path):
            return name
    return None
