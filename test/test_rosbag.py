"""Bags written and read back: everything must return as it was, from every storage, and damage must be one clear line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datasets.bag_writer import write_bag
from subpx_ros.errors import DataError
from subpx_ros.geometry import rotation_from_vector, se3

Tree = Callable[..., Path]
Shared = Callable[[str], Path]
STORE = get_typestore(Stores.ROS2_KILTED)


@pytest.fixture
def source(kitti_tree: Tree) -> Sequence:
    """Four stereo frames on a path with turns about all axes."""
    folder = kitti_tree()
    pose, rows = np.eye(4), []
    for index in range(4):
        rows.append(" ".join(f"{value:.17g}" for value in pose[:3].ravel()))
        pose = pose @ se3(rotation_from_vector(np.array([0.1, 0.8, -0.2])), np.array([0.1, -0.2, 1.0 + index]))
    (folder / "poses.txt").write_text("\n".join(rows))
    (folder / "times.txt").write_text("7.000000001\n7.1\n7.2\n1317384506.400000123\n")
    return open_sequence(str(folder))


@pytest.fixture
def bag(source: Sequence, tmp_path: Path) -> Path:
    write_bag(source, tmp_path / "recording")
    return tmp_path / "recording"


def assert_same(read: Sequence, written: Sequence, right: bool = True) -> None:
    assert read.stamps_ns == written.stamps_ns
    assert read.rig.left == written.rig.left and (read.rig == written.rig or not right)
    assert read.truth is not None and written.truth is not None
    np.testing.assert_allclose(read.truth, written.truth, atol=1e-12)
    for mine, theirs in zip(read, written, strict=True):
        np.testing.assert_array_equal(mine.image, theirs.image)
        if right:
            np.testing.assert_array_equal(mine.right_image, theirs.right_image)


def rewritten(
    bag: Path,
    out: Path,
    change: Callable[[str, Any], tuple[str, Any] | None] = lambda topic, message: (topic, message),
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
    log_delay_ns: int = 0,
) -> Path:
    """A copy of `bag`, message by message through `change`, which may rename, replace or drop each."""
    writer = Writer(out, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with Reader(bag) as reader, writer:
        for connection, log_time, raw in reader.messages():
            changed = change(connection.topic, STORE.deserialize_cdr(raw, connection.msgtype))
            if changed is None:
                continue
            topic, message = changed
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            log_delay_ns = -log_delay_ns  # so that left and right arrive at different times
            writer.write(connections[topic], log_time + 10**6 + log_delay_ns, STORE.serialize_cdr(message, kind))
    return out


def without(*topics: str) -> Callable[[str, Any], tuple[str, Any] | None]:
    return lambda topic, message: None if topic in topics else (topic, message)


def test_a_bag_returns_what_was_written(source: Sequence, bag: Path) -> None:
    assert_same(open_sequence(str(bag)), source)
    assert_same(open_sequence(str(bag / "recording.mcap")), source)
    assert_same(open_sequence(str(bag), "mono"), source, right=False)
    assert not open_sequence(str(bag), "mono").rig.stereo


def test_frames_come_in_any_order(source: Sequence, bag: Path) -> None:
    read = open_sequence(str(bag))
    for index in (3, 0, 2, 2, 1):
        np.testing.assert_array_equal(read.frame(index).right_image, source.frame(index).right_image)
    with pytest.raises(IndexError):
        read.frame(4)


def test_one_camera(kitti_tree: Tree, tmp_path: Path) -> None:
    source = open_sequence(str(kitti_tree(cameras=(0,))))
    write_bag(source, tmp_path / "mono")
    assert_same(open_sequence(str(tmp_path / "mono")), source, right=False)
    with Reader(tmp_path / "mono") as reader:
        assert set(reader.topics) == {"/image_rect", "/camera_info", "/tf_static", "/ground_truth/odom"}
    with pytest.raises(DataError, match="mode stereo needs the topics left/image_rect.*the bag has /camera_info"):
        open_sequence(str(tmp_path / "mono"), "stereo")


def test_messages_are_as_ros_expects_them(source: Sequence, bag: Path) -> None:
    with Reader(bag) as reader:
        messages: list[tuple[str, int, Any]] = [
            (connection.topic, log_time, STORE.deserialize_cdr(raw, connection.msgtype))
            for connection, log_time, raw in reader.messages()
        ]
        profiles = {connection.topic: connection.ext.offered_qos_profiles for connection in reader.connections}  # type: ignore[union-attr]
    assert profiles["/tf_static"][0].durability is QosDurability.TRANSIENT_LOCAL
    assert profiles["/left/image_rect"][0].durability is QosDurability.VOLATILE
    by_topic: dict[str, list[Any]] = {}
    for topic, log_time, message in messages:
        by_topic.setdefault(topic, []).append(message)
        if topic != "/tf_static":
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == log_time
    assert {topic: len(found) for topic, found in by_topic.items()} == {
        "/tf_static": 1,
        "/left/image_rect": 4,
        "/left/camera_info": 4,
        "/right/image_rect": 4,
        "/right/camera_info": 4,
        "/ground_truth/odom": 4,
    }
    info = by_topic["/right/camera_info"][0]
    np.testing.assert_allclose(info.p, [50, 0, 15.5, -25, 0, 50, 11.5, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(info.k, [50, 0, 15.5, 0, 50, 11.5, 0, 0, 1])
    np.testing.assert_allclose(info.r, np.eye(3).ravel())
    assert info.distortion_model == "plumb_bob" and info.d.tolist() == [0.0] * 5
    assert by_topic["/right/image_rect"][0].header.frame_id == info.header.frame_id == "right_camera_optical"
    left, right = by_topic["/tf_static"][0].transforms
    assert (left.header.frame_id, left.child_frame_id) == ("base_link", "left_camera_optical")
    assert (right.transform.translation.x, right.transform.translation.y) == (0.0, pytest.approx(-0.5))
    rotation = left.transform.rotation  # the optical z axis is the body's x axis, optical x is -y
    assert (rotation.x, rotation.y, rotation.z, rotation.w) == (-0.5, 0.5, -0.5, 0.5)
    first, second = by_topic["/ground_truth/odom"][:2]
    assert (first.header.frame_id, first.child_frame_id) == ("odom", "base_link")
    assert first.pose.pose.orientation.w == 1.0
    position = second.pose.pose.position  # optical (0.1, -0.2, 1.0) is forward 1.0, left -0.1, up 0.2
    assert (position.x, position.y, position.z) == pytest.approx((1.0, -0.1, 0.2))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_every_storage_is_read(
    source: Sequence, bag: Path, tmp_path: Path, storage: StoragePlugin, compression: CompressionMode
) -> None:
    copy = rewritten(bag, tmp_path / "copy", storage=storage, compression=compression, log_delay_ns=300_000)
    assert_same(open_sequence(str(copy)), source)
    if compression is CompressionMode.NONE and storage is StoragePlugin.SQLITE3:
        assert_same(open_sequence(str(copy / "copy.db3")), source)


def test_topics_under_a_prefix_and_compressed(source: Sequence, bag: Path, tmp_path: Path) -> None:
    def change(topic: str, message: Any) -> tuple[str, Any]:
        if not topic.endswith("image_rect"):
            return f"/robot{topic}" if topic != "/tf_static" else topic, message
        pixels = message.data.reshape(message.height, message.width)
        data = cv2.imencode(".png", pixels)[1]
        kind = STORE.types["sensor_msgs/msg/CompressedImage"]
        return f"/robot{topic}/compressed", kind(header=message.header, format="png", data=data.ravel())

    assert_same(open_sequence(str(rewritten(bag, tmp_path / "copy", change))), source)


def test_images_without_a_partner_are_left_out(
    source: Sequence, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(topic: str, message: Any) -> tuple[str, Any] | None:
        late = topic == "/right/image_rect" and message.header.stamp.nanosec == 100_000_000
        return None if late else (topic, message)

    read = open_sequence(str(rewritten(bag, tmp_path / "copy", change)))
    assert read.stamps_ns == (source.stamps_ns[0], *source.stamps_ns[2:])
    np.testing.assert_array_equal(read.frame(1).image, source.frame(2).image)
    assert read.truth is not None and source.truth is not None
    np.testing.assert_allclose(read.truth, source.truth[[0, 2, 3]], atol=1e-12)
    assert "1 images without a partner" in " ".join(capsys.readouterr().err.split())


def test_truth_of_another_base_frame(source: Sequence, bag: Path, tmp_path: Path) -> None:
    """The same path told by a base that sits a metre behind the camera."""

    def change(topic: str, message: Any) -> tuple[str, Any]:
        if topic == "/tf_static":
            message.transforms[0].transform.translation.x += 1.0
        elif topic == "/ground_truth/odom":
            pose = message.pose.pose
            q = np.array([pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w])
            forward = [
                1 - 2 * (q[1] ** 2 + q[2] ** 2),
                2 * (q[0] * q[1] + q[2] * q[3]),
                2 * (q[0] * q[2] - q[1] * q[3]),
            ]
            pose.position.x += 1.0 - forward[0]
            pose.position.y -= forward[1]
            pose.position.z -= forward[2]
        return topic, message

    assert_same(open_sequence(str(rewritten(bag, tmp_path / "copy", change))), source)


def test_truth_that_lacks_frames_is_not_used(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(topic: str, message: Any) -> tuple[str, Any] | None:
        return None if topic == "/ground_truth/odom" and message.header.stamp.nanosec == 1 else (topic, message)

    assert open_sequence(str(rewritten(bag, tmp_path / "copy", change))).truth is None
    assert "lacks 1 of the frames' stamps" in " ".join(capsys.readouterr().err.split())
    assert open_sequence(str(rewritten(bag, tmp_path / "none", without("/ground_truth/odom")))).truth is None


IMAGES = ("/left/image_rect", "/right/image_rect")


def _zero_projection(topic: str, message: Any) -> tuple[str, Any]:
    if topic.endswith("camera_info"):
        message.p, message.k = np.zeros(12), np.zeros(9)
    return topic, message


def _short_pixels(topic: str, message: Any) -> tuple[str, Any]:
    if topic in IMAGES and message.header.stamp.nanosec > 1:
        message.data = message.data[:-1]
    return topic, message


def _shifted_stamps(topic: str, message: Any) -> tuple[str, Any]:
    if topic == "/right/image_rect":
        message.header.stamp.nanosec += 20_000_000
    return topic, message


def _two_robots(topic: str, message: Any) -> tuple[str, Any]:
    return (
        (f"/second{topic}" if message.header.stamp.sec > 7 else topic, message) if topic in IMAGES else (topic, message)
    )


def _zero_quaternion(topic: str, message: Any) -> tuple[str, Any]:
    if topic == "/ground_truth/odom":
        message.pose.pose.orientation.w = message.pose.pose.orientation.x = float("nan")
    return topic, message


UNFIT: dict[str, tuple[Callable[[str, Any], tuple[str, Any] | None], str]] = {
    "no images": (
        without(*IMAGES),
        r"needs the topics left/image_rect, .*or image_rect and .* under any prefix; the bag has .*/left/camera_info",
    ),
    "no left calibration": (without("/left/camera_info"), r"needs the topic /left/camera_info beside the images"),
    "no right calibration": (without("/right/camera_info"), r"needs the topic /right/camera_info beside the images"),
    "no matching stamps": (_shifted_stamps, r"matching header stamps; none of /left/image_rect \(4\) and /right"),
    "uncalibrated": (_zero_projection, r"left camera_info is uncalibrated"),
    "two pairs": (_two_robots, r"it has several: /left, /second/left"),
    "no pose": (_zero_quaternion, r"/ground_truth/odom: a quaternion of length 1 .* is required"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_bags_give_one_clear_line(bag: Path, tmp_path: Path, name: str) -> None:
    change, message = UNFIT[name]
    with pytest.raises(DataError, match=message) as caught:
        open_sequence(str(rewritten(bag, tmp_path / "copy", change)))
    assert "\n" not in str(caught.value)


def test_short_pixels_are_found_when_the_frame_is_asked_for(bag: Path, tmp_path: Path) -> None:
    read = open_sequence(str(rewritten(bag, tmp_path / "copy", _short_pixels)))
    assert read.frame(0).image.shape == (24, 32)
    with pytest.raises(DataError, match="32x24 with step 32 needs 768 bytes; got 767"):
        read.frame(1)


def test_mcap_cut_off_anywhere_is_refused(bag: Path, tmp_path: Path) -> None:
    data = (bag / "recording.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    for length in [*range(60), *range(60, len(data), len(data) // 60), len(data) - 1]:
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match="cut.mcap is not a complete rosbag2") as caught:
            open_sequence(str(cut))
        assert "\n" not in str(caught.value)


def test_folder_with_a_cut_off_mcap_is_refused(bag: Path) -> None:
    path = bag / "recording.mcap"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="recording is not a complete rosbag2 .*record it again or repair it"):
        open_sequence(str(bag))


@pytest.mark.parametrize("ending", [".mcap", ".db3"])
def test_damaged_files_never_raise_anything_but_data_errors(bag: Path, tmp_path: Path, ending: str) -> None:
    storage = StoragePlugin.MCAP if ending == ".mcap" else StoragePlugin.SQLITE3
    copy = rewritten(bag, tmp_path / "copy", storage=storage)
    original = (copy / f"copy{ending}").read_bytes()
    generator = np.random.default_rng(0)
    for trial in range(80):
        data = bytearray(original)
        for position in generator.integers(0, len(data), 1 + trial % 8):
            data[position] = generator.integers(0, 256)
        path = tmp_path / f"damaged{ending}"
        path.write_bytes(data)
        try:
            for frame in open_sequence(str(path)):
                assert frame.image.shape == (24, 32)
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "content", ["", "rosbag2_bagfile_information: 3\n", "a: [1\n", "rosbag2_bagfile_information: {}\n"]
)
def test_broken_metadata_is_refused(bag: Path, content: str) -> None:
    (bag / "metadata.yaml").write_text(content)
    with pytest.raises(DataError, match="is not a complete rosbag2"):
        open_sequence(str(bag))


def test_metadata_without_its_file_is_refused(bag: Path) -> None:
    (bag / "recording.mcap").unlink()
    with pytest.raises(DataError, match="is not a complete rosbag2"):
        open_sequence(str(bag))


def test_an_existing_target_is_refused_and_kept(source: Sequence, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("keep")
    with pytest.raises(DataError, match="out exists already, and a bag is never overwritten"):
        write_bag(source, out)
    assert [path.name for path in out.iterdir()] == ["precious.txt"]
    with pytest.raises(DataError, match="leave the ending away"):
        write_bag(source, tmp_path / "out.mcap")


def test_nothing_is_left_when_a_frame_cannot_be_read(kitti_tree: Tree, tmp_path: Path) -> None:
    folder = kitti_tree()
    path = folder / "image_1" / "000003.png"
    path.write_bytes(path.read_bytes()[:60])
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="000003.png"):
        write_bag(open_sequence(str(folder)), tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_progress_and_nested_target(source: Sequence, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_bag(source, tmp_path / "new" / "bag", lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bag"]
    assert sorted(path.name for path in (tmp_path / "new" / "bag").iterdir()) == ["bag.mcap", "metadata.yaml"]


def test_real_stereo_sequence(shared_data: Shared, tmp_path: Path) -> None:
    source = open_sequence(str(shared_data("kitti03_stereo5")))
    write_bag(source, tmp_path / "bag")
    assert_same(open_sequence(str(tmp_path / "bag")), source)
    shutil.rmtree(tmp_path / "bag")
