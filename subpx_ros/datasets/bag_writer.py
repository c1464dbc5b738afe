"""A sequence as a rosbag2 (MCAP) recording that `ros2 bag play` and the node understand. Needs no ROS.

Stereo: left/image_rect, left/camera_info, right/image_rect, right/camera_info; one camera: image_rect, camera_info, and
depth/image_rect where there is depth. Beside them /tf_static (base_link to the optical frames; the base is at the left
camera) and, where the truth is known, /ground_truth/odom: T_odom_base, odom being base_link at the first frame. Images
are mono8, depth is 32FC1 in metres; log times are the stamps.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from subpx_ros.datasets.sequence import Sequence
from subpx_ros.datatypes import Array, Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.frames import T_BODY_OPTICAL, odom_from_camera_path, quaternion_from_rotation
from subpx_ros.geometry import se3

BASE_FRAME = "base_link"
ODOM_FRAME = "odom"
TRUTH_TOPIC = "ground_truth/odom"

_FOREVER = QosTime(9223372036, 854775807)


def write_bag(sequence: Sequence, out: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Writes `sequence` as the rosbag2 folder `out`, which appears only when it is complete.

    Args:
        sequence: what to write.
        out: the folder to make; it must not exist.
        progress: called with (frames written, frames in all) after every frame.

    Raises:
        DataError: `out` exists or cannot be written, or a frame of the sequence cannot be read.
    """
    if out.exists() or out.is_symlink():
        raise DataError(f"{out} exists already, and a bag is never overwritten: remove it or choose another name")
    if out.suffix in (".mcap", ".db3"):
        raise DataError(f"a rosbag2 is a folder that holds the {out.suffix} file; got '{out}': leave the ending away")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # The storage file is named after its folder, so the temporary one is a level above.
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            _write(sequence, beside / out.name, progress)
            os.rename(beside / out.name, out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write the bag {out}: {error.strerror or error}") from None


def _write(sequence: Sequence, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        recording = _Recording(writer)
        recording.static_transforms(sequence.rig, sequence.stamps_ns[0])
        T_odom_base = None if sequence.truth is None else odom_from_camera_path(sequence.truth)
        for index, frame in enumerate(sequence):
            recording.cameras(frame)
            if T_odom_base is not None:
                recording.truth(T_odom_base[index], frame.stamp_ns)
            if progress:
                progress(index + 1, len(sequence))


class _Recording:
    """Messages of the sequence on their topics, which are made at first use."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_KILTED)
        self._types = self._store.types
        self._connections: dict[str, Connection] = {}

    def static_transforms(self, rig: Rig, stamp_ns: int) -> None:
        transforms = []
        for name, offset in _cameras(rig):
            T_base_camera = T_BODY_OPTICAL @ se3(np.eye(3), np.array([offset, 0.0, 0.0]))
            header = self._header(stamp_ns, BASE_FRAME)
            transforms.append(
                self._make(
                    "geometry_msgs/msg/TransformStamped",
                    header=header,
                    child_frame_id=optical_frame(name),
                    transform=self._make(
                        "geometry_msgs/msg/Transform",
                        translation=self._xyz("Vector3", T_base_camera[:3, 3]),
                        rotation=self._quaternion(T_base_camera),
                    ),
                )
            )
        message = self._make("tf2_msgs/msg/TFMessage", transforms=transforms)
        self._put("/tf_static", message, stamp_ns, _qos(depth=1, durability=QosDurability.TRANSIENT_LOCAL))

    def cameras(self, frame: Frame) -> None:
        images = (frame.image, frame.right_image)
        intrinsics = (frame.rig.left, frame.rig.right)
        for (name, offset), image, camera in zip(_cameras(frame.rig), images, intrinsics, strict=False):
            assert image is not None and camera is not None
            header = self._header(frame.stamp_ns, optical_frame(name))
            prefix = f"/{name}" if name else ""
            self._put(f"{prefix}/camera_info", self._camera_info(header, camera, offset), frame.stamp_ns)
            self._put(f"{prefix}/image_rect", self._image(header, image, "mono8"), frame.stamp_ns)
        if frame.depth is not None:
            header = self._header(frame.stamp_ns, optical_frame(""))
            self._put("/depth/image_rect", self._image(header, frame.depth.astype("<f4"), "32FC1"), frame.stamp_ns)

    def truth(self, T_odom_base: Array, stamp_ns: int) -> None:
        pose = self._make(
            "geometry_msgs/msg/Pose",
            position=self._xyz("Point", T_odom_base[:3, 3]),
            orientation=self._quaternion(T_odom_base),
        )
        zero = self._xyz("Vector3", np.zeros(3))
        message = self._make(
            "nav_msgs/msg/Odometry",
            header=self._header(stamp_ns, ODOM_FRAME),
            child_frame_id=BASE_FRAME,
            pose=self._make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
            twist=self._make(
                "geometry_msgs/msg/TwistWithCovariance",
                twist=self._make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
                covariance=np.zeros(36),
            ),
        )
        self._put(f"/{TRUTH_TOPIC}", message, stamp_ns)

    def _camera_info(self, header: Any, camera: Camera, offset: float) -> Any:
        projection = np.hstack([camera.matrix, [[-camera.fx * offset], [0.0], [0.0]]])
        roi = self._make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=camera.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=projection.ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def _image(self, header: Any, image: NDArray[np.generic], encoding: str) -> Any:
        height, width = image.shape
        pixels = np.ascontiguousarray(image).view(np.uint8)
        return self._make(
            "sensor_msgs/msg/Image",
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=pixels.shape[1],
            data=pixels.ravel(),
        )

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        if seconds >= 2**31:
            raise DataError(f"a ROS stamp ends at 2^31 s; the sequence has a frame at {seconds} s: check its times")
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _xyz(self, kind: str, values: Array) -> Any:
        return self._make(f"geometry_msgs/msg/{kind}", x=float(values[0]), y=float(values[1]), z=float(values[2]))

    def _quaternion(self, transform: Array) -> Any:
        x, y, z, w = (float(value) for value in quaternion_from_rotation(transform[:3, :3]))
        return self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._types[kind](**fields)

    def _put(self, topic: str, message: Any, stamp_ns: int, qos: Qos | None = None) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            profile = qos or _qos(depth=10, durability=QosDurability.VOLATILE)
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store, offered_qos_profiles=[profile]
            )
        self._writer.write(self._connections[topic], stamp_ns, self._store.serialize_cdr(message, kind))


def optical_frame(camera: str) -> str:
    """The frame name of the camera 'left', 'right' or '' (the only one)."""
    return f"{camera}_camera_optical" if camera else "camera_optical"


def _cameras(rig: Rig) -> list[tuple[str, float]]:
    """Name and place along the left camera's x axis, metres."""
    return [("left", 0.0), ("right", rig.baseline_m)] if rig.baseline_m is not None else [("", 0.0)]


def _qos(depth: int, durability: QosDurability) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
