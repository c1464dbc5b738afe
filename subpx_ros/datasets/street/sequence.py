"""A stereo drive through the rendered street as a sequence, with KITTI's calibration and exact poses."""

from __future__ import annotations

import numpy as np

from subpx_ros.datasets.sequence import Sequence, relative_to_first
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datasets.street.drive import longest_drive
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.datasets.street.street import Street, View
from subpx_ros.datatypes import Array, Camera, Frame, Rig
from subpx_ros.geometry import se3

KITTI_CAMERA = Camera(fx=707.0912, fy=707.0912, cx=601.8873, cy=183.1104, width=1226, height=370)
KITTI_RIG = Rig(KITTI_CAMERA, KITTI_CAMERA, 0.537)


class StreetSequence(Sequence):
    """Renders a frame when it is asked for; the same frame is the same pixels every time."""

    street: Street
    poses: Array
    """(N, 4, 4) T_world_camera of the left camera."""

    def __init__(self, config: StreetConfig | None = None, frames: int | None = None, rig: Rig = KITTI_RIG) -> None:
        """A drive of `frames` frames, by default as many as the road has room for, seen by `rig`.

        Raises:
            ConfigError: the road is too short for that many frames.
        """
        self.config = config or StreetConfig()
        self.street = Street(self.config)
        self.poses = self.street.drive(longest_drive(self.config) if frames is None else frames)
        interval_ns = round(1e9 * self.config.frame_interval_s)
        stamps = tuple(index * interval_ns for index in range(len(self.poses)))
        super().__init__("street", rig, stamps, relative_to_first(self.poses))

    def view(self, index: int, camera: int = 0) -> View:
        """The ideal view of the left (0) or right (1) camera, with depth."""
        self.check_index(index)
        if camera == 0 or self.rig.right is None or self.rig.baseline_m is None:
            return self.street.render(self.rig.left, self.poses[index])
        T_left_right = se3(np.eye(3), np.array([self.rig.baseline_m, 0.0, 0.0]))
        return self.street.render(self.rig.right, self.poses[index] @ T_left_right)

    def frame(self, index: int) -> Frame:
        left = expose(self.view(index).image, self.config, index, 0)
        right = expose(self.view(index, 1).image, self.config, index, 1) if self.rig.stereo else None
        return Frame(self.stamps_ns[index], left, self.rig, right)
