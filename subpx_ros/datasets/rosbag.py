"""A rosbag2 recording (folder, .mcap or .db3; zstd too) as a sequence, read with `rosbags`. Needs no ROS."""

from __future__ import annotations

import struct
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from subpx_ros.console import note
from subpx_ros.datasets.bag_topics import choose_streams
from subpx_ros.datasets.camera_info import rig_from_camera_infos
from subpx_ros.datasets.image_decoding import decode_grey, decode_image
from subpx_ros.datasets.sequence import Sequence, relative_to_first
from subpx_ros.datasets.text import pose_from_quaternion
from subpx_ros.datatypes import Array, Frame
from subpx_ros.errors import DataError
from subpx_ros.frames import T_BODY_OPTICAL, camera_path_from_odom

_Places = dict[int, int]
"""Header stamp to log time, both ns, of every message of a topic."""


class BagSequence(Sequence):
    """Frames of a bag. Opening reads all headers once; pixels are read when a frame is asked for.

    Left and right images belong together when their header stamps are equal; others are left out. Message types are
    the standard ones of ROS 2 whatever definitions the bag carries.
    """

    def __init__(self, path: Path, mode: str = "auto") -> None:
        """Opens `path`; mode "mono" leaves the right camera out, "stereo" requires it, "auto" takes what is there.

        Raises:
            DataError: no rosbag2, cut off or damaged, lacking topics, calibration or pairs of equal stamps.
        """
        self._path = path
        self._store = get_typestore(Stores.ROS2_KILTED)
        with _readable(path):
            self._reader = Reader(path)
            self._reader.open()
        self._close = weakref.finalize(self, self._reader.close)
        self._streams = choose_streams(self._reader.connections, mode, path)
        rig = rig_from_camera_infos(*(self._first(info) for info in self._streams.infos))
        self._places = self._index_images()
        stamps_ns = self._common_stamps()
        name = path.resolve().name if path.is_dir() else path.stem
        super().__init__(name, rig, stamps_ns, self._read_truth(stamps_ns))

    def close(self) -> None:
        """Closes the file; the sequence cannot be read any more."""
        self._close()

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        stamp_ns = self.stamps_ns[index]
        images = [self._image(camera, stamp_ns) for camera in range(len(self._places))]
        return Frame(stamp_ns, images[0], self.rig, images[1] if self.rig.stereo else None)

    def _image(self, camera: int, stamp_ns: int) -> NDArray[np.uint8]:
        connection = self._streams.images[camera]
        log_time = self._places[camera][stamp_ns]
        for raw in self._messages(connection, log_time, log_time + 1):
            if header_stamp(raw) == stamp_ns:
                message = self._decode(raw, connection)
                if connection.msgtype.endswith("CompressedImage"):
                    return decode_grey(message.data, f"{connection.topic} at {stamp_ns} ns")
                return decode_image(
                    message.height, message.width, message.encoding, message.is_bigendian, message.step, message.data
                )
        raise DataError(f"{self._path} has lost the message of {connection.topic} at {stamp_ns} ns: was it changed?")

    def _index_images(self) -> list[_Places]:
        """One entry per camera, from a single pass over the file."""
        images = self._streams.images
        places: dict[str, _Places] = {connection.topic: {} for connection in images}
        with _readable(self._path):
            for connection, log_time, raw in self._reader.messages(images):
                places[connection.topic].setdefault(header_stamp(raw), log_time)
        return [places[connection.topic] for connection in images]

    def _common_stamps(self) -> tuple[int, ...]:
        common = sorted(set.intersection(*(set(places) for places in self._places)))
        topics = " and ".join(f"{images.topic} ({images.msgcount})" for images in self._streams.images)
        if not common:
            raise DataError(
                f"{self._path} needs images with equal header stamps; none are shared by {topics} (messages)"
            )
        left_out = max(len(places) for places in self._places) - len(common)
        if left_out:
            note(f"{self._path}: {left_out} images without a partner of equal stamp in {topics} are left out")
        return tuple(common)

    def _read_truth(self, stamps_ns: tuple[int, ...]) -> Array | None:
        """T_first_camera (N, 4, 4), when there is an odometry message at the stamp of every frame."""
        if self._streams.truth is None:
            return None
        poses: dict[int, Array] = {}
        child_frame, where = "", f"{self._path} {self._streams.truth.topic}"
        for raw in self._messages(self._streams.truth):
            message = self._decode(raw, self._streams.truth)
            child_frame = message.child_frame_id
            stamp, pose = message.header.stamp, message.pose.pose
            poses[stamp.sec * 10**9 + stamp.nanosec] = _rigid(pose.position, pose.orientation, where)
        missing = sum(stamp not in poses for stamp in stamps_ns)
        if missing:
            note(f"{self._path}: {self._streams.truth.topic} lacks {missing} of the frames' stamps and is not used")
            return None
        T_odom_base = np.array([poses[stamp] for stamp in stamps_ns])
        return relative_to_first(camera_path_from_odom(T_odom_base, self._camera_in(child_frame)))

    def _camera_in(self, base_frame: str) -> Array:
        """T_base_camera from /tf_static; without it the base is at the camera, in body axes."""
        camera_frame = self._first(self._streams.images[0]).header.frame_id
        transforms = self._streams.static_transforms
        if transforms is None:
            return T_BODY_OPTICAL
        for raw in self._messages(transforms):
            for stamped in self._decode(raw, transforms).transforms:
                if (stamped.header.frame_id, stamped.child_frame_id) == (base_frame, camera_frame):
                    position, rotation = stamped.transform.translation, stamped.transform.rotation
                    return _rigid(position, rotation, f"{self._path} /tf_static")
        return T_BODY_OPTICAL

    def _first(self, connection: Connection) -> Any:
        for raw in self._messages(connection):
            return self._decode(raw, connection)
        raise DataError(f"{self._path} has no message on {connection.topic}, which is required: record it too")

    def _messages(self, connection: Connection, start: int | None = None, stop: int | None = None) -> Iterator[bytes]:
        with _readable(self._path):
            for _, _, raw in self._reader.messages([connection], start, stop):
                yield raw

    def _decode(self, raw: bytes, connection: Connection) -> Any:
        with _readable(self._path):
            return self._store.deserialize_cdr(raw, connection.msgtype)


def header_stamp(raw: bytes) -> int:
    """The stamp, ns, of a serialised message (CDR) that begins with a std_msgs/Header; nothing else is decoded."""
    if len(raw) < 12 or raw[0] != 0 or raw[1] not in (0, 1):
        raise DataError("a message is cut off or not in CDR encoding: record the bag again")
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] else ">iI", raw, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns whatever the reading library raises about a damaged file into one DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - the parser meets arbitrary bytes and leaks struct, key and codec errors
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"{path} is not a complete rosbag2 (MCAP or SQLite, zstd or not): {cause}; "
            "record it again or repair it, for example with 'mcap recover'"
        ) from None


def _rigid(position: Any, orientation: Any, where: str) -> Array:
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    translation = np.array([position.x, position.y, position.z])
    return pose_from_quaternion(translation, quaternion, where)
