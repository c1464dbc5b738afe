"""Messages and parameters from an attacker: converted, or refused with the package's own error."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from subpx_ros.config import Config, NodeConfig
from subpx_ros.datasets.image_decoding import ENCODINGS
from subpx_ros.datasets.odometry_messages import sample_from_odometry
from subpx_ros.errors import SubpxError
from subpx_ros.frames import base_from_optical
from subpx_ros.ros.messages import ImageSet, frame_from_messages
from subpx_ros.ros.parameters import check, resolve
from subpx_ros.scale import OtherOdometry
from subpx_ros.settings import walk

SIZES = st.sampled_from([8, 8, 8, 6, 0, 1, 2**31, 2**32 - 1]) | st.integers(0, 40)
PNG = cv2.imencode(".png", np.zeros((6, 8), np.uint8))[1].tobytes()
P = [50.0, 0.0, 3.5, 0.0, 0.0, 50.0, 2.5, 0.0, 0.0, 0.0, 1.0, 0.0]


def _bytes(data: bytes) -> Any:
    return array.array("B", data)


RAW = st.builds(
    Image,
    height=SIZES,
    width=SIZES,
    encoding=st.sampled_from(["mono8", "mono8", *ENCODINGS, "32FC1", ""]),
    is_bigendian=st.integers(0, 255),
    step=SIZES,
    data=st.binary(max_size=300).map(_bytes) | st.just(_bytes(bytes(range(200)))),
)
COMPRESSED = st.builds(CompressedImage, format=st.text(max_size=9), data=damaged(st.just(PNG)).map(_bytes))
INFOS = st.builds(
    CameraInfo,
    height=st.just(6) | SIZES,
    width=st.just(8) | SIZES,
    d=st.lists(st.floats(), max_size=6),
    p=st.just(P) | st.lists(st.floats(), min_size=12, max_size=12),
)


@fuzz(200)
@given(RAW | COMPRESSED, INFOS, RAW | COMPRESSED | st.none(), INFOS, RAW | COMPRESSED | st.none(), st.booleans())
def test_any_set_of_messages_is_a_frame_or_refused(
    image: Any, info: CameraInfo, right: Any, right_info: CameraInfo, depth: Any, rectify: bool
) -> None:
    images = ImageSet(image, info, right, right_info if right else None, depth, rectify)
    try:
        frame = frame_from_messages(images)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert frame.image.shape == (frame.rig.left.height, frame.rig.left.width)


NAMES = [name for settings in (Config(), NodeConfig()) for name, _, _ in walk(settings)]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["mono", "stereo", "rgbd", "cpu", "sift", "xfeat", "raw", "0 0 0 0 0 0"]),
    st.lists(st.integers(-9, 9), max_size=3),
    st.binary(max_size=4),
)


@fuzz(200)
@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=9), VALUES, max_size=4))
def test_any_parameters_are_settings_or_refused(parameters: dict[str, Any]) -> None:
    given_ones = {"device": "cpu", "preset": "sift"} | parameters
    try:
        check(given_ones)
    except SubpxError as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert resolve(given_ones).config.preset


NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 1.0])


def _odometry(numbers: list[float], covariance: list[float], seconds: int, nanoseconds: int) -> Odometry:
    message = Odometry()
    message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
    position, turn, linear = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist.linear
    position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w, linear.x, linear.y, linear.z = numbers
    message.twist.covariance[:2] = covariance
    return message


@fuzz(200)
@given(
    st.lists(
        st.builds(
            _odometry,
            st.lists(NUMBERS, min_size=10, max_size=10)
            | st.lists(NUMBERS, min_size=4, max_size=4).map(lambda some: [*some[:3], 0.0, 0.0, 0.0, 1.0, *some[1:]]),
            st.lists(NUMBERS, min_size=2, max_size=2),
            st.integers(0, 3),
            st.integers(0, 2**32 - 1),
        ),
        max_size=6,
    )
)
def test_any_wheel_odometry_gives_a_finite_way_or_none(messages: list[Odometry]) -> None:
    other = OtherOdometry()
    for message in messages:
        try:
            other.add(sample_from_odometry(message))
        except SubpxError as error:
            assert 0 < len(str(error)) < 300
    travel = other.travel(10**9, 2 * 10**9)
    assert bool(travel.reason) != (travel.displacement is not None)
    assert travel.reason or np.isfinite(travel.metres)


@fuzz()
@given(st.text(max_size=40) | st.lists(st.floats().map(str) | st.just("x"), max_size=7).map(" ".join))
def test_any_place_of_the_camera(text: str) -> None:
    try:
        assert np.all(np.isfinite(base_from_optical(text)))
    except SubpxError as error:
        assert str(error)
