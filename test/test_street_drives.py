"""Named drives: traffic, exposure drop, blur, a missing frame and the highway, all with exact truth."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from street_warps import residual_shifts

from subpx_ros.cli import main
from subpx_ros.datasets import Sequence, open_sequence
from subpx_ros.datasets.kitti import KittiSequence
from subpx_ros.datasets.street import (
    DRIVES,
    DisturbanceConfig,
    StreetConfig,
    StreetSequence,
    View,
    correspondences,
    named_drive,
    write_kitti_sequence,
)
from subpx_ros.datasets.street.sensor import is_blurred
from subpx_ros.datatypes import Camera, Rig
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.geometry import invert

CAMERA = Camera(295.0, 295.0, 251.3, 76.3, 512, 154)
RIG = Rig(CAMERA, CAMERA, 0.537)
CLEAN = StreetConfig(seed=3, length_m=50.0, speed_m=0.8)
DISTURBED = replace(
    CLEAN,
    disturbances=replace(DRIVES["disturbed"].disturbances, dark_from=20, dark_frames=5, missing_frame=40),
)
HIGHWAY = replace(DRIVES["highway"], length_m=150.0)


@pytest.fixture(scope="module")
def clean() -> StreetSequence:
    return StreetSequence(CLEAN, rig=RIG)


@pytest.fixture(scope="module")
def disturbed() -> StreetSequence:
    return StreetSequence(DISTURBED, rig=RIG)


@pytest.fixture(scope="module")
def highway() -> StreetSequence:
    return StreetSequence(HIGHWAY, rig=RIG)


def corners(image: NDArray[np.uint8]) -> NDArray[np.intp]:
    """(N, 2) pixels x, y."""
    found = cv2.goodFeaturesToTrack(image, 800, 0.01, 4)
    return np.rint(found.reshape(-1, 2)).astype(np.intp)


def share(mask: NDArray[np.bool_], pixels: NDArray[np.intp]) -> float:
    return float(mask[pixels[:, 1], pixels[:, 0]].mean())


def test_texture_is_where_the_geometry_says(disturbed: StreetSequence, highway: StreetSequence) -> None:
    # The highway through a long lens, as little of it is large enough for a patch.
    for sequence, camera in ((disturbed, CAMERA), (highway, replace(CAMERA, fx=1500.0, fy=1500.0))):
        found = []
        for time in (6.0, 30.0, 50.0):
            views = [sequence.street.render(camera, sequence.street.poses_at([t])[0], t) for t in (time, time + 1.0)]
            found.append(residual_shifts(*views)[0])
        shifts = np.concatenate(found)
        assert len(shifts) > 60
        assert np.abs(np.median(shifts, axis=0)).max() < 0.01
        assert np.abs(shifts.mean(axis=0)).max() < 0.02


def test_traffic_hides_the_street_and_changes_nothing_else(clean: StreetSequence, disturbed: StreetSequence) -> None:
    np.testing.assert_array_equal(disturbed.view(9).T_world_camera, clean.view(9).T_world_camera)
    for index in (0, 9, 33):
        alone, among = clean.view(index), disturbed.view(index)
        assert not alone.moving.any() and 0.03 < among.moving.mean() < 0.6
        # A pixel at the edge of a vehicle shows some of it though its centre does not, as do slivers of far vehicles.
        untouched = ~binary_dilation(among.moving, np.ones((3, 3)))
        assert (np.abs(among.image - alone.image)[untouched] > 1e-6).mean() < 1e-4
        np.testing.assert_array_equal(among.depth[untouched], alone.depth[untouched])
        assert (among.depth[among.moving] < alone.depth[among.moving]).all()


def test_a_good_part_of_the_corners_moves(disturbed: StreetSequence) -> None:
    # Of XFeat's keypoints on the whole drive it is a fifth (docs/benchmarks.md); corners of small images are fewer.
    indices = [index for index in range(0, len(disturbed), 8) if not 18 <= index < 26]
    shares = [share(disturbed.view(index).moving, corners(disturbed.frame(index).image)) for index in indices]
    assert 0.1 < np.mean(shares) < 0.3


def test_vehicles_drive_along_and_against_the_road(disturbed: StreetSequence) -> None:
    traffic = disturbed.street._traffic
    assert traffic is not None
    forward = disturbed.poses[10][:3, :3] @ [0.0, 0.0, 1.0]
    speeds = []
    for (_, before, direction), (_, after, _) in zip(traffic._near(10.0), traffic._near(10.5), strict=True):
        speeds.append(2.0 * (after - before))
        assert np.sign(speeds[-1]) == direction
    along, against = [speed for speed in speeds if speed > 0], [speed for speed in speeds if speed < 0]
    assert len(along) >= 5 and len(against) >= 5
    assert np.std(along) > 0.03 and np.std(against) > 0.03, "each has a speed of its own"
    now, soon = traffic.at(10.0), traffic.at(10.5)
    assert now is not None and soon is not None and len(now) == len(soon)
    np.testing.assert_allclose(np.linalg.norm(soon.normals, axis=1), 1.0)
    ahead = ((soon.vertices - now.vertices).mean(axis=1) @ forward) > 0.0
    assert 0.2 < ahead.mean() < 0.8


def test_what_moves_has_no_correspondence(disturbed: StreetSequence) -> None:
    view0, view1 = disturbed.view(9), disturbed.view(10)
    y, x = np.nonzero(view0.moving)
    found = correspondences(view0, view1, np.stack([x, y], axis=1))
    assert len(x) > 100 and not found.visible.any()


def test_the_exposure_drop_is_dark_and_the_frames_around_it_are_not(clean: StreetSequence) -> None:
    drop = DisturbanceConfig(dark_from=20, dark_frames=5)
    dark = StreetSequence(replace(CLEAN, disturbances=drop), rig=RIG)
    for index in (19, 25):
        np.testing.assert_array_equal(dark.frame(index).image, clean.frame(index).image)
    for index in (20, 24):
        level, usual = (sequence.frame(index).image.astype(float) for sequence in (dark, clean))
        assert level.mean() == pytest.approx(drop.dark_light * usual.mean(), rel=0.1)
        assert level.std() < 0.15 * usual.std()


def test_a_tenth_of_the_frames_is_blurred_along_the_motion(clean: StreetSequence) -> None:
    config = replace(CLEAN, disturbances=DisturbanceConfig(blurred_share=0.1))
    chosen = [frame for frame in range(1000) if is_blurred(config, frame)]
    assert [frame // 10 for frame in chosen] == list(range(100)), "one in every ten"
    assert len({frame % 10 for frame in chosen}) == 10
    blurry = StreetSequence(config, rig=RIG)
    np.testing.assert_array_equal(blurry.poses, clean.poses)
    first = chosen[0]
    np.testing.assert_array_equal(blurry.frame(first + 1).image, clean.frame(first + 1).image)
    blurred, sharp = blurry.frame(first), clean.frame(first)
    assert blurred.right_image is not None and sharp.right_image is not None
    for image, reference in ((blurred.image, sharp.image), (blurred.right_image, sharp.right_image)):
        loss = [_slope(part) / _slope(whole) for part, whole in zip(_thirds(image), _thirds(reference), strict=True)]
        # What is ahead hardly moves in the image, what is beside moves most.
        assert max(loss[0], loss[2]) < 0.8 and loss[1] > 0.85


def _thirds(image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    soft = np.asarray(cv2.GaussianBlur(image.astype(np.float32), (5, 5), 1.2), dtype=np.float32)
    return [soft[:, :120], soft[:, 200:300], soft[:, -120:]]


def _slope(image: NDArray[np.float32]) -> float:
    return float(np.abs(np.diff(image, axis=1)).mean())


def test_a_missing_frame_leaves_a_gap_in_the_stamps(clean: StreetSequence) -> None:
    gappy = StreetSequence(replace(CLEAN, disturbances=DisturbanceConfig(missing_frame=40)), rig=RIG)
    assert len(gappy) == len(clean) - 1
    assert gappy.stamps_ns == clean.stamps_ns[:40] + clean.stamps_ns[41:]
    np.testing.assert_array_equal(gappy.poses, np.delete(clean.poses, 40, axis=0))
    np.testing.assert_array_equal(gappy.frame(40).image, clean.frame(41).image)


def test_little_of_a_highway_is_near(highway: StreetSequence) -> None:
    def near(view: View) -> float:
        return share(view.depth < 30.0, corners(highway.frame(index).image))

    shares = []
    for index in range(0, len(highway), 10):
        view = highway.view(index)
        shares.append(near(view))
        # What stands up, unlike ground and paint, is 30 m away or more.
        y, x = np.nonzero(view.depth < 30.0)
        rays = np.column_stack([CAMERA.normalise(np.column_stack([x, y]).astype(float)), np.ones(len(x))])
        points = rays * view.depth[y, x][:, None].astype(float) @ view.T_world_camera[:3, :3].T
        heights = points[:, 2] + view.T_world_camera[2, 3]
        assert np.abs(heights).max() < 0.05
    assert np.mean(shares) < 0.3
    headings = np.unwrap(np.arctan2(highway.poses[:, 1, 2], highway.poses[:, 0, 2]))
    assert np.ptp(headings) > np.radians(3)
    steps = np.linalg.norm([(invert(a) @ b)[:3, 3] for a, b in zip(highway.poses, highway.poses[1:])], axis=1)
    assert 2.0 < steps.min() < steps.max() < 3.0


def test_same_seed_same_drive(disturbed: StreetSequence) -> None:
    again = StreetSequence(DISTURBED, rig=RIG)
    np.testing.assert_array_equal(again.poses, disturbed.poses)
    for index in (3, 21):
        np.testing.assert_array_equal(again.frame(index).image, disturbed.frame(index).image)
    assert not np.array_equal(
        StreetSequence(replace(DISTURBED, seed=4), rig=RIG).view(3).moving, disturbed.view(3).moving
    )


def test_drives_have_names_and_seeds() -> None:
    assert named_drive("highway") == ("highway", DRIVES["highway"])
    assert named_drive("disturbed:12") == ("disturbed-12", replace(DRIVES["disturbed"], seed=12))
    for name, config in DRIVES.items():
        assert config.length_m == 1000.0 and name in ("clean", "disturbed", "highway")
    plain = replace(DRIVES["disturbed"], disturbances=DisturbanceConfig())
    assert plain == DRIVES["clean"], "the disturbed drive is the clean one, disturbed"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("street:claen", "unknown drive 'claen' (did you mean 'clean'?)"),
        ("street:", "unknown drive ''"),
        ("street:clean:x", "the seed of a drive is a whole number, as in clean:7; got 'x'"),
        ("street:clean:", "the seed of a drive is a whole number"),
        ("street:clean:99999999999", "setting 'seed' takes a whole number"),
    ],
)
def test_other_names_are_refused(source: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        open_sequence(source)
    assert message in str(caught.value)
    assert main(["data", "write", source, str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_processes_write_what_threads_write(tmp_path: Path, disturbed: StreetSequence) -> None:
    reopen = partial(_short, 19, 22)
    told: list[tuple[int, int]] = []
    write_kitti_sequence(reopen(), tmp_path / "threads")
    count = lambda done, total: told.append((done, total))
    write_kitti_sequence(reopen(), tmp_path / "processes", count, reopen, processes=2)
    assert told == [(1, 3), (2, 3), (3, 3)]
    files = sorted(path.relative_to(tmp_path / "threads") for path in (tmp_path / "threads").rglob("*.*"))
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "processes" / file).read_bytes() == (tmp_path / "threads" / file).read_bytes()
    read = KittiSequence(tmp_path / "processes")
    np.testing.assert_array_equal(read.frame(1).image, disturbed.frame(20).image)


def _short(start: int, stop: int) -> Sequence:
    return StreetSequence(DISTURBED, rig=RIG).window(start, stop)
