"""Files from an attacker: every parser reads them or raises the package's own error, soon, and runs nothing in them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from fuzzing import damaged, fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save

from subpx_ros.datasets.bag_writer import write_bag
from subpx_ros.datasets.camera_info import cameras_from_infos
from subpx_ros.datasets.colmap import read_model
from subpx_ros.datasets.depth_decoding import decode_compressed_depth, decode_depth
from subpx_ros.datasets.image_decoding import decode_grey
from subpx_ros.datasets.kitti import KittiSequence
from subpx_ros.datasets.rosbag import BagSequence
from subpx_ros.datasets.scene_info import read_scene_arrays
from subpx_ros.errors import SubpxError
from subpx_ros.two_view import parse_cameras
from subpx_ros.weights import load_tensors

PACKAGE = Path(__file__).resolve().parents[1] / "subpx_ros"
GREY = np.random.default_rng(2).integers(0, 256, (12, 16), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)


@pytest.fixture(scope="module")
def scratch() -> Path:  # type: ignore[misc]
    with TemporaryDirectory() as folder:
        yield Path(folder)


# Images -------------------------------------------------------------------------------------------------------------


def encoded(ending: str, image: NDArray[np.integer] = SMOOTH) -> bytes:
    return cv2.imencode(ending, image)[1].tobytes()


IMAGES = [encoded(ending) for ending in (".png", ".jpg", ".bmp", ".tiff", ".webp", ".pgm")]


@fuzz()
@given(damaged(st.sampled_from(IMAGES)))
def test_damaged_images(data: bytes) -> None:
    try:
        image = decode_grey(data)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert image.ndim == 2 and image.dtype == np.uint8


DEPTHS = [
    encoded(".png", SMOOTH.astype(np.uint16) * 100),
    b"\0" * 4 + np.array([1, 2], "<f4").tobytes() + encoded(".png"),
]


@fuzz()
@given(damaged(st.sampled_from(DEPTHS)), st.sampled_from(["16UC1; compressedDepth png", "32FC1; compressedDepth", ""]))
def test_damaged_depth_images(data: bytes, encoding: str) -> None:
    try:
        depth = decode_compressed_depth(encoding, data)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert np.all(np.isnan(depth) | (depth > 0)) and not np.any(np.isinf(depth))


SIZES = st.integers(-2, 40) | st.sampled_from([2**31, 2**32 - 1])


@fuzz()
@given(
    SIZES,
    SIZES,
    st.sampled_from(["16UC1", "32FC1", "mono16", "rgb8", ""]),
    st.booleans(),
    SIZES,
    st.binary(max_size=999),
)
def test_any_fields_are_a_depth_image_or_refused(
    height: int, width: int, encoding: str, big_endian: bool, step: int, data: bytes
) -> None:
    try:
        depth = decode_depth(height, width, encoding, big_endian, step, data)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert depth.shape == (height, width) and not np.any(np.isinf(depth))


# Calibration --------------------------------------------------------------------------------------------------------

NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 50.0, -50.0, 1e300, 5e-324])
K = [50.0, 0, 15.5, 0, 52.0, 11.5, 0, 0, 1]
P = [50.0, 0, 15.5, -25.0, 0, 52.0, 11.5, 0, 0, 0, 1, 0]


def changed(values: list[float]) -> st.SearchStrategy[list[float]]:
    """The list with some numbers replaced, or a list of any length."""
    places = st.dictionaries(st.integers(0, len(values) - 1), NUMBERS, max_size=3)
    replaced = places.map(lambda new: [new.get(index, value) for index, value in enumerate(values)])
    return replaced | st.lists(NUMBERS, max_size=13)


INFOS = st.builds(
    SimpleNamespace,
    height=st.just(24) | SIZES,
    width=st.just(32) | SIZES,
    distortion_model=st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "", "other"]),
    d=st.lists(NUMBERS, max_size=15),
    k=changed(K),
    r=changed([1.0, 0, 0, 0, 1, 0, 0, 0, 1]),
    p=changed(P),
    binning_x=st.integers(0, 2),
    binning_y=st.integers(0, 2),
    roi=st.builds(SimpleNamespace, width=st.sampled_from([0, 0, 32, 5]), height=st.sampled_from([0, 0, 24])),
)


@fuzz(200)
@given(st.lists(INFOS, min_size=1, max_size=2), st.booleans())
def test_any_camera_infos_make_a_rectified_frame_or_are_refused(infos: list[SimpleNamespace], rectify: bool) -> None:
    pixels = np.full((24, 32), 9, np.uint8)
    try:
        cameras = cameras_from_infos(infos, [(32, 24)] * len(infos), rectify)
        frame = cameras.frame(0, [pixels] * len(infos), None)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        left = frame.rig.left
        assert np.all(np.isfinite(left.matrix)) and left.fx > 0 and left.fy > 0
        assert frame.image.shape == (left.height, left.width)
        assert frame.rig.baseline_m is None or 0 < frame.rig.baseline_m < np.inf


@fuzz()
@given(st.text(max_size=40) | st.lists(NUMBERS.map(str) | st.just("x"), max_size=9).map(",".join))
def test_any_camera_on_the_command_line(text: str) -> None:
    try:
        cameras = parse_cameras(text, (GREY, GREY))
    except SubpxError as error:
        assert str(error)
    else:
        assert all(np.all(np.isfinite(camera.matrix)) for camera in cameras)


# Whole data sets ----------------------------------------------------------------------------------------------------

ROWS = [
    "1 PINHOLE 16 12 50 50 8 6",
    "1 SIMPLE_RADIAL 16 12 50 8 6 0.1",
    "1 1 0 0 0 0 0 0 1 a.png",
    "2 1 0 0 0 1 0 0 1 b.png",
]
WORDS = ["1", "-1", "nan", "1e999", "1e308", "#", "RADIAL", "a.png", "../a.png", "/etc/passwd", "\n", "\x00", "9" * 400]
TEXTS = st.lists(st.sampled_from(ROWS) | st.sampled_from(WORDS), max_size=14).map("\n".join) | st.lists(
    st.sampled_from([*WORDS, *ROWS, " "]), max_size=30
).map("".join)


@fuzz()
@example(ROWS[0], "1 1 0 0 0 0 0 0 1 a.png" + "9" * 400)
@given(TEXTS | st.just(ROWS[0]), TEXTS | st.just("\n".join(ROWS[2:])))
def test_any_colmap_model(scratch: Path, cameras: str, images: str) -> None:
    (scratch / "colmap" / "images").mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        (scratch / "colmap" / "images" / name).write_bytes(IMAGES[0])
    (scratch / "colmap" / "cameras.txt").write_text(cameras)
    (scratch / "colmap" / "images.txt").write_text(images)
    try:
        model = read_model(scratch / "colmap")
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert all(np.all(np.isfinite(image.T_world_camera)) for image in model)
        assert all(image.path.parent.name == "images" for image in model)


@fuzz()
@given(
    damaged(st.sampled_from(IMAGES[:1])), damaged(st.just(b"P0: 50 0 15.5 0 0 50 11.5 0 0 0 1 0\nP1: 50 0 15.5 -25"))
)
def test_any_kitti_folder(scratch: Path, image: bytes, calibration: bytes) -> None:
    folder = scratch / "kitti"
    (folder / "image_0").mkdir(parents=True, exist_ok=True)
    (folder / "image_0" / "000000.png").write_bytes(image)
    (folder / "calib.txt").write_bytes(calibration)
    try:
        assert KittiSequence(folder).frame(0).image.ndim == 2
    except SubpxError as error:
        assert "\n" not in str(error)


@cache
def recordings() -> dict[str, bytes]:
    """Storage files by their ending."""
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer

    contents = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kitti" / "image_0").mkdir(parents=True)
        for index in range(2):
            (folder / "kitti" / "image_0" / f"{index:06d}.png").write_bytes(encoded(".png", GREY))
        (folder / "kitti" / "calib.txt").write_text("P0: 50 0 7.5 0 0 50 5.5 0 0 0 1 0")
        write_bag(KittiSequence(folder / "kitti"), folder / "mcap")
        with (
            Reader(folder / "mcap") as reader,
            Writer(folder / "db3", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer,
        ):
            copies = {
                each.id: writer.add_connection(each.topic, each.msgtype, msgdef=each.msgdef.data, rihs01=each.digest)
                for each in reader.connections
            }
            for connection, log_time, raw in reader.messages():
                writer.write(copies[connection.id], log_time, raw)
        for ending in ("mcap", "db3"):
            (storage,) = (folder / ending).glob(f"*.{ending}")
            contents[ending] = storage.read_bytes()
    return contents


@pytest.mark.parametrize("ending", ["mcap", "db3"])
@fuzz(60)
@given(draw=st.data())
def test_damaged_bags(scratch: Path, ending: str, draw: st.DataObject) -> None:
    path = scratch / f"damaged.{ending}"
    path.write_bytes(draw.draw(damaged(st.just(recordings()[ending]))))
    try:
        sequence = BagSequence(path)
        for frame in sequence:
            assert frame.image.ndim == 2
        sequence.close()
    except SubpxError as error:
        assert "\n" not in str(error)


# Weights ------------------------------------------------------------------------------------------------------------


@cache
def checkpoints() -> dict[str, bytes]:
    tensors = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save({"model": tensors}, path)
        return {"pth": path.read_bytes(), "safetensors": save(tensors)}


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@fuzz()
@given(draw=st.data())
def test_damaged_weights(scratch: Path, ending: str, draw: st.DataObject) -> None:
    path = scratch / f"weights.{ending}"
    path.write_bytes(draw.draw(damaged(st.just(checkpoints()[ending])) | st.binary(max_size=99)))
    try:
        tensors = load_tensors(path)
    except SubpxError as error:
        assert "\n" not in str(error)
    else:
        assert all(torch.is_tensor(tensor) for tensor in tensors.values())


@cache
def scene() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scene.npz"
        objects = np.array(["a.png", None, (1, 2)], dtype=object)
        np.savez(path, depth=np.eye(3), names=objects)
        return path.read_bytes()


@fuzz()
@given(damaged(st.builds(scene)))
def test_damaged_scene_archives(scratch: Path, data: bytes) -> None:
    path = scratch / "scene.npz"
    path.write_bytes(data)
    try:
        assert isinstance(read_scene_arrays(path), dict)
    except SubpxError as error:
        assert "\n" not in str(error)


# Nothing is unpickled -----------------------------------------------------------------------------------------------

REFUSED = {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "pickle.load", "pickle.loads", "eval", "exec"}
REQUIRED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def refused_calls(path: Path) -> list[str]:
    """Calls in a source file that would run what a data file says."""
    found = []
    for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {(each.arg, each.value.value) for each in call.keywords if isinstance(each.value, ast.Constant)}
        if name in REFUSED or (name in REQUIRED and REQUIRED[name] not in given):
            found.append(f"{path.name} line {call.lineno}: {ast.unparse(call)}")
    return found


def test_nothing_is_unpickled_or_executed() -> None:
    sources = sorted(PACKAGE.rglob("*.py"))
    assert any("torch.load" in path.read_text(encoding="utf-8") for path in sources)
    assert [call for path in sources for call in refused_calls(path)] == []


@pytest.mark.parametrize("code", ["torch.load(p)", "np.load(p, allow_pickle=True)", "yaml.load(t)", "eval(t)"])
def test_the_check_sees_what_it_is_for(code: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(code)
    assert len(refused_calls(tmp_path / "module.py")) == 1
