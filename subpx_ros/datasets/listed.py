"""Sequences whose layout lists image files with their stamps, and has the truth at stamps of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from subpx_ros.console import note
from subpx_ros.datasets.camera_info import Cameras
from subpx_ros.datasets.depth_decoding import read_depth
from subpx_ros.datasets.image_files import read_grey
from subpx_ros.datasets.sequence import Sequence, relative_to_first
from subpx_ros.datasets.stamps import Track, nearest_pairs
from subpx_ros.datatypes import Array, Frame
from subpx_ros.errors import DataError


class ListedSequence(Sequence):
    """Images of two streams belong together when their stamps are each other's nearest, less than 20 ms apart.

    Others are left out, and so are frames before or after the truth.
    """

    def __init__(
        self,
        name: str,
        cameras: Cameras,
        streams: list[dict[int, Path]],
        track: Track | None,
        T_tracked_camera: Array,
        depth_per_metre: float | None = None,
    ) -> None:
        """
        Args:
            name: short, for tables and messages.
            cameras: of the images.
            streams: files by their stamps, in the order of time: left, and perhaps right or depth.
            track: of what the true poses are of; None where they are not known.
            T_tracked_camera: (4, 4) the rectified left camera in what was tracked.
            depth_per_metre: units of depth images to the metre, where the second stream is depth.

        Raises:
            DataError: no images belong together, or none lies within the time of the truth.
        """
        stamps = [np.array(list(stream), dtype=np.int64) for stream in streams]
        sets = stamps[0][:, None] if len(stamps) == 1 else nearest_pairs(stamps[0], stamps[1])
        if not len(sets):
            raise DataError(f"{name}: the two streams of images have no stamps in common: are they of one recording?")
        left_out = max(map(len, stamps)) - len(sets)
        if left_out:
            note(f"{name}: {left_out} images without a partner of matching stamp are left out")
        truth = None
        if track is not None:
            sets = sets[track.frames_within(sets[:, 0].tolist(), name)]
            poses = track.at(sets[:, 0].tolist(), name)
            truth = None if poses is None else relative_to_first(poses @ T_tracked_camera)
        super().__init__(name, cameras.rig, tuple(sets[:, 0].tolist()), truth)
        self._cameras = cameras
        self._depth_per_metre = depth_per_metre
        self._paths = [[stream[stamp] for stream, stamp in zip(streams, row, strict=True)] for row in sets.tolist()]

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        paths, depth = self._paths[index], None
        if self._depth_per_metre is not None:
            paths, depth = paths[:1], read_depth(paths[1], self._depth_per_metre)
        return self._cameras.frame(self.stamps_ns[index], [read_grey(path) for path in paths], depth)
