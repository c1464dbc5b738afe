"""Pixels of every supported encoding against values computed by hand, and everything that must be refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from subpx_ros.datasets.image_decoding import ENCODINGS, decode_grey, decode_image
from subpx_ros.datasets.image_files import MAX_PIXELS, png_size, read_grey
from subpx_ros.errors import DataError

Image = NDArray[np.uint8]

HEIGHT, WIDTH = 6, 8
GREY = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
LUMA = COLOUR.astype(float) @ [0.299, 0.587, 0.114]
ALPHA = np.full((HEIGHT, WIDTH, 1), 7, dtype=np.uint8)
CHROMA = np.full_like(GREY, 99)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_copied(encoding: str) -> None:
    data = bytearray(GREY.tobytes())
    image = decode_image(HEIGHT, WIDTH, encoding, 0, WIDTH, data)
    data[0] ^= 0xFF
    np.testing.assert_array_equal(image, GREY)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_16_bit_is_scaled_by_255_over_65535(encoding: str, big_endian: bool) -> None:
    values = np.array([[0, 128, 129, 32768], [257, 65535, 65406, 65407]])
    wide = values.astype(">u2" if big_endian else "<u2")
    image = decode_image(2, 4, encoding, big_endian, 8, wide.tobytes())
    np.testing.assert_array_equal(image, np.rint(values * 255 / 65535))


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", COLOUR),
        ("bgr8", COLOUR[:, :, ::-1]),
        ("rgba8", np.concatenate([COLOUR, ALPHA], axis=2)),
        ("bgra8", np.concatenate([COLOUR[:, :, ::-1], ALPHA], axis=2)),
    ],
)
def test_colour_is_weighted_as_bt601(encoding: str, pixels: Image) -> None:
    image = decode_image(HEIGHT, WIDTH, encoding, 0, pixels.shape[2] * WIDTH, np.ascontiguousarray(pixels).tobytes())
    np.testing.assert_allclose(image, LUMA, atol=1.0)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["rgb16", "bgra16", "bayer_grbg16"])
def test_16_bit_colour_is_the_8_bit_one_with_finer_steps(encoding: str, big_endian: bool) -> None:
    narrow = encoding.replace("16", "8")
    channels = ENCODINGS[narrow].channels
    pixels = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH * channels), dtype=np.uint8)
    wide = (pixels.astype(np.uint16) * 257).astype(">u2" if big_endian else "<u2")
    expected = decode_image(HEIGHT, WIDTH, narrow, 0, WIDTH * channels, pixels.tobytes())
    image = decode_image(HEIGHT, WIDTH, encoding, big_endian, 2 * WIDTH * channels, wide.tobytes())
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_start_at_the_corner(pattern: str) -> None:
    colour = {"r": 200, "g": 100, "b": 30}
    tile = np.array([colour[letter] for letter in pattern], dtype=np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (HEIGHT // 2, WIDTH // 2))
    image = decode_image(HEIGHT, WIDTH, f"bayer_{pattern}8", 0, WIDTH, mosaic.tobytes())
    np.testing.assert_allclose(image, 0.299 * 200 + 0.587 * 100 + 0.114 * 30, atol=1.0)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("yuv422", np.stack([CHROMA, GREY], axis=2)),
        ("uyvy", np.stack([CHROMA, GREY], axis=2)),
        ("yuv422_yuy2", np.stack([GREY, CHROMA], axis=2)),
        ("yuyv", np.stack([GREY, CHROMA], axis=2)),
        ("nv12", np.concatenate([GREY, CHROMA[: HEIGHT // 2]])),
        ("nv21", np.concatenate([GREY, CHROMA[: HEIGHT // 2]])),
        ("nv24", np.concatenate([GREY, CHROMA, CHROMA])),
    ],
)
def test_yuv_gives_its_luminance(encoding: str, pixels: Image) -> None:
    step = pixels[0].size
    np.testing.assert_array_equal(decode_image(HEIGHT, WIDTH, encoding, 0, step, pixels.tobytes()), GREY)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padded_rows_change_nothing(encoding: str) -> None:
    layout = ENCODINGS[encoding]
    rows, row_bytes = HEIGHT * layout.rows_numerator // 2, WIDTH * layout.bytes_per_pixel
    pixels = np.random.default_rng(2).integers(0, 256, (rows, row_bytes), dtype=np.uint8)
    padded = np.pad(pixels, ((0, 0), (0, 5)), constant_values=255)
    plain = decode_image(HEIGHT, WIDTH, encoding, 0, row_bytes, pixels.tobytes())
    np.testing.assert_array_equal(decode_image(HEIGHT, WIDTH, encoding, 0, row_bytes + 5, padded.tobytes()), plain)


@pytest.mark.parametrize(
    ("height", "width", "encoding", "step", "size", "message"),
    [
        (6, 8, "rgb32", 48, 288, "image encoding must be one of mono8, .*; got 'rgb32'"),
        (0, 8, "mono8", 8, 0, "got 8x0"),
        (6, 0, "mono8", 0, 0, "got 0x6"),
        (-6, 8, "mono8", 8, 48, "got 8x-6"),
        (2**31, 2**31, "mono8", 2**31, 10, "64 Mpx is required; got 2147483648x2147483648"),
        (6, 8, "mono8", 8, 47, "8x6 with step 8 needs 48 bytes; got 47"),
        (6, 8, "mono8", 7, 48, "needs a step of at least 8 bytes; got 7"),
        (6, 8, "rgb8", 8, 48, "needs a step of at least 24 bytes; got 8"),
        (6, 8, "mono16", 2**40, 48, "needs 6597069766656 bytes; got 48"),
        (6, 7, "yuyv", 14, 84, "sizes must be even; got 7x6"),
        (5, 8, "nv12", 8, 60, "sizes must be even; got 8x5"),
        (6, 8, "nv12", 8, 48, "needs 72 bytes; got 48"),
    ],
)
def test_images_that_do_not_fit_their_description(
    height: int, width: int, encoding: str, step: int, size: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        decode_image(height, width, encoding, 0, step, bytes(size))


@fuzz()
@given(
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.sampled_from([*ENCODINGS, "", "32FC1"]),
    st.booleans(),
    st.integers(-2, 200),
    st.binary(max_size=2000),
)
def test_any_fields_are_decoded_or_refused(
    height: int, width: int, encoding: str, big_endian: bool, step: int, data: bytes
) -> None:
    try:
        image = decode_image(height, width, encoding, big_endian, step, data)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert image.shape == (height, width) and image.dtype == np.uint8


def _encoded(ending: str, image: Image) -> bytes:
    done, data = cv2.imencode(ending, image)
    assert done
    return data.tobytes()


def test_compressed_images() -> None:
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    np.testing.assert_array_equal(decode_grey(_encoded(".png", smooth)), smooth)
    assert np.abs(decode_grey(_encoded(".jpg", smooth)).astype(int) - smooth).max() < 8
    assert np.abs(decode_grey(_encoded(".jpg", np.dstack([smooth] * 3))).astype(int) - smooth).max() < 8


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_compressed_image_cut_anywhere_is_refused(ending: str) -> None:
    data = _encoded(ending, np.random.default_rng(3).integers(0, 256, (48, 64), dtype=np.uint8))
    for length in [*range(64), *range(64, len(data), 97), len(data) - 1]:
        with pytest.raises(DataError):
            decode_grey(data[:length])


@given(st.data())
def test_damaged_png_is_refused_or_the_same(draw: st.DataObject) -> None:
    data = bytearray(_encoded(".png", GREY))
    position = draw.draw(st.integers(0, len(data) - 1))
    data[position] ^= draw.draw(st.integers(1, 255))
    try:
        np.testing.assert_array_equal(decode_grey(bytes(data)), GREY)
    except DataError:
        pass


@fuzz()
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\x00"]))
def test_any_bytes_are_decoded_or_refused(data: bytes, magic: bytes) -> None:
    try:
        assert decode_grey(magic + data).ndim == 2
    except DataError as error:
        assert "\n" not in str(error)


def test_png_that_claims_a_huge_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    data = bytearray(_encoded(".png", GREY))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    path = tmp_path / "huge.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"to {MAX_PIXELS >> 20} Mpx is required; got 100000x100000"):
        png_size(path)
    with pytest.raises(DataError):
        read_grey(path)


@pytest.mark.parametrize("ending", [".bmp", ".pgm", ".tiff", ".webp"])
def test_other_formats_are_read_after_their_size_was_checked(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = cv2.imencode(ending, GREY, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert np.abs(decode_grey(data).astype(int) - GREY).max() <= (4 if ending == ".webp" else 0)
    monkeypatch.setattr("subpx_ros.datasets.image_files.MAX_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded before its size was checked"))
    with pytest.raises(DataError, match="got 8x6"):
        decode_grey(data)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_oversize_images_are_refused_by_their_header(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _encoded(ending, GREY)
    monkeypatch.setattr("subpx_ros.datasets.image_files.MAX_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded before its size was checked"))
    with pytest.raises(DataError, match="got 8x6"):
        decode_grey(data)


def test_a_bitmap_that_claims_a_huge_size_is_refused() -> None:
    data = bytearray(_encoded(".bmp", GREY))
    data[18:26] = (100_000).to_bytes(4, "little") * 2
    with pytest.raises(DataError, match="Mpx is required"):
        decode_grey(bytes(data))


def test_image_files(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    path.write_bytes(_encoded(".png", GREY))
    assert png_size(path) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_grey(path), GREY)
    for read in (png_size, read_grey):
        with pytest.raises(DataError, match="cannot read the image .*none.png: No such file"):
            read(tmp_path / "none.png")
