"""Sensor messages to arrays and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from scene import RIG, frame
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from subpx_ros.errors import DataError
from subpx_ros.ros.messages import (
    ImageSet,
    byte_array,
    camera_info_messages,
    float_array,
    frame_from_messages,
    grey_image,
    image_message,
    stamp_from_ns,
    stamp_to_ns,
)

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


@given(st.integers(0, (2**31 - 1) * 10**9 + 999_999_999))
def test_stamps_are_exact(stamp_ns: int) -> None:
    assert stamp_to_ns(stamp_from_ns(stamp_ns)) == stamp_ns


def test_stamp_fields() -> None:
    assert stamp_from_ns(1_700_000_000_123_456_789) == Time(sec=1_700_000_000, nanosec=123_456_789)
    with pytest.raises(DataError, match="2\\^31"):
        stamp_from_ns(2**31 * 10**9)


def test_grey_image_goes_through_unchanged() -> None:
    message = image_message(RAMP, Header(frame_id="camera"))
    assert (message.height, message.width, message.step, message.header.frame_id) == (3, 4, 4, "camera")
    np.testing.assert_array_equal(grey_image(message), RAMP)


def test_image_that_is_not_contiguous_is_written_row_by_row() -> None:
    wide = np.tile(RAMP, (1, 2))
    np.testing.assert_array_equal(grey_image(image_message(wide[:, 2:6], Header())), wide[:, 2:6])


def test_padding_of_rows_is_left_out() -> None:
    padded = np.full((3, 7), 255, dtype=np.uint8)
    padded[:, :4] = RAMP
    message = Image(height=3, width=4, step=7, encoding="mono8", data=byte_array(padded))
    np.testing.assert_array_equal(grey_image(message), RAMP)


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_of_16_bit(order: str) -> None:
    wide = (RAMP.astype(np.uint32) * 257).astype(f"{order}u2")
    data = byte_array(np.frombuffer(wide.tobytes(), np.uint8))
    message = Image(height=3, width=4, step=8, encoding="mono16", is_bigendian=int(order == ">"), data=data)
    np.testing.assert_allclose(grey_image(message).astype(int), RAMP, atol=1)


def test_compressed_image() -> None:
    data = byte_array(cv2.imencode(".png", RAMP)[1].ravel())
    np.testing.assert_array_equal(grey_image(CompressedImage(format="mono8; png compressed", data=data)), RAMP)


@pytest.mark.parametrize(
    "message",
    [
        Image(height=3, width=4, step=4, encoding="mono8", data=[0] * 11),
        Image(height=3, width=4, step=3, encoding="mono8", data=[0] * 12),
        Image(height=0, width=0, step=0, encoding="mono8"),
        Image(height=2**31, width=2**31, step=2**31, encoding="mono8"),
        Image(height=3, width=4, step=4, encoding="no such", data=[0] * 12),
        CompressedImage(format="jpeg", data=[0xFF, 0xD8, 0xFF, 0xE0]),
        CompressedImage(format="jpeg"),
    ],
    ids=["short", "step", "empty", "huge", "encoding", "cut off", "no data"],
)
def test_what_is_no_image_is_refused_by_name(message: Image | CompressedImage) -> None:
    with pytest.raises(DataError, match="the right image cannot be used"):
        grey_image(message, "right image")


def test_a_set_of_messages_becomes_the_frame_it_was_made_of() -> None:
    sent = frame(3)
    assert sent.right_image is not None
    header = Header(stamp=stamp_from_ns(sent.stamp_ns), frame_id="left")
    left, right = camera_info_messages(RIG, header, header)
    received = frame_from_messages(
        ImageSet(image_message(sent.image, header), left, image_message(sent.right_image, header), right)
    )
    assert (received.stamp_ns, received.rig) == (sent.stamp_ns, sent.rig)
    np.testing.assert_array_equal(received.image, sent.image)
    np.testing.assert_array_equal(received.right_image, sent.right_image)


def test_an_image_of_another_size_than_its_calibration_is_refused() -> None:
    left, _ = camera_info_messages(RIG, Header(), Header())
    with pytest.raises(DataError, match="320x240"):
        frame_from_messages(ImageSet(image_message(RAMP, Header()), left))


def test_numbers_for_float_and_byte_fields() -> None:
    assert float_array(np.array([[1.5, -2.0], [0.25, 8.0]])).tolist() == [1.5, -2.0, 0.25, 8.0]
    assert byte_array(np.array([True, False])).tolist() == [1, 0]
