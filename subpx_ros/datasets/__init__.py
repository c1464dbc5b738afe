"""Data sources: KITTI folders, rosbag2 recordings and the rendered street, all behind `Sequence`."""

from __future__ import annotations

from pathlib import Path

from subpx_ros.config import MODES
from subpx_ros.datasets.sequence import Sequence
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.settings import unknown_name

__all__ = ["Sequence", "open_sequence"]

DEMO = "demo"
SOURCES = f"a KITTI sequence folder (calib.txt, image_0/), a rosbag2 (folder, .mcap or .db3, zstd or not) or '{DEMO}'"


def open_sequence(source: str, mode: str = "auto", frames: tuple[int | None, int | None] | None = None) -> Sequence:
    """The sequence that `source` names.

    Args:
        source: a KITTI sequence folder, a rosbag2 (folder, .mcap or .db3 file, zstd or not), a ROS 1 bag, or "demo"
            for the rendered street.
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


def _open(source: str, mode: str) -> Sequence:
    if source == DEMO:
        from subpx_ros.datasets.street import StreetSequence

        street: Sequence = StreetSequence()
        return street.left_only() if mode == "mono" else street
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"a source must be {SOURCES}; '{source}' does not exist")
    from subpx_ros.datasets.bag_reader import is_bag

    if is_bag(path):
        from subpx_ros.datasets.rosbag import BagSequence

        return BagSequence(path, mode)
    if path.is_dir() and ((path / "calib.txt").exists() or any(path.glob("image_?"))):
        from subpx_ros.datasets.kitti import KittiSequence

        return KittiSequence(path, mode)
    found = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "something else"
    raise DataError(f"a source must be {SOURCES}; '{source}' is {found}")
