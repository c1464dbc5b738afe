"""The odometry as the node runs it: when it starts again, and why."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable

import torch

from subpx_ros.config import Config
from subpx_ros.datatypes import Frame, OdometryResult, Rig
from subpx_ros.errors import DataError, DeviceError
from subpx_ros.odometry import VisualOdometry
from subpx_ros.pipeline import FrontEnd
from subpx_ros.ros.diagnostics import Machine
from subpx_ros.ros.results import Names
from subpx_ros.scale import OtherOdometry

_LEAST_KEYPOINTS = 128
"""Fewer do not make an odometry, and what they need on a GPU is nothing beside the networks."""
_OTHER_THREADS = 2
_MIB = 2.0**20
_OUT_OF_MEMORY = "the GPU is out of memory"


class Tracker:
    """A VisualOdometry that starts again when the calibration changes, time goes back, or somebody asks for it.

    It does with less where the GPU asked for is not there or too small, and says so in `notes`.
    """

    def __init__(self, config: Config, report: Callable[[str], None], other: OtherOdometry | None = None) -> None:
        """Loads the models; the cameras become known with the first frame.

        Args:
            config: all settings.
            report: called with lines for people, while models load and when there is less than was asked for.
            other: another odometry of the robot, where one camera gets its metres from it.

        Raises:
            SubpxError: a model or its weights cannot be had.
        """
        self._report = report
        self._other = other
        self._notes: dict[str, str] = {}
        self._config, self._front_end = self._load(config)
        self._odometry: VisualOdometry | None = None
        self._rig: Rig | None = None
        self._stamps_ns: tuple[int, ...] = ()
        """Of the last two frames."""
        self._reset_asked = threading.Event()

    def _load(self, config: Config) -> tuple[Config, FrontEnd]:
        """The models on the device asked for, or on the CPU where it cannot be had."""
        try:
            return config, FrontEnd(config, self._report)
        except (DeviceError, torch.OutOfMemoryError) as error:
            why = _OUT_OF_MEMORY if isinstance(error, torch.OutOfMemoryError) else "PyTorch sees no GPU"
        self._note("device", f"running on the CPU: device '{config.device}' was asked for, but {why}")
        config = dataclasses.replace(config, device="cpu")
        return config, FrontEnd(config, self._report)

    def _note(self, about: str, text: str) -> None:
        self._notes[about] = text
        self._report(text)

    @property
    def notes(self) -> list[str]:
        """In what lasting way it does with less than was asked for, for people."""
        return list(self._notes.values())

    def machine(self) -> Machine:
        """What the odometry runs on, from any thread."""
        device = self._front_end.device
        if device.type != "cuda":
            return Machine(device.type, tuple(self.notes))
        try:
            free, total = torch.cuda.mem_get_info(device)
            name = torch.cuda.get_device_name(device)
        except RuntimeError as error:
            first_line = str(error).partition("\n")[0]
            return Machine(device.type, (*self.notes, f"the GPU does not answer: {first_line}"))
        return Machine(name, tuple(self.notes), (total - free) / _MIB, total / _MIB)

    @property
    def names(self) -> Names:
        front = self._front_end
        return Names(front.detector.name, front.matcher.name, front.refiner.name)

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return self._front_end.device.type

    @property
    def leaves_cores(self) -> bool:
        """Whether the networks leave cores to the thread that receives images and to one that converts them."""
        return self.device == "cuda" or torch.get_num_threads() + _OTHER_THREADS <= len(os.sched_getaffinity(0))

    def begin_upload(self, frame: Frame) -> None:
        """From any thread: what a GPU needs of a frame that `process` will be given later; nothing without one."""
        images = [frame.image] if frame.right_image is None else [frame.image, frame.right_image]
        self._front_end.detector.uploader.begin(images)

    def forget(self) -> None:
        """Back to the state without any frame, while nobody else uses the tracker."""
        self._odometry = self._rig = None
        self._stamps_ns = ()
        self._reset_asked.clear()

    def reconfigure(self, config: Config) -> None:
        """Settings that hold from the next frame on; the models stay. For the thread that calls `process`."""
        self._notes.pop("keypoints", None)
        self._apply(dataclasses.replace(config, device=self._config.device))

    def _apply(self, config: Config) -> None:
        self._config = config
        (self._odometry or self._front_end).reconfigure(config)

    def ask_reset(self) -> None:
        """From any thread: the next frame becomes the first one."""
        self._reset_asked.set()

    def process(self, frame: Frame) -> tuple[OdometryResult, str]:
        """The result, and why the odometry started again with this frame, else an empty text. For one thread.

        Raises:
            DataError: the frame is not newer than the one before, though time did not go back, or it does not fit the
                GPU's memory with any number of keypoints.
        """
        why = self._why_restart(frame)
        if self._odometry is None or frame.rig != self._rig:
            self._odometry = VisualOdometry(self._config, frame.rig, front_end=self._front_end, other=self._other)
            self._rig = frame.rig
        elif why:
            self._odometry.reset()
        self._stamps_ns = (frame.stamp_ns,) if why else (*self._stamps_ns[-1:], frame.stamp_ns)
        while True:
            try:
                return self._odometry.process(frame), why
            except torch.OutOfMemoryError:
                self._halve_keypoints()

    def _halve_keypoints(self) -> None:
        """Raises DataError where that would leave too few."""
        before = self._config.features.max_keypoints
        torch.cuda.empty_cache()  # no effect without a GPU
        if before < 2 * _LEAST_KEYPOINTS:
            raise DataError(f"{_OUT_OF_MEMORY} with {before} keypoints, fewer are no use: give smaller images")
        features = dataclasses.replace(self._config.features, max_keypoints=before // 2)
        self._apply(dataclasses.replace(self._config, features=features))
        self._note("keypoints", f"features.max_keypoints halved from {before} to {before // 2}: {_OUT_OF_MEMORY}")

    def _why_restart(self, frame: Frame) -> str:
        if self._reset_asked.is_set():
            self._reset_asked.clear()
            return "reset on request"
        if not self._stamps_ns:
            return ""
        if frame.rig != self._rig:
            return "started again: the calibration or the image size changed"
        last_ns = self._stamps_ns[-1]
        if frame.stamp_ns == last_ns:
            raise DataError(f"a frame with this stamp was there before ({frame.stamp_ns} ns)")
        behind_s = (last_ns - frame.stamp_ns) * 1e-9
        if 0 < behind_s <= self._config.odometry.max_gap_s and frame.stamp_ns > self._stamps_ns[0]:
            # Between the last two frames: it was overtaken on its way. Time that goes back goes back further, or the
            # last frame was one from the future.
            raise DataError(f"it came too late: its stamp is {behind_s:.3f} s before that of the last frame")
        return f"started again: stamps went back by {behind_s:.3f} s" if behind_s > 0 else ""
