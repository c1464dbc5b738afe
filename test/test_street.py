"""The rendered street: exactness of positions and depth, determinism, robustness, and the KITTI folder it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from street_warps import residual_shifts

from subpx_ros.datasets.kitti import KittiSequence
from subpx_ros.datasets.street import (
    Street,
    StreetConfig,
    StreetSequence,
    correspondences,
    write_kitti_sequence,
)
from subpx_ros.datasets.street.atlas import build_atlas
from subpx_ros.datasets.street.sensor import expose
from subpx_ros.datatypes import Camera, Rig
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.geometry import invert, rotation_from_vector, se3, transform_points

Array = NDArray[np.float64]

CAMERA = Camera(350.0, 350.0, 251.3, 93.7, 512, 192)
RIG = Rig(CAMERA, CAMERA, 0.5)
CONFIG = StreetConfig(seed=3, length_m=50.0)


@pytest.fixture(scope="module")
def sequence() -> StreetSequence:
    return StreetSequence(CONFIG, rig=RIG)


@pytest.fixture(scope="module")
def street(sequence: StreetSequence) -> Street:
    return sequence.street


def moved(rotation: tuple[float, float, float], translation: tuple[float, float, float]) -> Array:
    """T_camera_moved from a rotation vector in radians and metres, in the camera's axes."""
    return se3(rotation_from_vector(np.array(rotation)), np.array(translation))


@pytest.mark.parametrize(
    ("rotation", "translation"),
    [
        pytest.param((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), id="stereo"),
        pytest.param((0.0, 0.0, 0.0), (0.013, 0.007, 0.0), id="fraction of a pixel"),
        pytest.param((0.005, 0.0331, -0.01), (0.05, -0.02, 0.7), id="drive"),
        pytest.param((0.0, 0.0, 0.4), (0.0, 0.0, 0.1), id="roll"),
    ],
)
def test_texture_is_where_the_geometry_says(
    street: Street,
    sequence: StreetSequence,
    rotation: tuple[float, float, float],
    translation: tuple[float, float, float],
) -> None:
    shifts, difference = np.zeros((0, 2)), []
    for index in (5, 14, 22, 31, 40):
        pose = sequence.poses[index]
        there = street.render(CAMERA, pose @ moved(rotation, translation))
        patches, photometric = residual_shifts(sequence.view(index), there)
        shifts = np.concatenate([shifts, patches])
        difference.append(photometric)
    assert len(shifts) > 250
    assert np.abs(shifts.mean(axis=0)).max() < 0.015
    assert np.abs(np.median(shifts, axis=0)).max() < 0.01
    assert shifts.std(axis=0).max() < 0.1
    assert max(difference) < 0.012


def test_half_a_turn_about_the_optical_axis_turns_the_image() -> None:
    # With the principal point in the middle both views sample the same rays, so that any half-pixel slip would show.
    camera = Camera(200.0, 200.0, 127.5, 63.5, 256, 128)
    drive = StreetSequence(CONFIG, frames=10, rig=Rig(camera))
    upright = drive.view(9)
    turned = drive.street.render(camera, drive.poses[9] @ moved((0.0, 0.0, np.pi), (0.0, 0.0, 0.0)))
    different = np.abs(turned.image[::-1, ::-1] - upright.image) > 1e-3
    # Where an edge passes through a sub-sample exactly, rounding decides.
    assert different.mean() < 2e-3
    solid = np.isfinite(upright.depth) & (turned.planes[::-1, ::-1] == upright.planes)
    assert solid.mean() > 0.8
    np.testing.assert_allclose(turned.depth[::-1, ::-1][solid], upright.depth[solid], rtol=1e-5)


def test_mip_levels_of_the_atlas_are_not_shifted() -> None:
    ramp = np.add.outer(2.0 * np.arange(64), np.arange(64)).astype(np.float32)
    atlas = build_atlas([ramp, np.zeros((8, 100), dtype=np.float32)])
    for level in range(4):
        x, y = atlas.origins[:, 0, level].astype(int)
        size = 64 >> level
        centres = (np.arange(size) + 0.5) * 2**level - 0.5
        expected = np.add.outer(2.0 * centres, centres)
        np.testing.assert_allclose(atlas.pixels[y : y + size, x : x + size], expected, rtol=1e-6)


def test_depth_is_that_of_the_ground(street: Street, sequence: StreetSequence) -> None:
    view = sequence.view(12)
    rows, columns = np.mgrid[176:192, 230:280]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    depth = view.depth[rows, columns].ravel().astype(float)
    points = np.column_stack([CAMERA.normalise(pixels), np.ones(len(pixels))]) * depth[:, None]
    heights = transform_points(view.T_world_camera, points)[:, 2]
    # The road is at 0 m, its paint 3 mm above it.
    assert np.abs(heights).max() < 0.003 + 1e-5
    assert (np.abs(heights) < 1e-5).mean() > 0.5


def test_edges_blend_what_is_on_both_sides(street: Street, sequence: StreetSequence) -> None:
    coarse = sequence.view(20)
    fine_camera = Camera(5 * CAMERA.fx, 5 * CAMERA.fy, 5 * CAMERA.cx + 2, 5 * CAMERA.cy + 2, 2560, 960)
    fine = street.render(fine_camera, sequence.poses[20])
    blocks = fine.image.reshape(192, 5, 512, 5).mean(axis=(1, 3))
    skyline = np.isinf(fine.depth).reshape(192, 5, 512, 5).mean(axis=(1, 3))
    mixed = (skyline > 0.1) & (skyline < 0.9)
    assert mixed.sum() > 100
    error = (coarse.image - blocks)[mixed]
    # A shift of the edges by a tenth of a pixel would be a mean error of about 0.04.
    assert abs(error.mean()) < 0.012
    assert np.sqrt(np.mean(error**2)) < 0.06


def test_stereo_disparity_is_focal_length_times_baseline_over_depth(sequence: StreetSequence) -> None:
    left, right = sequence.view(8), sequence.view(8, 1)
    y, x = np.mgrid[5:187:3, 60:500:3]
    pixels = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    found = correspondences(left, right, pixels)
    assert found.visible.mean() > 0.6
    seen = found.visible
    shift = pixels[seen] - found.pixels[seen]
    depth = left.depth[y.ravel(), x.ravel()][seen]
    np.testing.assert_allclose(shift[:, 1], 0.0, atol=1e-9)
    np.testing.assert_allclose(shift[:, 0], CAMERA.fx * 0.5 / depth, rtol=1e-5)


def test_correspondences_go_there_and_back(sequence: StreetSequence) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform([0, 0], [511, 191], (2000, 2))
    view0, view1 = sequence.view(10), sequence.view(13)
    there = correspondences(view0, view1, pixels)
    back = correspondences(view1, view0, there.pixels[there.visible])
    assert there.visible.mean() > 0.3
    assert back.visible.mean() > 0.9
    np.testing.assert_allclose(back.pixels[back.visible], pixels[there.visible][back.visible], atol=2e-4)


def test_correspondences_outside_and_at_the_sky_are_not_visible(sequence: StreetSequence) -> None:
    view = sequence.view(10)
    sky = np.argwhere(np.isinf(view.depth))[:1, ::-1]
    found = correspondences(view, sequence.view(11), np.concatenate([sky, [[-3.0, 5.0], [np.nan, 1.0]]]))
    assert not found.visible.any()
    assert np.isnan(found.pixels).all()


def test_what_is_in_front_hides_what_is_behind(sequence: StreetSequence) -> None:
    view0, view1 = sequence.view(10), sequence.view(10, 1)
    y, x = np.mgrid[0:192:2, 0:512:2]
    found = correspondences(view0, view1, np.stack([x.ravel(), y.ravel()], axis=1))
    inside = np.all((found.pixels > 0) & (found.pixels < [511, 191]), axis=1)
    hidden = inside & ~found.visible
    places = np.rint(found.pixels[hidden]).astype(int)
    nearer = view1.depth[places[:, 1], places[:, 0]] < 0.9 * view0.depth[y.ravel(), x.ravel()][hidden]
    assert nearer.sum() > 50


@pytest.mark.parametrize(
    "turn", [(0.0, np.pi, 0.0), (np.pi / 2, 0.0, 0.0), (-np.pi / 2, 0.0, 0.0), (0.3, 1.2, 2.0)], ids=str
)
def test_any_direction_gives_a_finite_image(
    street: Street, sequence: StreetSequence, turn: tuple[float, float, float]
) -> None:
    # Faces beside and behind the camera cross the near plane.
    view = street.render(CAMERA, sequence.poses[15] @ moved(turn, (0.0, 0.0, 0.0)))
    assert np.isfinite(view.image).all()
    assert view.image.min() >= 0.0
    assert view.image.max() <= 1.0
    assert (view.depth > 0.0).all()


def test_looking_up_gives_sky(street: Street, sequence: StreetSequence) -> None:
    above = sequence.poses[15] @ moved((np.pi / 2, 0.0, 0.0), (0.0, 0.0, 0.0))
    above[2, 3] = 60.0
    view = street.render(CAMERA, above)
    assert np.isinf(view.depth).all()
    assert view.image.min() > 0.3


def test_a_single_pixel_camera_works(street: Street, sequence: StreetSequence) -> None:
    view = street.render(Camera(1.0, 1.0, 0.0, 0.0, 1, 1), sequence.poses[0])
    assert view.image.shape == (1, 1)


def test_same_seed_same_pixels_other_seed_other_street(sequence: StreetSequence) -> None:
    again = StreetSequence(CONFIG, rig=RIG)
    np.testing.assert_array_equal(again.poses, sequence.poses)
    first, second = sequence.frame(7), again.frame(7)
    np.testing.assert_array_equal(first.image, second.image)
    assert first.right_image is not None
    assert second.right_image is not None
    np.testing.assert_array_equal(first.right_image, second.right_image)
    other = StreetSequence(StreetConfig(seed=4, length_m=50.0), rig=RIG)
    assert np.abs(other.frame(7).image.astype(float) - first.image).mean() > 5.0


def test_noise_has_the_size_asked_for(sequence: StreetSequence) -> None:
    left = sequence.view(7).image
    frame = sequence.frame(7)
    grey = (left > 0.2) & (left < 0.8)
    noise = frame.image.astype(float) / 255 - left
    # The smooth changes of light are taken out by looking at neighbours of equal ideal intensity.
    pairs = grey[:, 1:] & grey[:, :-1] & (np.abs(np.diff(left, axis=1)) < 0.002)
    deviation = np.diff(noise, axis=1)[pairs].std() / np.sqrt(2)
    expected = np.sqrt(CONFIG.read_noise**2 + CONFIG.shot_noise**2 * left[:, 1:][pairs].mean())
    assert 0.9 * expected < deviation < 1.2 * expected


def test_noise_is_another_one_for_every_frame_and_camera() -> None:
    grey = np.full((100, 100), 0.5, dtype=np.float32)
    flat = StreetConfig(seed=3, vignetting=0.0)
    pictures = [expose(grey, flat, frame, camera) for frame, camera in ((0, 0), (0, 1), (1, 0))]
    correlation = np.corrcoef([picture.ravel() for picture in pictures])
    assert np.abs(correlation - np.eye(3)).max() < 0.05
    np.testing.assert_array_equal(expose(grey, flat, 1, 0), pictures[2])


def test_the_drive_is_smooth_turns_and_follows_the_settings(sequence: StreetSequence) -> None:
    assert sequence.truth is not None
    np.testing.assert_array_equal(sequence.truth[0], np.eye(4))
    relative = [invert(a) @ b for a, b in zip(sequence.truth[:-1], sequence.truth[1:], strict=True)]
    steps = np.array([np.linalg.norm(pose[:3, 3]) for pose in relative])
    assert 0.8 < steps.min() < steps.max() < 1.25
    assert np.abs(np.diff(steps)).max() < 0.1
    headings = np.unwrap(np.arctan2(sequence.truth[:, 0, 2], sequence.truth[:, 2, 2]))
    assert np.ptp(headings) > np.radians(30)
    assert np.abs(np.diff(headings)).max() < np.radians(4)
    assert np.abs(sequence.poses[:, 2, 3] - CONFIG.camera_height_m).max() < 0.03
    assert len(set(np.diff(sequence.stamps_ns))) == 1


def test_a_long_street_never_meets_itself() -> None:
    line = Street(StreetConfig(seed=1, length_m=1200.0)).centreline
    points = line.offset(np.arange(0.0, 1200.0, 10.0), 0.0)[:, :2]
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    apart = np.abs(np.subtract.outer(np.arange(len(points)), np.arange(len(points)))) > 5
    assert distances[apart].min() > 40.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: StreetConfig(length_m=20.0),
        lambda: StreetConfig(seed=-1),
        lambda: StreetConfig(speed_m=0.0),
        lambda: StreetConfig(vignetting=float("nan")),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], StreetConfig]) -> None:
    with pytest.raises(ConfigError, match="takes"):
        make()


def test_more_frames_than_road_are_refused(street: Street) -> None:
    with pytest.raises(ConfigError, match="got 51"):
        street.drive(51)
    with pytest.raises(ConfigError, match="got 0"):
        street.drive(0)


def test_kitti_folder_reads_back_as_it_was(tmp_path: Path, sequence: StreetSequence) -> None:
    part = sequence.window(4, 8)
    told: list[tuple[int, int]] = []
    write_kitti_sequence(part, tmp_path / "street", lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [path.name for path in tmp_path.iterdir()] == ["street"]
    read = KittiSequence(tmp_path / "street")
    assert read.rig.left == CAMERA
    assert read.rig.baseline_m == pytest.approx(0.5, abs=1e-12)
    assert read.stamps_ns == part.stamps_ns
    assert read.truth is not None
    assert part.truth is not None
    np.testing.assert_allclose(read.truth, part.truth, atol=1e-9)
    for mine, theirs in zip(part, read, strict=True):
        np.testing.assert_array_equal(mine.image, theirs.image)
        assert mine.right_image is not None
        assert theirs.right_image is not None
        np.testing.assert_array_equal(mine.right_image, theirs.right_image)


def test_kitti_folder_is_not_overwritten_and_not_left_half_done(tmp_path: Path, sequence: StreetSequence) -> None:
    (tmp_path / "street").mkdir()
    with pytest.raises(DataError, match="is there already"):
        write_kitti_sequence(sequence, tmp_path / "street")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_kitti_sequence(sequence.window(0, 3), tmp_path / "other", stop)
    assert [path.name for path in tmp_path.iterdir()] == ["street"]
