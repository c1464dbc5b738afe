"""A recording (rosbag2 folder, .mcap or .db3, zstd too; ROS 1 .bag) as a sequence. Needs no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection

from subpx_ros.console import note
from subpx_ros.datasets.bag_reader import BagReader, header_stamp, is_bag
from subpx_ros.datasets.bag_topics import COMPRESSED, Streams, choose_streams
from subpx_ros.datasets.camera_info import cameras_from_infos
from subpx_ros.datasets.depth_decoding import decode_compressed_depth, decode_depth
from subpx_ros.datasets.image_decoding import decode_grey, decode_image
from subpx_ros.datasets.sequence import Sequence, relative_to_first
from subpx_ros.datasets.stamps import LONGEST_APART_NS, nearest_pairs
from subpx_ros.datasets.text import pose_from_quaternion
from subpx_ros.datatypes import Array, Frame
from subpx_ros.errors import DataError
from subpx_ros.frames import T_BODY_OPTICAL, camera_path_from_odom
from subpx_ros.transforms import StaticTransforms

__all__ = ["BagSequence", "is_bag"]

_Places = dict[int, int]
"""Header stamp to log time, both ns, of every message of a topic."""


class BagSequence(Sequence):
    """Frames of a bag. Opening reads all headers once; pixels are read when a frame is asked for.

    Left and right images, or image and depth, belong together when their header stamps are equal or the nearest to each
    other; others are left out. Unrectified images (image_raw) are rectified as their camera_info says.
    """

    def __init__(self, path: Path, mode: str = "auto") -> None:
        """Opens `path`; `mode` as `choose_streams` takes it.

        Raises:
            DataError: no bag, cut off or damaged, lacking topics, calibration or images that belong together.
        """
        self._path = path
        self._bag = BagReader(path)
        self.close = self._bag.close
        """Closes the file; the sequence cannot be read any more."""
        self._streams = streams = choose_streams(self._bag.connections, mode, path)
        self._places = self._index_images()
        self._sets = self._matching_stamps()
        infos = [self._bag.first(info) for info in streams.infos]
        sizes = [self._grey(camera, self._sets[0][camera]).shape[::-1] for camera in range(len(infos))]
        self._cameras = cameras_from_infos(infos, sizes, streams.rectify, streams.depth is not None)
        stamps_ns = tuple(stamps[0] for stamps in self._sets)
        name = path.resolve().name if path.is_dir() else path.name.partition(".")[0]
        super().__init__(name, self._cameras.rig, stamps_ns, self._read_truth(stamps_ns))

    def frame(self, index: int) -> Frame:
        self.check_index(index)
        stamps = self._sets[index]
        images = [self._grey(camera, stamps[camera]) for camera in range(len(self._streams.images))]
        depth = None if self._streams.depth is None else self._depth(self._streams.depth, stamps[-1])
        return self._cameras.frame(stamps[0], images, depth)

    def _grey(self, camera: int, stamp_ns: int) -> NDArray[np.uint8]:
        connection = self._streams.images[camera]
        message = self._message(connection, camera, stamp_ns)
        if connection.msgtype == COMPRESSED:
            return decode_grey(message.data, f"{connection.topic} at {stamp_ns} ns")
        return decode_image(*_fields(message))

    def _depth(self, connection: Connection, stamp_ns: int) -> NDArray[np.float32]:
        message = self._message(connection, -1, stamp_ns)
        if connection.msgtype == COMPRESSED:
            return decode_compressed_depth(message.format, message.data)
        return decode_depth(*_fields(message))

    def _message(self, connection: Connection, stream: int, stamp_ns: int) -> Any:
        log_time = self._places[stream][stamp_ns]
        for _, _, raw in self._bag.messages([connection], log_time, log_time + 1):
            if header_stamp(raw) == stamp_ns:
                return self._bag.decode(raw, connection)
        raise DataError(f"{self._path} has lost the message of {connection.topic} at {stamp_ns} ns: was it changed?")

    def _index_images(self) -> list[_Places]:
        """One entry per camera, then that of the depth, from a single pass over the file."""
        streams = [*self._streams.images, *filter(None, [self._streams.depth])]
        places: dict[str, _Places] = {connection.topic: {} for connection in streams}
        for connection, log_time, raw in self._bag.messages(streams):
            places[connection.topic].setdefault(header_stamp(raw), log_time)
        return [places[connection.topic] for connection in streams]

    def _matching_stamps(self) -> list[tuple[int, ...]]:
        """Per frame the stamp of each stream's message, by the first stream's."""
        streams = [*self._streams.images, *filter(None, [self._streams.depth])]
        topics = " and ".join(f"{each.topic} ({each.msgcount})" for each in streams)
        stamps = [np.array(sorted(places), dtype=np.int64) for places in self._places]
        if any(len(each) == 0 for each in stamps):
            raise DataError(f"{self._path} needs images on every topic; there are none on one of {topics} (messages)")
        sets = stamps[0][:, None]
        if len(stamps) == 2:
            sets = nearest_pairs(stamps[0], stamps[1])
        if len(sets) == 0:
            raise DataError(
                f"{self._path} needs images with matching header stamps; none of {topics} (messages) are less than "
                f"{LONGEST_APART_NS * 1e-9:g} s and half a period apart"
            )
        left_out = max(map(len, stamps)) - len(sets)
        if left_out:
            note(f"{self._path}: {left_out} images without a partner of matching stamp in {topics} are left out")
        apart_ns = int(np.ptp(sets, axis=1).max())
        if apart_ns:
            note(f"{self._path}: the stamps of {topics} differ by up to {apart_ns * 1e-6:.3g} ms")
        return [tuple(map(int, each)) for each in sets]

    def _read_truth(self, stamps_ns: tuple[int, ...]) -> Array | None:
        """T_first_camera (N, 4, 4), when there is an odometry message at the stamp of every frame."""
        truth = self._streams.truth
        if truth is None:
            return None
        poses: dict[int, Array] = {}
        child_frame, where = "", f"{self._path} {truth.topic}"
        for _, _, raw in self._bag.messages([truth]):
            message = self._bag.decode(raw, truth)
            child_frame = message.child_frame_id
            stamp, pose = message.header.stamp, message.pose.pose
            poses[stamp.sec * 10**9 + stamp.nanosec] = _rigid(pose.position, pose.orientation, where)
        missing = sum(stamp not in poses for stamp in stamps_ns)
        if missing:
            note(f"{self._path}: {truth.topic} lacks {missing} of the frames' stamps and is not used")
            return None
        T_odom_base = np.array([poses[stamp] for stamp in stamps_ns])
        T_base_camera = camera_in(self._bag, self._streams, child_frame)
        # Without a transform the base is at the camera, in body axes.
        return relative_to_first(
            camera_path_from_odom(T_odom_base, T_BODY_OPTICAL if T_base_camera is None else T_base_camera)
        )


def camera_in(bag: BagReader, streams: Streams, base_frame: str) -> Array | None:
    """T_base_camera (4, 4) of the left or only camera from the bag's /tf_static; None where that does not connect them."""
    connection = streams.static_transforms
    if connection is None:
        return None
    tree = StaticTransforms()
    for _, _, raw in bag.messages([connection]):
        for stamped in bag.decode(raw, connection).transforms:
            position, rotation = stamped.transform.translation, stamped.transform.rotation
            T_parent_child = _rigid(position, rotation, f"{bag.path} /tf_static")
            tree.add(stamped.header.frame_id, stamped.child_frame_id, T_parent_child)
    return tree.find(base_frame, bag.first(streams.images[0]).header.frame_id)


def _fields(message: Any) -> tuple[Any, ...]:
    """Of sensor_msgs/Image, as `decode_image` takes them."""
    return message.height, message.width, message.encoding, message.is_bigendian, message.step, message.data


def _rigid(position: Any, orientation: Any, where: str) -> Array:
    quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    translation = np.array([position.x, position.y, position.z])
    return pose_from_quaternion(translation, quaternion, where)
