"""A run as a Rerun recording (.rrd): cameras, landmarks, matches, trajectory and truth over time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.datatypes import Array, Camera, Frame, OdometryResult, Rig
from subpx_ros.drawing import OFFSET_SCALE
from subpx_ros.errors import ConfigError
from subpx_ros.evaluation.metrics import rescaled
from subpx_ros.output import written_beside

# Okabe and Ito.
_ESTIMATE, _TRUTH, _INLIER, _OUTLIER, _OFFSET = "#0072B2", "#A0A0A0", "#56B4E9", "#CC79A7", "#F0E442"
_JPEG_QUALITY = 85
_PIXEL_CENTRE = 0.5
"""Rerun's image coordinates begin at the corner of the first pixel, ours in its centre."""
_WORLD, _CAMERA, _IMAGE = "world", "world/camera", "world/camera/image"


def require_rerun() -> None:
    """Raises ConfigError saying what to install."""
    if find_spec("rerun") is None:
        raise ConfigError("--rerun needs the package rerun-sdk, which is not installed: pip install 'subpx_ros[rerun]'")


@contextmanager
def recording(path: Path, rig: Rig, name: str) -> Iterator[RerunRecording]:
    """A recording of one run, complete or not there.

    Args:
        path: the .rrd file.
        rig: the cameras of every frame.
        name: of the sequence.

    Raises:
        ConfigError: the package rerun-sdk is not installed.
        DataError: the file cannot be written.
    """
    require_rerun()
    import rerun

    with written_beside(path) as temporary:
        stream = rerun.RecordingStream("subpx_ros")
        stream.save(temporary, default_blueprint=_blueprint())
        stream.send_recording_name(name)
        try:
            yield RerunRecording(stream, rig)
        finally:
            stream.flush()
            stream.disconnect()


class RerunRecording:
    """Takes every frame as it comes, and the whole path at the end."""

    def __init__(self, stream: Any, rig: Rig) -> None:
        import rerun

        self._rerun, self._stream = rerun, stream
        self._first_ns: int | None = None
        self._count = 0
        stream.log(_WORLD, rerun.ViewCoordinates.RDF, static=True)
        stream.log(_IMAGE, self._pinhole(rig.left), static=True)
        if rig.right is not None:
            right = f"{_CAMERA}/right"
            stream.log(right, rerun.Transform3D(translation=[rig.baseline_m, 0.0, 0.0]), static=True)
            stream.log(f"{right}/image", self._pinhole(rig.right), static=True)

    def add(self, frame: Frame, result: OdometryResult) -> None:
        """One frame and what it gave."""
        rerun, log = self._rerun, self._stream.log
        self._first_ns = frame.stamp_ns if self._first_ns is None else self._first_ns
        self._stream.set_time("frame", sequence=self._count)
        self._stream.set_time("recording", duration=(frame.stamp_ns - self._first_ns) * 1e-9)
        self._count += 1
        pose = result.T_odom_camera
        log(_CAMERA, rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        log(_IMAGE, rerun.Image(frame.image).compress(jpeg_quality=_JPEG_QUALITY))
        if frame.right_image is not None:
            log(f"{_CAMERA}/right/image", rerun.Image(frame.right_image).compress(jpeg_quality=_JPEG_QUALITY))
        self._add_matches(result)
        if result.located and len(result.matches):
            points = result.points[result.inliers & np.all(np.isfinite(result.points), axis=1)]
            log(
                f"{_WORLD}/landmarks",
                rerun.Points3D(points @ pose[:3, :3].T + pose[:3, 3], radii=rerun.Radius.ui_points(2.0)),
            )
        for name in ("matches", "inliers"):
            log(f"counts/{name}", rerun.Scalars([result.counts[name]]))
        for stage, milliseconds in result.stage_ms.items():
            log(f"time_ms/{stage}", rerun.Scalars([milliseconds]))
        log("state", rerun.TextLog(f"{result.state.name} {result.reason}".strip()))

    def finish(self, poses: Array, truth: Array | None, metric: bool) -> None:
        """The whole path.

        Args:
            poses: T_first_camera (N, 4, 4).
            truth: of the same frames, metres, or None. It is brought to the scale of an estimate that is not metric.
            metric: whether the estimate is in metres.
        """
        self._line("trajectory", poses[:, :3, 3], _ESTIMATE)
        if truth is None:
            return
        scaled_truth = truth if metric else rescaled(truth, poses)
        if scaled_truth is not None:
            self._line("truth", scaled_truth[:, :3, 3], _TRUTH)

    def _line(self, name: str, positions: Array, colour: str) -> None:
        strip = self._rerun.LineStrips3D([positions], colors=[_rgb(colour)], labels=[name])
        self._stream.log(f"{_WORLD}/{name}", strip, static=True)

    def _add_matches(self, result: OdometryResult) -> None:
        """Inliers as lines from where they were, others as dots, offsets of refinement enlarged."""
        rerun, matches = self._rerun, result.matches
        inliers = result.inliers
        before, now = matches.refined0[inliers], matches.refined1[inliers]
        tips = now + OFFSET_SCALE * (now - matches.detected1[inliers])
        self._segments("inliers", before, now, _INLIER)
        self._segments(f"offsets_x{OFFSET_SCALE:.0f}", now, tips, _OFFSET)
        dots = rerun.Points2D(matches.refined1[~inliers] + _PIXEL_CENTRE, colors=[_rgb(_OUTLIER)])
        self._stream.log(f"{_IMAGE}/other_matches", dots)

    def _segments(self, name: str, starts: Array, ends: Array, colour: str) -> None:
        strips = self._rerun.LineStrips2D(np.stack([starts, ends], axis=1) + _PIXEL_CENTRE, colors=[_rgb(colour)])
        self._stream.log(f"{_IMAGE}/{name}", strips)

    def _pinhole(self, camera: Camera) -> Any:
        matrix = camera.matrix
        matrix[:2, 2] += _PIXEL_CENTRE
        return self._rerun.Pinhole(
            image_from_camera=matrix,
            resolution=[camera.width, camera.height],
            camera_xyz=self._rerun.ViewCoordinates.RDF,
        )


def _blueprint() -> Any:
    """The path beside the image, curves below."""
    from rerun import blueprint

    curves = blueprint.Horizontal(
        blueprint.TimeSeriesView(origin="counts", name="matches of a frame"),
        blueprint.TimeSeriesView(origin="time_ms", name="time of a frame (ms)"),
        blueprint.TextLogView(origin="state", name="state"),
    )
    views = blueprint.Horizontal(
        blueprint.Spatial3DView(origin=_WORLD, name="path"), blueprint.Spatial2DView(origin=_IMAGE, name="matches")
    )
    return blueprint.Blueprint(blueprint.Vertical(views, curves, row_shares=[3, 1]), collapse_panels=True)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
