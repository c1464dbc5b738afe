"""A stereo drive through the rendered street as a sequence, with KITTI's calibration and exact poses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from subpx_ros.datasets.sequence import Sequence, relative_to_first
from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datasets.street.drive import check_frames, longest_drive
from subpx_ros.datasets.street.sensor import expose, is_blurred
from subpx_ros.datasets.street.street import Street, View
from subpx_ros.datatypes import Array, Camera, Frame, Rig
from subpx_ros.geometry import invert, se3

KITTI_CAMERA = Camera(fx=707.0912, fy=707.0912, cx=601.8873, cy=183.1104, width=1226, height=370)
KITTI_RIG = Rig(KITTI_CAMERA, KITTI_CAMERA, 0.537)


BLUR_RENDERS = 12
"""Moments of an exposure whose mean is the blurred image."""


class StreetSequence(Sequence):
    """Renders a frame when it is asked for; the same frame is the same pixels every time."""

    street: Street
    poses: Array
    """(N, 4, 4) T_world_camera of the left camera; others may be put in their place."""
    times: NDArray[np.int64]
    """(N,) time of every frame, counted in frames: their indices, but for a frame that is missing."""

    def __init__(
        self, config: StreetConfig | None = None, frames: int | None = None, rig: Rig = KITTI_RIG, name: str = "street"
    ) -> None:
        """A drive of `frames` frames, by default as many as the road has room for, seen by `rig`.

        Raises:
            ConfigError: the road is too short for that many frames.
        """
        self.config = config or StreetConfig()
        count = longest_drive(self.config) if frames is None else frames
        check_frames(self.config, count)
        self.street = Street(self.config)
        missing = self.config.disturbances.missing_frame
        self.times = np.array([time for time in range(count) if time == 0 or time != missing])
        self.poses = self.street.poses_at(self.times)
        interval_ns = round(1e9 * self.config.frame_interval_s)
        stamps = tuple(int(time) * interval_ns for time in self.times)
        super().__init__(name, rig, stamps, relative_to_first(self.poses))

    def view(self, index: int, camera: int = 0) -> View:
        """The ideal view of the left (0) or right (1) camera in the middle of the exposure, with depth."""
        self.check_index(index)
        return self._render(self.poses[index], float(self.times[index]), camera)

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        left = self._picture(index, 0)
        right = self._picture(index, 1) if self.rig.stereo else None
        return Frame(self.stamps_ns[index], left, self.rig, right)

    def _render(self, T_world_left: Array, time: float, camera: int) -> View:
        if camera == 0 or self.rig.right is None or self.rig.baseline_m is None:
            return self.street.render(self.rig.left, T_world_left, time)
        T_left_right = se3(np.eye(3), np.array([self.rig.baseline_m, 0.0, 0.0]))
        return self.street.render(self.rig.right, T_world_left @ T_left_right, time)

    def _picture(self, index: int, camera: int) -> NDArray[np.uint8]:
        time = int(self.times[index])
        if not is_blurred(self.config, time):
            return expose(self.view(index, camera).image, self.config, time, camera)
        moments = time + self.config.disturbances.exposure_share * (
            (np.arange(BLUR_RENDERS) + 0.5) / BLUR_RENDERS - 0.5
        )
        along = invert(self.street.poses_at([time])[0]) @ self.street.poses_at(moments)
        images = [
            self._render(self.poses[index] @ moved, moment, camera).image
            for moved, moment in zip(along, moments.tolist(), strict=True)
        ]
        return expose(np.mean(images, axis=0, dtype=np.float32), self.config, time, camera)
