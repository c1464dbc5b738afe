"""What the node takes in, over real DDS: every form of images, unrectified cameras, depth, loose stamps, QoS, and why not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from lenses import rays_of
from listener import Listener
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from scene import CAMERA, PERIOD_NS, STEP_M, frame, plane_depth
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from session import FAST, LOSSLESS, START_S, Session, position, start
from std_msgs.msg import Header

from subpx_ros.config import NodeConfig
from subpx_ros.datatypes import Array, Frame, Rig
from subpx_ros.frames import T_BODY_OPTICAL
from subpx_ros.geometry import homogeneous, rotation_from_vector, se3
from subpx_ros.msg import OdometryStatus, RelativePose
from subpx_ros.ros.distro import StaticTransformBroadcaster
from subpx_ros.ros.inputs import Inputs, input_topics, reliable_keep_all
from subpx_ros.ros.messages import ImageSet, byte_array, depth_message, image_message, stamp_from_ns, stamp_to_ns
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.node_process import NodeProcess
from subpx_ros.ros.results import transform_message
from subpx_ros.undistortion import Lens

RGBD = Rig(CAMERA, depth=True)


def rgbd_frame(index: int) -> Frame:
    seen = frame(index)
    return Frame(seen.stamp_ns, seen.image, RGBD, depth=plane_depth(index).astype(np.float32))


@pytest.fixture(params=["raw", "compressed"])
def rgbd(context: Context, request: pytest.FixtureRequest) -> Iterator[Session]:
    yield from start(context, {"mode": "rgbd", "image_transport": request.param, **LOSSLESS}, RGBD)


def test_rgbd_is_metric(rgbd: Session) -> None:
    frames = [rgbd_frame(index) for index in range(4)]
    rgbd.play(*frames)
    last = frames[-1].stamp_ns
    rgbd.wait(lambda: last in rgbd.player.odometry and last in rgbd.player.relative_poses)
    relative = rgbd.player.relative_poses[last]
    assert (relative.status, relative.metric) == (RelativePose.OK, True)
    np.testing.assert_allclose(position(rgbd.player.odometry[last]), [3 * STEP_M, 0.0, 0.0], atol=0.01)
    status = rgbd.player.status[last]
    assert status.state == OdometryStatus.TRACKING and status.stereo_matches > 100
    assert "depth" in status.stage_names


class Publisher:
    """Speaks on the node's inputs in any form, and hears its status."""

    def __init__(self, context: Context, topics: dict[str, type]) -> None:
        self.listener = Listener(context, {f"{NODE_NAME}/status": OdometryStatus})
        self._publishers: dict[str, Any] = {
            topic: self.listener.node.create_publisher(kind, topic, reliable_keep_all())
            for topic, kind in topics.items()
        }

    def wait_for_node(self) -> None:
        def connected() -> bool:
            return bool(self.listener.received[f"{NODE_NAME}/status"]) and all(
                each.get_subscription_count() > 0 for each in self._publishers.values()
            )

        self.listener.wait(connected, "the node")

    def send(self, *messages: Any) -> OdometryStatus:
        """One message per topic, in their order; the status that answers the set."""
        for publisher, message in zip(self._publishers.values(), messages, strict=True):
            publisher.publish(message)
        stamp_ns = stamp_to_ns(messages[0].header.stamp)
        received = self.listener.received[f"{NODE_NAME}/status"]

        def answers() -> list[OdometryStatus]:
            return [each for each in received if each.header.frame_id and stamp_to_ns(each.header.stamp) == stamp_ns]

        self.listener.wait(lambda: bool(answers()), f"the status of {stamp_ns} ns")
        return answers()[0]


def header(index: int, frame_id: str = "nowhere_optical", shift_ns: int = 0) -> Header:
    return Header(stamp=stamp_from_ns(1_000_000_000 + index * PERIOD_NS + shift_ns), frame_id=frame_id)


def padded(pixels: NDArray[np.uint8], head: Header, encoding: str, big_endian: bool = False) -> Image:
    """(H, W * bytes) as rows with 13 bytes of padding."""
    rows = np.pad(pixels, ((0, 0), (0, 13)), constant_values=171)
    message = Image(header=head, height=CAMERA.height, width=CAMERA.width, encoding=encoding, step=rows.shape[1])
    message.is_bigendian, message.data = int(big_endian), byte_array(rows)
    return message


def as_16_bit(grey: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    return (grey.astype(np.uint16) * 257).astype(f"{order}u2").view(np.uint8)


def channels(*values: Any) -> NDArray[np.uint8]:
    return np.stack(np.broadcast_arrays(*values), axis=2).astype(np.uint8).reshape(CAMERA.height, -1)


GREY = 128
# Of a grey world every Bayer pattern shows the grey.
FORMS: dict[str, Callable[[NDArray[np.uint8], Header], Image]] = {
    "mono8": lambda grey, head: padded(grey, head, "mono8"),
    "8UC1": lambda grey, head: padded(grey, head, "8UC1"),
    "mono16 little": lambda grey, head: padded(as_16_bit(grey, "<"), head, "mono16"),
    "mono16 big": lambda grey, head: padded(as_16_bit(grey, ">"), head, "mono16", True),
    "16UC1 big": lambda grey, head: padded(as_16_bit(grey, ">"), head, "16UC1", True),
    "rgb8": lambda grey, head: padded(channels(grey, grey, grey), head, "rgb8"),
    "bgr8": lambda grey, head: padded(channels(grey, grey, grey), head, "bgr8"),
    "rgba8": lambda grey, head: padded(channels(grey, grey, grey, 7), head, "rgba8"),
    "bgra8": lambda grey, head: padded(channels(grey, grey, grey, 7), head, "bgra8"),
    "bayer_rggb8": lambda grey, head: padded(grey, head, "bayer_rggb8"),
    "bayer_gbrg8": lambda grey, head: padded(grey, head, "bayer_gbrg8"),
    "yuv422": lambda grey, head: padded(channels(GREY, grey), head, "yuv422"),
    "uyvy": lambda grey, head: padded(channels(GREY, grey), head, "uyvy"),
    "yuv422_yuy2": lambda grey, head: padded(channels(grey, GREY), head, "yuv422_yuy2"),
    "nv12": lambda grey, head: padded(np.concatenate([grey, np.full_like(grey[::2], GREY)]), head, "nv12"),
}
DEPTHS: list[Callable[[NDArray[np.float64], Header], Image]] = [
    lambda metres, head: padded((1e3 * metres).round().astype("<u2").view(np.uint8), head, "16UC1"),
    lambda metres, head: padded((1e3 * metres).round().astype(">u2").view(np.uint8), head, "16UC1", True),
    lambda metres, head: padded(metres.astype("<f4").view(np.uint8), head, "32FC1"),
    lambda metres, head: padded(metres.astype(">f4").view(np.uint8), head, "32FC1", True),
    lambda metres, head: depth_message(metres.astype(np.float32), head),
]
PLAIN = CameraInfo(
    width=CAMERA.width, height=CAMERA.height, k=CAMERA.matrix.ravel(), distortion_model="plumb_bob", r=np.eye(3).ravel()
)


def info(head: Header, base: CameraInfo = PLAIN) -> CameraInfo:
    return CameraInfo(
        header=head, width=base.width, height=base.height, distortion_model=base.distortion_model, d=base.d, k=base.k,
        r=base.r, p=base.p,
    )  # fmt: skip


def test_every_encoding_padded_and_in_both_byte_orders(context: Context) -> None:
    """One drive whose frames come in another form each. Only K is given, and nobody tells where the camera is."""
    publisher = Publisher(context, {"image_rect": Image, "camera_info": CameraInfo, "depth/image_rect": Image})
    settings = {"mode": "rgbd", "extrinsics_timeout_s": 0.1, **LOSSLESS}
    try:
        with NodeProcess(FAST | settings):
            publisher.wait_for_node()
            for index, (name, make) in enumerate(FORMS.items()):
                head, place = header(index), index % 8
                image = make(frame(place).image, head)
                depth = DEPTHS[index % len(DEPTHS)](plane_depth(place), head)
                status = publisher.send(image, info(head), depth)
                expected = (
                    (OdometryStatus.INITIALISING, OdometryStatus.TRACKING)[min(index, 1)],
                    index + 1,
                    0,
                )
                found = (status.state, status.frames_processed, status.frames_dropped)
                assert found == expected, f"{name}: {status.reason}"
                if index == 0:
                    assert "/tf_static has no transform from base_link to nowhere_optical" in status.reason
            odd = publisher.send(
                image_message(np.zeros((2, 2), np.uint8), header(20)),
                info(header(20)),
                depth_message(np.ones((2, 2), np.float32), header(20)),
            )
            assert odd.frames_dropped == 1 and "320x240 as its calibration says" in odd.reason
            wrong = publisher.send(
                padded(frame(0).image, header(21), "mono8"),
                info(header(21)),
                padded(frame(0).image, header(21), "mono8"),
            )
            assert (
                wrong.frames_dropped == 2 and "the depth image cannot be used: depth encoding must be" in wrong.reason
            )
    finally:
        publisher.listener.close()


def encoded(ending: str, pixels: NDArray[np.uint8], head: Header) -> CompressedImage:
    data = byte_array(cv2.imencode(ending, pixels)[1])
    return CompressedImage(header=head, format=ending[1:], data=data)


def test_compressed_images_and_those_that_claim_too_much(context: Context) -> None:
    publisher = Publisher(context, {"image_rect/compressed": CompressedImage, "camera_info": CameraInfo})
    settings = {"mode": "mono", "image_transport": "compressed", "camera_in_base": "0 0 0 0 0 0", **LOSSLESS}
    try:
        with NodeProcess(FAST | settings):
            publisher.wait_for_node()
            for index, ending in enumerate((".png", ".jpg")):
                status = publisher.send(encoded(ending, frame(index).image, header(index)), info(header(index)))
                assert status.state == (OdometryStatus.INITIALISING, OdometryStatus.TRACKING)[index], status.reason
            huge = encoded(".png", frame(2).image, header(2))
            huge.data[16:24] = byte_array(np.frombuffer((60_000).to_bytes(4, "big") * 2, np.uint8))
            half = encoded(".jpg", frame(2).image, header(3))
            half.data = half.data[: len(half.data) // 2]
            for number, (message, cause) in enumerate([(huge, ""), (half, "JPEG image is cut off")], start=2):
                status = publisher.send(message, info(header(number)))
                assert "the image cannot be used" in status.reason and cause in status.reason
                assert status.frames_dropped == number - 1
            again = publisher.send(encoded(".jpg", frame(4).image, header(4)), info(header(4)))
            assert again.state == OdometryStatus.TRACKING, again.reason
    finally:
        publisher.listener.close()


LENS = Lens(
    (255.0, 0.0, 163.0, 0.0, 256.0, 117.0, 0.0, 0.0, 1.0),
    "plumb_bob",
    (-0.2, 0.05, 0.0005, -0.0004, 0.0),
    tuple(rotation_from_vector(np.array([0.01, -0.012, 0.015])).ravel()),
)
FISHEYE = Lens(
    (251.0, 0.0, 157.0, 0.0, 252.0, 121.0, 0.0, 0.0, 1.0),
    "equidistant",
    (-0.02, 0.008, -0.004, 0.0005),
    tuple(rotation_from_vector(np.array([-0.008, 0.015, -0.01])).ravel()),
)


def unrectified(view: NDArray[np.uint8], lens: Lens) -> NDArray[np.uint8]:
    """What the lens sees of what an ideal camera sees."""
    places = _ideal_pixels(lens)
    return np.asarray(cv2.remap(view, places[:, :, 0], places[:, :, 1], cv2.INTER_CUBIC), dtype=np.uint8)


@cache
def _ideal_pixels(lens: Lens) -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = rays_of(lens, np.stack([x.ravel(), y.ravel()], axis=1))
    return CAMERA.project(homogeneous(rays)).astype(np.float32).reshape(*x.shape, 2)


def lens_info(head: Header, lens: Lens, baseline_m: float) -> CameraInfo:
    projection = np.hstack([CAMERA.matrix, [[-CAMERA.fx * baseline_m], [0.0], [0.0]]])
    return CameraInfo(
        header=head,
        width=CAMERA.width,
        height=CAMERA.height,
        distortion_model=lens.model,
        d=list(lens.distortion),
        k=lens.intrinsics,
        r=lens.rotation,
        p=projection.ravel(),
    )


T_BASE_MAST = se3(rotation_from_vector(np.array([0.0, 0.0, 0.6])), np.array([0.2, -0.1, 0.8]))
T_MAST_CAMERA: Array = se3(rotation_from_vector(np.array([0.1, 0.2, 0.0])), np.array([0.05, 0.0, 0.1])) @ T_BODY_OPTICAL


def test_unrectified_pair_with_loose_stamps_on_a_mast(context: Context) -> None:
    """Different lenses turned against each other, 3 ms apart, colour and YUV, and extrinsics in two steps on /tf_static."""
    topics = {name: Image if "image" in name else CameraInfo for name in input_topics("stereo", rectify=True)}
    assert set(topics) == {"left/image_raw", "left/camera_info", "right/image_raw", "right/camera_info"}
    publisher = Publisher(context, topics)
    static = StaticTransformBroadcaster(publisher.listener.node)
    static.sendTransform(
        [
            transform_message(T_BASE_MAST, Header(frame_id="base_link"), "mast"),
            transform_message(T_MAST_CAMERA, Header(frame_id="mast"), "left_optical"),
        ]
    )
    settings = {"mode": "stereo", "rectify": True, "sync_slop_s": 0.01, **LOSSLESS}
    settings["qos_overrides./left/image_raw.subscription.reliability"] = "best_effort"
    odometry = Listener(context, {"odom": Odometry})
    try:
        with NodeProcess(FAST | settings):
            publisher.wait_for_node()
            infos = odometry.node.get_subscriptions_info_by_topic("/left/image_raw")
            assert [each.qos_profile.reliability for each in infos] == [ReliabilityPolicy.BEST_EFFORT]
            infos = odometry.node.get_subscriptions_info_by_topic("/right/image_raw")
            assert [each.qos_profile.reliability for each in infos] == [ReliabilityPolicy.RELIABLE]
            for index in range(4):
                seen = frame(index)
                assert seen.right_image is not None
                left, right = header(index, "left_optical"), header(index, "right_optical", shift_ns=3_000_000)
                left_view, right_view = unrectified(seen.image, LENS), unrectified(seen.right_image, FISHEYE)
                status = publisher.send(
                    padded(channels(left_view, left_view, left_view), left, "bgr8"),
                    lens_info(left, LENS, 0.0),
                    padded(channels(GREY, right_view), right, "yuv422"),
                    lens_info(right, FISHEYE, 0.2),
                )
                assert status.sync_difference == pytest.approx(0.003)
            assert status.state == OdometryStatus.TRACKING and status.reason == ""
            odometry.wait(lambda: len(odometry.received["odom"]) == 4, "the odometry of every frame")
        forward = (T_BASE_MAST @ T_MAST_CAMERA)[:3, 2] * 3 * STEP_M
        np.testing.assert_allclose(position(odometry.received["odom"][-1]), forward, atol=0.015)
    finally:
        odometry.close()
        publisher.listener.close()


class Within:
    """Inputs of a node in this process, with publishers of another."""

    def __init__(self, context: Context, mode: str, **settings: Any) -> None:
        self.node = Node("taker", context=context, use_global_arguments=False)
        self.giver = Node("giver", context=context, use_global_arguments=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.sets: list[ImageSet] = []
        self.inputs = Inputs(self.node, mode, NodeConfig(**settings), self.sets.append)

    def publisher(self, topic: str, kind: type, reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE) -> Any:
        made: Any = self.giver.create_publisher(kind, topic, QoSProfile(depth=10, reliability=reliability))
        if reliability is ReliabilityPolicy.RELIABLE:
            self.until(lambda: made.get_subscription_count() > 0)
        return made

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline_s, self.inputs.missing()
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.inputs.close()
        self._executor.shutdown()
        self.node.destroy_node()
        self.giver.destroy_node()


@pytest.fixture
def within(context: Context, request: pytest.FixtureRequest) -> Iterator[Within]:
    made = Within(context, **request.param)
    yield made
    made.close()


@pytest.mark.parametrize("within", [{"mode": "mono"}], indirect=True)
def test_causes_of_missing_sets_are_named(within: Within) -> None:
    assert within.inputs.missing() == "nothing received on /image_rect, /camera_info"
    images, infos = within.publisher("image_rect", Image), within.publisher("camera_info", CameraInfo)
    images.publish(Image(header=header(0)))
    within.until(lambda: within.inputs.missing() == "nothing received on /camera_info")
    infos.publish(CameraInfo(header=header(0, shift_ns=-25_000_000)))
    within.until(lambda: "differ by 0.0250 s, and sync_slop_s is 0 s" in within.inputs.missing())
    bad = Header()
    bad.stamp.sec = -5
    images.publish(Image(header=bad))
    within.until(lambda: within.inputs.missing() == "/image_rect: the stamp -5 s 0 ns is no time")
    images.publish(Image(header=header(1)))
    infos.publish(CameraInfo(header=header(1)))
    within.until(lambda: len(within.sets) == 1)
    assert within.sets[0].sync_difference_s == 0.0
    assert within.inputs.missing() == "nothing received on /image_rect, /camera_info since the last set"
    infos.publish(CameraInfo(header=header(2)))
    within.until(lambda: within.inputs.missing() == "nothing received on /image_rect since the last set")


@pytest.mark.parametrize("within", [{"mode": "mono", "reliable": True}], indirect=True)
def test_qos_that_does_not_fit_is_named(within: Within) -> None:
    within.publisher("image_rect", Image, ReliabilityPolicy.BEST_EFFORT)
    within.until(lambda: within.inputs.missing() == "/image_rect: a publisher's QoS does not fit, see qos_overrides")


@pytest.mark.parametrize("within", [{"mode": "stereo", "sync_slop_s": 0.005}], indirect=True)
def test_the_difference_of_stamps_is_measured(within: Within) -> None:
    kinds = [Image if "image" in topic else CameraInfo for topic in input_topics("stereo")]
    publishers = [within.publisher(topic, kind) for topic, kind in zip(input_topics("stereo"), kinds, strict=True)]
    for shift_ns, publisher, kind in zip((0, 0, 4_000_000, 4_000_000), publishers, kinds, strict=True):
        publisher.publish(kind(header=header(0, shift_ns=shift_ns)))
    within.until(lambda: len(within.sets) == 1)
    assert within.sets[0].sync_difference_s == pytest.approx(0.004)
    assert not within.sets[0].rectify


def test_topics_follow_mode_and_rectification() -> None:
    assert input_topics("rgbd") == ("image_rect", "camera_info", "depth/image_rect")
    assert input_topics("rgbd", rectify=True) == ("image_raw", "camera_info", "depth/image_raw")
