"""Bags as others record them: KITTI converters, camera drivers, compressed files. Each must give the frames it was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datasets.bag_writer import write_bag
from subpx_ros.datasets.camera_info import cameras_from_infos
from subpx_ros.datasets.stamps import nearest_pairs
from subpx_ros.datatypes import Camera, Frame, Rig
from subpx_ros.errors import DataError
from subpx_ros.geometry import se3

Picture = Callable[[int, int, tuple[int, int]], NDArray[np.uint8]]
Message = tuple[str, int, Any]
"""Topic, log time in ns, message."""

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_KILTED)
SIZE = (96, 32)
START_NS, PERIOD_NS = 1_317_384_506_400_000_000, 103_700_000
FRAMES = 3
CAMERAS = ("gray_left", "gray_right", "color_left", "color_right")
P = [50.0, 0, 47.5, 0, 0, 50.0, 15.5, 0, 0, 0, 1, 0]
K_RAW = [58.0, 0, 52.0, 0, 57.0, 26.0, 0, 0, 1]
D_RAW = [-0.37, 0.2, 0.001, 0.002, -0.07]
R_RECT = [0.9999, 0.0088, -0.0047, -0.0087, 0.99996, 0.0069, 0.0048, -0.0069, 0.99997]


class Maker:
    """Messages of ROS 1 or ROS 2."""

    def __init__(self, ros1: bool = False) -> None:
        self.ros1, self.store = ros1, ROS1 if ros1 else ROS2

    def __call__(self, kind: str, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        sequence = {"seq": 3} if self.ros1 else {}
        stamp = self("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **sequence)

    def image(self, header: Any, pixels: NDArray[Any], encoding: str) -> Any:
        height, width = pixels.shape[:2]
        step = pixels[0].nbytes
        data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
        fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0, "step": step}
        return self("sensor_msgs/msg/Image", header=header, data=data, **fields)

    def info(
        self, header: Any, size: tuple[int, int], d: Iterable[float], k: Iterable[float], r: Iterable[float], p: Any
    ) -> Any:
        roi = self("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        numbers = {name: np.array(values, dtype=float) for name, values in zip("dkrp", (d, k, r, p), strict=True)}
        if self.ros1:
            numbers = {name.upper(): values for name, values in numbers.items()}
        fields = {"width": size[0], "height": size[1], "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}
        return self("sensor_msgs/msg/CameraInfo", header=header, roi=roi, **fields, **numbers)

    def link(self, parent: str, child: str, position: Iterable[float], quaternion: Iterable[float], ns: int) -> Any:
        x, y, z = position
        qx, qy, qz, qw = quaternion
        transform = self(
            "geometry_msgs/msg/Transform",
            translation=self("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=self("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        header = self.header(ns, parent)
        return self("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=transform)


def write2(
    path: Path,
    messages: Iterable[Message],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, log_time, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
            writer.write(connections[topic], log_time, ROS2.serialize_cdr(message, kind))
    return path


def write1(path: Path, messages: Iterable[Message]) -> Path:
    connections: dict[str, Any] = {}
    with Writer1(path) as writer:
        for topic, log_time, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], log_time, ROS1.serialize_ros1(message, kind))
    return path


def kitti_stamp(index: int, camera: int) -> int:
    """The cameras of KITTI's raw drives are stamped one by one."""
    return START_NS + index * PERIOD_NS + (0, 96_000, -12_800_000, -13_100_000)[camera]


def kitti2bag(picture: Picture, make: Maker) -> list[Message]:
    """As kitti2bag's raw_synced writes it: rectified images called image_raw, distortion of before, sizes swapped."""
    messages: list[Message] = []
    link = make.link("base_link", "imu_link", (-1.405, 0.32, 0.93), (0.0, 0.0, 0.0, 1.0), START_NS)
    camera = make.link("imu_link", "camera_gray_left", (1.1, -0.3, 0.7), (-0.5, 0.5, -0.5, 0.5), START_NS)
    for index in range(FRAMES):
        transforms = make("tf2_msgs/msg/TFMessage", transforms=[link, camera]) if not make.ros1 else None
        if transforms is not None:
            messages.append(("/tf_static", kitti_stamp(index, 0), transforms))
        for number, name in enumerate(CAMERAS):
            stamp = kitti_stamp(index, number)
            header = make.header(stamp, f"camera_{name}")
            grey = picture(index, number, SIZE)
            pixels, encoding = (grey, "mono8") if number < 2 else (np.dstack([grey] * 3), "bgr8")
            projection = [*P[:3], (0.0, -25.0, 2.0, -23.0)[number], *P[4:]]
            messages.append((f"/kitti/camera_{name}/image_raw", stamp, make.image(header, pixels, encoding)))
            info = make.info(header, SIZE[::-1], D_RAW, K_RAW, R_RECT, projection)
            messages.append((f"/kitti/camera_{name}/camera_info", stamp, info))
    return sorted(messages, key=lambda each: each[1])


def assert_is_the_grey_pair(path: Path, picture: Picture, capsys: pytest.CaptureFixture[str]) -> None:
    sequence = open_sequence(str(path))
    assert sequence.stamps_ns == tuple(kitti_stamp(index, 0) for index in range(FRAMES))
    assert sequence.rig.left == Camera(50.0, 50.0, 47.5, 15.5, *SIZE) and sequence.rig.baseline_m == 0.5
    for index, frame in enumerate(sequence):
        np.testing.assert_array_equal(frame.image, picture(index, 0, SIZE))
        np.testing.assert_array_equal(frame.right_image, picture(index, 1, SIZE))
    assert "differ by up to 0.096 ms" in " ".join(capsys.readouterr().err.split())
    assert not open_sequence(str(path), "mono").rig.stereo


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_kitti2bag_converted_to_rosbag2(
    tmp_path: Path,
    tiny_image: Picture,
    capsys: pytest.CaptureFixture[str],
    storage: StoragePlugin,
    compression: CompressionMode,
) -> None:
    path = write2(tmp_path / "kitti", kitti2bag(tiny_image, Maker()), storage, compression)
    assert_is_the_grey_pair(path, tiny_image, capsys)


def test_kitti2bag_as_it_is(tmp_path: Path, tiny_image: Picture, capsys: pytest.CaptureFixture[str]) -> None:
    path = write1(tmp_path / "kitti_2011_09_26_drive_0001_synced.bag", kitti2bag(tiny_image, Maker(ros1=True)))
    assert_is_the_grey_pair(path, tiny_image, capsys)


def kitti2mcap(picture: Picture, cameras: Iterable[int]) -> list[Message]:
    """As kitti2mcap writes it: K is that of P, no distortion, but the rotation of the rectification that was done."""
    make, messages = Maker(), []
    for index in range(FRAMES):
        for number in cameras:
            stamp = kitti_stamp(index, number)
            header = make.header(stamp, f"camera_{CAMERAS[number]}")
            grey = picture(index, number, SIZE)
            pixels, encoding = (grey, "mono8") if number < 2 else (np.dstack([grey] * 3), "rgb8")
            projection = [*P[:3], (0.0, -25.0, 2.0, -23.0)[number], *P[4:]]
            intrinsics = [50.0, 0, 47.5, 0, 50.0, 15.5, 0, 0, 1]
            prefix = f"/kitti/camera_{CAMERAS[number]}"
            messages.append((f"{prefix}/image_raw", stamp, make.image(header, pixels, encoding)))
            messages.append(
                (f"{prefix}/camera_info", stamp, make.info(header, SIZE, [0.0] * 5, intrinsics, R_RECT, projection))
            )
    return sorted(messages, key=lambda each: each[1])


def test_kitti2mcap(tmp_path: Path, tiny_image: Picture, capsys: pytest.CaptureFixture[str]) -> None:
    pair = write2(tmp_path / "pair", kitti2mcap(tiny_image, (0, 1)))
    assert_is_the_grey_pair(pair / "pair.mcap", tiny_image, capsys)
    colour = open_sequence(str(write2(tmp_path / "colour", kitti2mcap(tiny_image, (2,))) / "colour.mcap"))
    assert not colour.rig.stereo and colour.stamps_ns[0] == kitti_stamp(0, 2)
    np.testing.assert_array_equal(colour.frame(1).image, tiny_image(1, 2, SIZE))
    coloured_pair = open_sequence(str(write2(tmp_path / "both", kitti2mcap(tiny_image, (2, 3)))))
    assert coloured_pair.rig.baseline_m == pytest.approx(0.5)


def pictures(make: Maker, topics: dict[str, Any], info: dict[str, Any], frames: int = FRAMES) -> list[Message]:
    """Every message at the stamp of its frame; a picture is made of (index) and an info of its header."""
    messages: list[Message] = []
    for index in range(frames):
        stamp = START_NS + index * PERIOD_NS
        header = make.header(stamp, "camera_optical")
        for topic, content in topics.items():
            messages.append((topic, stamp, content(index, header) if callable(content) else content))
        for topic in {name.rpartition("/")[0] for name in info}:
            messages.append((f"{topic}/camera_info", stamp, info[f"{topic}/camera_info"](header)))
    return messages


def test_unrectified_images_are_rectified(tmp_path: Path, tiny_image: Picture) -> None:
    make = Maker()
    infos: dict[str, Any] = {
        f"/robot/{side}/camera_info": (
            lambda header, offset=offset: make.info(header, SIZE, D_RAW, K_RAW, R_RECT, [*P[:3], offset, *P[4:]])
        )
        for side, offset in (("left", 0.0), ("right", -25.0))
    }
    topics = {
        f"/robot/{side}/image_raw": (
            lambda index, header, camera=camera: make.image(header, tiny_image(index, camera, SIZE), "mono8")
        )
        for camera, side in enumerate(("left", "right"))
    }
    sequence = open_sequence(str(write2(tmp_path / "bag", pictures(make, topics, infos))))
    header = make.header(0, "")
    cameras = cameras_from_infos([each(header) for each in infos.values()], [SIZE, SIZE], rectify=True)
    for index, frame in enumerate(sequence):
        expected = cameras.frame(0, [tiny_image(index, camera, SIZE) for camera in (0, 1)])
        np.testing.assert_array_equal(frame.image, expected.image)
        np.testing.assert_array_equal(frame.right_image, expected.right_image)
        assert np.abs(frame.image.astype(int) - tiny_image(index, 0, SIZE)).mean() > 10


DEPTH_MM = np.random.default_rng(0).integers(300, 5000, SIZE[::-1]).astype(np.uint16)
DEPTH_MM[3, 5] = 0


def quantised(millimetres: NDArray[np.uint16]) -> tuple[bytes, NDArray[np.float32]]:
    """32FC1 as compressed_depth_image_transport quantises it, and what can be had back."""
    scale, shift = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 100.0
    metres = np.where(millimetres == 0, np.nan, millimetres / 1000.0)
    stored = np.nan_to_num(scale / metres + shift).astype(np.uint16)
    back = np.where(stored > 0, scale / (np.maximum(stored, 1) - shift), np.nan)
    header = np.array([0], np.int32).tobytes() + np.array([scale, shift], np.float32).tobytes()
    return header + cv2.imencode(".png", stored)[1].tobytes(), back.astype(np.float32)


def depth_topics(make: Maker, form: str) -> tuple[str, Any, NDArray[np.floating]]:
    metres = np.where(DEPTH_MM == 0, np.nan, DEPTH_MM / 1000.0)
    png = cv2.imencode(".png", DEPTH_MM)[1].tobytes()
    packed, back = quantised(DEPTH_MM)
    compressed: dict[str, tuple[str, bytes, NDArray[np.floating]]] = {
        "16UC1 compressed": ("16UC1; compressedDepth png", bytes(12) + png, metres),
        "plain png": ("16UC1; png compressed ", png, metres),
        "32FC1 compressed": ("32FC1; compressedDepth png", packed, back),
    }
    if form in compressed:
        name, data, expected = compressed[form]
        kind = ROS2.types["sensor_msgs/msg/CompressedImage"]
        array = np.frombuffer(data, np.uint8)
        return "/compressedDepth", lambda _, header: kind(header=header, format=name, data=array), expected
    pixels = DEPTH_MM if form == "16UC1" else np.where(DEPTH_MM == 0, np.inf, metres).astype(np.float32)
    return "", lambda _, header: make.image(header, pixels, form), metres


@pytest.mark.parametrize(
    ("image", "depth"),
    [
        ("/image_rect", "/depth/image_rect"),
        ("/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"),
        ("/camera/rgb/image_color", "/camera/depth/image"),
        ("/zed/zed_node/rgb/image_rect_color", "/zed/zed_node/depth/depth_registered"),
        ("/oak/rgb/image_rect", "/oak/stereo/image_raw"),
    ],
)
@pytest.mark.parametrize("form", ["16UC1", "32FC1", "16UC1 compressed", "32FC1 compressed", "plain png"])
def test_depth_under_the_names_of_drivers(
    tmp_path: Path, tiny_image: Picture, image: str, depth: str, form: str
) -> None:
    make = Maker()
    ending, content, expected = depth_topics(make, form)
    topics = {
        image: lambda index, header: make.image(header, np.dstack([tiny_image(index, 0, SIZE)] * 3), "rgb8"),
        depth + ending: content,
    }
    intrinsics, straight = [50.0, 0, 47.5, 0, 50.0, 15.5, 0, 0, 1], np.eye(3).ravel()
    info = {
        f"{image.rpartition('/')[0]}/camera_info": lambda header: make.info(header, SIZE, [], intrinsics, straight, P)
    }
    path = str(write2(tmp_path / "bag", pictures(make, topics, info)))
    sequence = open_sequence(path)
    assert sequence.rig.mode == "rgbd" and len(sequence) == FRAMES
    frame = sequence.frame(1)
    np.testing.assert_array_equal(frame.image, tiny_image(1, 0, SIZE))
    assert frame.depth is not None and np.isnan(frame.depth[3, 5])
    np.testing.assert_allclose(frame.depth, expected, rtol=1e-6)
    assert open_sequence(path, "mono").rig.mode == "mono"
    with pytest.raises(DataError, match="mode stereo needs the topics"):
        open_sequence(path, "stereo")


class Rgbd(Sequence):
    """Frames with depth."""

    def __init__(self, picture: Picture) -> None:
        rig = Rig(Camera(50.0, 50.0, 47.5, 15.5, *SIZE), depth=True)
        super().__init__("rgbd", rig, tuple(kitti_stamp(index, 0) for index in range(FRAMES)), None)
        self._picture = picture

    def frame(self, index: int) -> Frame:
        depth = np.where(DEPTH_MM == 0, np.nan, DEPTH_MM / 1000.0 + index).astype(np.float32)
        return Frame(self.stamps_ns[index], self._picture(index, 0, SIZE), self.rig, depth=depth)


def test_a_written_rgbd_bag_returns_its_depth(tmp_path: Path, tiny_image: Picture) -> None:
    written = Rgbd(tiny_image)
    write_bag(written, tmp_path / "bag")
    read = open_sequence(str(tmp_path / "bag"), "rgbd")
    assert (read.rig, read.stamps_ns) == (written.rig, written.stamps_ns)
    for mine, theirs in zip(read, written, strict=True):
        np.testing.assert_array_equal(mine.image, theirs.image)
        np.testing.assert_array_equal(mine.depth, theirs.depth)
    left = written.left_only()
    assert left.rig.mode == "mono" and left.frame(0).depth is None


def test_a_bag_without_depth_has_no_mode_rgbd(tmp_path: Path, tiny_image: Picture) -> None:
    path = write2(tmp_path / "pair", kitti2mcap(tiny_image, (0, 1)))
    with pytest.raises(DataError, match="mode rgbd needs the topics image_rect, camera_info and depth/image_rect"):
        open_sequence(str(path), "rgbd")


def test_depth_of_another_size_is_refused(tmp_path: Path, tiny_image: Picture) -> None:
    make = Maker()
    topics = {
        "/image_rect": lambda index, header: make.image(header, tiny_image(index, 0, SIZE), "mono8"),
        "/depth/image_rect": lambda index, header: make.image(header, DEPTH_MM[::2, ::2], "16UC1"),
    }
    info = {"/camera_info": lambda header: make.info(header, SIZE, [], K_RAW, np.eye(3).ravel(), P)}
    sequence = open_sequence(str(write2(tmp_path / "bag", pictures(make, topics, info))))
    with pytest.raises(DataError, match="registered to the image.*got 48x16 beside 96x32"):
        sequence.frame(0)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_storage_files_alone_and_compressed(
    tmp_path: Path, tiny_image: Picture, capsys: pytest.CaptureFixture[str], storage: StoragePlugin
) -> None:
    folder = write2(tmp_path / "kitti", kitti2bag(tiny_image, Maker()), storage)
    (folder / "metadata.yaml").unlink()
    assert_is_the_grey_pair(folder, tiny_image, capsys)
    (file,) = folder.iterdir()
    compressed = tmp_path / f"{file.name}.zstd"
    compressed.write_bytes(zstd.compress(file.read_bytes()))
    assert_is_the_grey_pair(compressed, tiny_image, capsys)
    compressed.write_bytes(compressed.read_bytes()[:-10])
    with pytest.raises(DataError, match="not a complete rosbag2"):
        open_sequence(str(compressed))
    file.rename(folder / f"first{file.suffix}")
    (folder / f"second{file.suffix}").write_bytes(b"")
    with pytest.raises(DataError, match="holds 2 bag files and no metadata.yaml"):
        open_sequence(str(folder))


def test_a_file_that_expands_beyond_reason_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subpx_ros.datasets.bag_reader._SMALL_BYTES", 2**20)
    path = tmp_path / "bomb.mcap.zstd"
    path.write_bytes(zstd.compress(bytes(2**24)))
    with pytest.raises(DataError, match="expands to more than 1 MiB"):
        open_sequence(str(path))


def test_a_camera_info_of_another_size_is_refused(tmp_path: Path, tiny_image: Picture) -> None:
    """Swapped sizes are taken for swapped only where the principal point proves it."""

    def change(message: Message) -> Message:
        topic, log_time, content = message
        return (
            topic,
            log_time,
            replace(content, p=np.array([50.0, 0, 12, 0, 0, 50, 12, 0, 0, 0, 1, 0]))
            if (topic.endswith("camera_info"))
            else content,
        )

    messages = [change(each) for each in kitti2bag(tiny_image, Maker()) if "gray_left" in each[0]]
    with pytest.raises(DataError, match="32x96 as its calibration says"):
        open_sequence(str(write2(tmp_path / "bag", messages))).frame(0)


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=30, unique=True),
)
def test_pairs_are_the_nearest_of_each_other(a: list[int], b: list[int]) -> None:
    first, second = np.array(sorted(a)), np.array(sorted(b))
    pairs = nearest_pairs(first, second)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    for x, y in pairs:
        assert abs(x - y) == np.abs(second - x).min() == np.abs(first - y).min() < 20_000_000
    assert set(a) & set(b) <= set(pairs[:, 0])


def test_truth_through_a_chain_of_static_transforms(tmp_path: Path, tiny_image: Picture) -> None:
    make = Maker()
    messages = kitti2bag(tiny_image, make)
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    for index in range(FRAMES):
        stamp = kitti_stamp(index, 0)
        position = make("geometry_msgs/msg/Point", x=1.5 * index, y=0.0, z=0.0)
        turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=np.sin(0.05 * index), w=np.cos(0.05 * index))
        pose = make("geometry_msgs/msg/Pose", position=position, orientation=turn)
        odometry = make(
            "nav_msgs/msg/Odometry",
            header=make.header(stamp, "odom"),
            child_frame_id="base_link",
            pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
            twist=make(
                "geometry_msgs/msg/TwistWithCovariance",
                twist=make("geometry_msgs/msg/Twist", linear=zero, angular=zero),
                covariance=np.zeros(36),
            ),
        )
        messages.append(("/ground_truth/odom", stamp, odometry))
    messages.sort(key=lambda each: each[1])
    truth = open_sequence(str(write2(tmp_path / "bag", messages))).truth
    optical = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    T_base_camera = se3(optical, np.array([1.1 - 1.405, -0.3 + 0.32, 0.7 + 0.93]))
    angle = 0.1 * 2
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    expected = np.linalg.inv(T_base_camera) @ se3(turned, np.array([3.0, 0, 0])) @ T_base_camera
    assert truth is not None
    np.testing.assert_allclose(truth[2], expected, atol=1e-9)
