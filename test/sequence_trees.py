"""Small recordings in the layouts of KITTI raw, EuRoC and TUM RGB-D, with poses chosen by the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from subpx_ros.datatypes import Array
from subpx_ros.frames import quaternion_from_rotation
from subpx_ros.geometry import rotation_from_vector, se3
from subpx_ros.undistortion import Lens

Image = NDArray[np.uint8]
Images = Callable[[int, int], NDArray[np.integer]]
"""Of a frame and a camera (for TUM, camera 1 is the depth)."""
SIZE = (32, 24)
STRAIGHT = tuple(np.eye(3).ravel())
BODY_FROM_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
T_VELO_IMU = se3(rotation_from_vector(np.array([0.01, -0.02, 0.03])), np.array([-0.8, 0.3, -0.8]))
T_CAM_VELO = se3(BODY_FROM_CAMERA.T @ rotation_from_vector(np.array([0.0, 0.01, -0.01])), np.array([0.0, -0.1, -0.3]))
R_RECT = rotation_from_vector(np.array([0.005, -0.004, 0.003]))
EARTH_RADIUS_M, LATITUDE_DEG = 6378137.0, 49.0
FIRST_STAMP_NS = 1_403_636_579_763_555_584
LENSES = (
    Lens((226.0, 0.0, 161.0, 0.0, 227.0, 77.0, 0.0, 0.0, 1.0), "plumb_bob", (-0.28, 0.09, 0.0008, -0.0005), STRAIGHT),
    Lens((231.0, 0.0, 158.0, 0.0, 230.0, 80.0, 0.0, 0.0, 1.0), "plumb_bob", (-0.25, 0.07, -0.0004, 0.0006), STRAIGHT),
)
SMALL_LENSES = tuple(
    dataclasses.replace(lens, intrinsics=(focal, 0.0, 15.5, 0.0, focal, 11.5, 0.0, 0.0, 1.0))
    for lens, focal in zip(LENSES, (50.0, 51.0), strict=True)
)
"""Of images of SIZE."""


def noise(index: int, camera: int) -> Image:
    return np.random.default_rng([index, camera]).integers(0, 256, SIZE[::-1], dtype=np.uint8)


def write_png(path: Path, image: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def numbers(matrix: NDArray[np.floating] | Sequence[float]) -> str:
    return " ".join(f"{value:.17g}" for value in np.ravel(matrix))


def kitti_raw(
    day: Path,
    T_world_imu: Sequence[Array],
    images: Images = noise,
    cameras: Sequence[str] = ("00", "01"),
    K: Sequence[float] = (50, 0, 15.5, 0, 50, 11.5, 0, 0, 1),
    baseline_m: float = 0.5,
    stamps: Sequence[str] | None = None,
) -> Path:
    """A day with one drive, whose folder it returns; poses of the inertial unit in axes east, north, up."""
    drive = day / f"{day.name}_drive_0001_sync"
    count = len(T_world_imu)
    times = stamps or [
        f"{day.name.replace('_', '-')} 13:02:{25 + index // 10}.{index % 10}64389445" for index in range(count)
    ]
    for place, camera in enumerate(cameras):
        for index in range(count):
            write_png(drive / f"image_{camera}" / "data" / f"{index:010d}.png", images(index, place))
        (drive / f"image_{camera}" / "timestamps.txt").write_text("\n".join(times) + "\n")
    calibration = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.950000e-02", f"R_rect_00: {numbers(R_RECT)}"]
    for camera, shift in (("00", 0.0), ("01", -baseline_m), ("02", 0.06), ("03", 0.06 - baseline_m)):
        P = np.column_stack([np.reshape(K, (3, 3)), [K[0] * shift, 0.0, 0.0]])
        calibration += [f"S_rect_{camera}: 3.2e+01 2.4e+01", f"P_rect_{camera}: {numbers(P)}"]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(calibration) + "\n")
    for name, T in (("calib_imu_to_velo.txt", T_VELO_IMU), ("calib_velo_to_cam.txt", T_CAM_VELO)):
        text = f"calib_time: 25-May-2012 16:47:16\nR: {numbers(T[:3, :3])}\nT: {numbers(T[:3, 3])}\ndelta_f: 0 0\n"
        (day / name).write_text(text)
    (drive / "oxts" / "data").mkdir(parents=True)
    for index, T in enumerate(T_world_imu):
        (drive / "oxts" / "data" / f"{index:010d}.txt").write_text(oxts_row(T) + "\n")
    return drive


def oxts_row(T_world_imu: Array) -> str:
    """30 numbers; the world's origin is at LATITUDE_DEG north and 8 deg east."""
    scale = np.cos(np.radians(LATITUDE_DEG)) * EARTH_RADIUS_M
    east, north, altitude = T_world_imu[:3, 3]
    mercator = np.log(np.tan(np.pi / 4 + np.radians(LATITUDE_DEG) / 2)) + north / scale
    latitude = np.degrees(2 * np.arctan(np.exp(mercator)) - np.pi / 2)
    R = T_world_imu[:3, :3]
    angles = np.arctan2(R[2, 1], R[2, 2]), -np.arcsin(R[2, 0]), np.arctan2(R[1, 0], R[0, 0])
    return numbers([latitude, 8.0 + np.degrees(east / scale), altitude, *angles, *np.zeros(24)])


def euroc(
    folder: Path,
    T_body_cameras: Sequence[Array],
    frames: int = 4,
    images: Images = noise,
    size: tuple[int, int] = SIZE,
    lenses: Sequence[Lens] = SMALL_LENSES,
    truth: Sequence[tuple[int, Array]] = (),
) -> Path:
    """Frames 50 ms apart from FIRST_STAMP_NS; truth as (ns after the first frame, T_world_body)."""
    for camera, (T, lens) in enumerate(zip(T_body_cameras, lenses, strict=False)):
        place = folder / "mav0" / f"cam{camera}"
        rows = ["#timestamp [ns],filename"]
        for index in range(frames):
            stamp = FIRST_STAMP_NS + 50_000_000 * index
            write_png(place / "data" / f"{stamp}.png", images(index, camera))
            rows.append(f"{stamp},{stamp}.png")
        (place / "data.csv").write_text("\r\n".join(rows) + "\r\n")
        K = lens.intrinsics
        model = "equidistant" if lens.model == "equidistant" else "radial-tangential"
        (place / "sensor.yaml").write_text(
            "# General sensor definitions.\nsensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n"
            f"  data: [{numbers(T).replace(' ', ', ')}]\nrate_hz: 20\nresolution: [{size[0]}, {size[1]}]\n"
            f"camera_model: pinhole\nintrinsics: [{K[0]}, {K[4]}, {K[2]}, {K[5]}] #fu, fv, cu, cv\n"
            f"distortion_model: {model}\ndistortion_coefficients: {list(lens.distortion)}\n"
        )
    if truth:
        rows = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"]
        for after_ns, T in truth:
            x, y, z, w = quaternion_from_rotation(T[:3, :3])
            values = [*T[:3, 3], w, x, y, z, *np.zeros(9)]
            rows.append(f"{FIRST_STAMP_NS + after_ns}," + ",".join(f"{value:.15g}" for value in values))
        place = folder / "mav0" / "state_groundtruth_estimate0"
        place.mkdir()
        (place / "data.csv").write_text("\n".join(rows) + "\n")
    return folder


def tum(
    folder: Path,
    frames: int = 4,
    images: Images = noise,
    depth: Callable[[int], NDArray[np.uint16]] | None = lambda index: np.full(SIZE[::-1], 5000, np.uint16),
    truth: Sequence[tuple[float, Array]] = (),
    calibration: str = "50 50 15.5 11.5",
) -> Path:
    """Frames 1/32 s apart from 1305031102.0 s, depth 4 ms later; truth as (s after the first frame, T_world_camera)."""
    (folder / "rgb").mkdir(parents=True)
    lists = {"rgb": 0.0} if depth is None else {"rgb": 0.0, "depth": 0.004}
    for name, late in lists.items():
        rows = ["# color images", f"# file: '{folder.name}.bag'", "# timestamp filename"]
        for index in range(frames):
            stamp = f"{1305031102 + index / 32 + late:.6f}"
            if name == "depth":
                assert depth is not None
                write_png(folder / name / f"{stamp}.png", depth(index))
            else:
                write_png(folder / name / f"{stamp}.png", images(index, 0))
            rows.append(f"{stamp} {name}/{stamp}.png")
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    if truth:
        rows = ["# ground truth trajectory", "# timestamp tx ty tz qx qy qz qw"]
        rows += [
            f"{1305031102 + after:.4f} {numbers([*T[:3, 3], *quaternion_from_rotation(T[:3, :3])])}"
            for after, T in truth
        ]
        (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    if calibration:
        (folder / "calibration.txt").write_text(calibration + "\n")
    return folder
