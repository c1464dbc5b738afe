"""Metrics against values computed by hand, and against perturbations whose size is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.errors import DataError
from subpx_ros.evaluation.accuracy import accuracy
from subpx_ros.evaluation.metrics import (
    absolute_error,
    align,
    kitti_drift,
    nominal_period_s,
    path_length,
    per_frame_errors,
    relative_errors,
    rescaled,
)
from subpx_ros.evaluation.trajectories import read_trajectory
from subpx_ros.geometry import invert, rotation_from_vector, se3

Array = NDArray[np.float64]


def straight(count: int, step: float) -> Array:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step * np.arange(count)
    return poses


def drive(count: int, seed: int = 0) -> Array:
    """A winding path of about a metre per frame."""
    generator = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for _ in range(count - 1):
        turn = rotation_from_vector(generator.normal(0.0, [0.002, 0.03, 0.002]))
        poses.append(poses[-1] @ se3(turn, np.array([0.0, 0.0, generator.uniform(0.7, 1.3)])))
    return np.array(poses)


def scaled(poses: Array, factor: float) -> Array:
    poses = poses.copy()
    poses[:, :3, 3] *= factor
    return poses


def moved(poses: Array) -> Array:
    """The same path in another world."""
    T_other_world = se3(rotation_from_vector(np.array([0.4, -1.0, 0.3])), np.array([5.0, -3.0, 100.0]))
    result: Array = T_other_world @ poses
    return result


def test_perfect_estimate_has_no_error_in_any_world() -> None:
    truth = drive(400)
    drift = kitti_drift(moved(truth), truth)
    assert drift is not None
    assert drift.t_percent < 1e-9 and drift.r_deg_per_100m < 1e-4
    assert absolute_error(moved(truth), truth) < 1e-9
    translation, rotation = relative_errors(moved(truth), truth)
    assert translation.max() < 1e-9 and rotation.max() < 1e-4


def test_one_percent_of_scale_is_one_percent_of_drift() -> None:
    # A segment ends at the first frame beyond its length: with steps of 1 m, 100 m end at 101 m, 200 m at 201 m.
    truth = straight(202, 1.0)
    drift = kitti_drift(scaled(truth, 1.01), truth)
    assert drift is not None and drift.lengths_m == [100, 200]
    assert drift.per_length[0].t_percent == pytest.approx(1.01)
    assert drift.per_length[1].t_percent == pytest.approx(201 / 200)
    # Starts at 0, 10, ..., 100 have 101 m ahead of them (the last frame is at 201 m), and only the first has 201 m.
    assert [each.segments for each in drift.per_length] == [11, 1]
    assert drift.t_percent == pytest.approx((11 * 1.01 + 201 / 200) / 12)
    assert drift.r_deg_per_100m == pytest.approx(0.0, abs=1e-9)

    fine = straight(3001, 0.1)
    fine_drift = kitti_drift(scaled(fine, 1.01), fine)
    assert fine_drift is not None and fine_drift.t_percent == pytest.approx(1.0, abs=2e-3)


def test_constant_yaw_rate_gives_its_angle_per_100_m() -> None:
    truth = straight(301, 1.0)
    estimate = truth.copy()
    per_frame = np.radians(0.01)
    for index in range(len(truth)):
        estimate[index, :3, :3] = rotation_from_vector(np.array([0.0, per_frame * index, 0.0]))
    drift = kitti_drift(estimate, truth)
    assert drift is not None
    assert drift.per_length[0].r_deg_per_100m == pytest.approx(101 * 0.01)  # 101 m of 0.01 deg, over nominal 100 m
    assert drift.per_length[1].r_deg_per_100m == pytest.approx(201 * 0.01 / 2)


def test_short_paths_use_short_segments_from_every_frame() -> None:
    truth = straight(61, 1.0)
    drift = kitti_drift(scaled(truth, 0.98), truth)
    assert drift is not None and drift.lengths_m == [10, 20, 30, 40, 50]
    assert [each.segments for each in drift.per_length] == [50, 40, 30, 20, 10]
    assert drift.per_length[4].t_percent == pytest.approx(2.0 * 51 / 50)


def test_the_length_of_the_path_decides_between_long_and_short_segments() -> None:
    assert kitti_drift(straight(101, 1.0), straight(101, 1.0)).lengths_m == [10, 20, 30, 40, 50]  # type: ignore[union-attr]
    assert kitti_drift(straight(102, 1.0), straight(102, 1.0)).lengths_m == [100]  # type: ignore[union-attr]
    assert kitti_drift(straight(8, 1.0), straight(8, 1.0)) is None
    assert kitti_drift(np.eye(4)[None], np.eye(4)[None]) is None


def test_drift_agrees_with_a_plain_reading_of_its_definition() -> None:
    truth = drive(260, seed=1)
    estimate = drive(260, seed=1)
    generator = np.random.default_rng(2)
    for index in range(1, len(truth)):
        motion = invert(truth[index - 1]) @ truth[index]
        noise = se3(rotation_from_vector(generator.normal(0, 1e-3, 3)), generator.normal(0, 0.02, 3))
        estimate[index] = estimate[index - 1] @ motion @ noise
    distances = [0.0]
    for before, after in itertools.pairwise(truth):
        distances.append(distances[-1] + float(np.linalg.norm(after[:3, 3] - before[:3, 3])))
    translations, rotations = [], []
    for first in range(0, len(truth), 10):
        for length in (100, 200, 300, 400, 500, 600, 700, 800):
            last = next((i for i in range(first, len(truth)) if distances[i] > distances[first] + length), None)
            if last is None:
                continue
            delta_truth = np.linalg.inv(truth[first]) @ truth[last]
            delta_estimate = np.linalg.inv(estimate[first]) @ estimate[last]
            error = np.linalg.inv(delta_estimate) @ delta_truth
            translations.append(np.linalg.norm(error[:3, 3]) / length)
            rotations.append(np.arccos(0.5 * (np.trace(error[:3, :3]) - 1.0)) / length)

    drift = kitti_drift(estimate, truth)

    assert drift is not None and sum(each.segments for each in drift.per_length) == len(translations)
    assert drift.t_percent == pytest.approx(100 * np.mean(translations), rel=1e-9)
    assert drift.r_deg_per_100m == pytest.approx(100 * np.degrees(np.mean(rotations)), rel=1e-6)


def test_alignment_finds_the_planted_similarity() -> None:
    points = np.random.default_rng(3).normal(size=(20, 3))
    rotation = rotation_from_vector(np.array([0.5, 2.0, -0.7]))
    target = 2.5 * points @ rotation.T + [1.0, -2.0, 3.0]
    found = align(points, target, with_scale=True)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.apply(points), target, atol=1e-12)
    assert align(points, target, with_scale=False).scale == 1.0


def test_alignment_never_mirrors() -> None:
    points = np.random.default_rng(4).normal(size=(20, 3))
    assert np.linalg.det(align(points, points * [1, 1, -1], with_scale=True).rotation) == pytest.approx(1.0)


def test_absolute_error_of_one_planted_outlier() -> None:
    # A square and its centre; the centre is lifted by 1 m. The best rigid alignment is a shift by 1/5 m along the lift.
    truth = np.tile(np.eye(4), (5, 1, 1))
    truth[:4, :3, 3] = [[1, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]]
    estimate = truth.copy()
    estimate[4, 2, 3] += 1.0
    assert absolute_error(estimate, truth) == pytest.approx(np.sqrt((4 * 0.2**2 + 0.8**2) / 5))


def test_absolute_error_with_scale() -> None:
    truth = drive(100)
    assert absolute_error(moved(scaled(truth, 0.2)), truth, with_scale=True) < 1e-9
    assert absolute_error(moved(scaled(truth, 0.2)), truth) > 1.0


def test_relative_errors_of_one_wrong_step() -> None:
    truth = straight(5, 1.0)
    estimate = truth.copy()
    estimate[3:, 2, 3] += 0.25
    translation, rotation = relative_errors(estimate, truth)
    np.testing.assert_allclose(translation, [0, 0, 0.25, 0], atol=1e-12)
    np.testing.assert_allclose(rotation, 0.0, atol=1e-12)


def test_per_frame_errors_without_scale() -> None:
    truth = straight(4, 1.0)
    truth[3, 2, 3] = truth[2, 2, 3] + 0.005  # below a centimetre: its direction does not count
    estimate = [np.eye(4)]
    for angle, direction in ((0.1, 2.0), (0.3, 4.0), (0.2, 90.0)):
        turn = rotation_from_vector(np.array([0.0, np.radians(angle), 0.0]))
        heading = np.array([np.sin(np.radians(direction)), 0.0, np.cos(np.radians(direction))])
        estimate.append(estimate[-1] @ se3(turn, 7.0 * heading))
    errors = per_frame_errors(np.array(estimate), truth)
    assert errors.rotation_deg == pytest.approx(0.2)
    assert errors.direction_deg == pytest.approx(3.0)
    assert errors.directions == 2


def test_per_frame_errors_where_nothing_moves() -> None:
    errors = per_frame_errors(np.tile(np.eye(4), (3, 1, 1)), straight(3, 1.0))
    assert errors.rotation_deg == 0.0 and np.isnan(errors.direction_deg) and errors.directions == 0
    assert np.isnan(per_frame_errors(np.eye(4)[None], np.eye(4)[None]).rotation_deg)


def test_accuracy_aligns_the_scale_where_asked() -> None:
    truth = drive(60)
    figures = accuracy(scaled(truth, 0.1), truth, align_scale=True)
    assert figures["drift"]["scale_aligned"] is True
    assert figures["drift"]["t_percent"] < 1e-9 and figures["ate_m"] < 1e-9
    metric = accuracy(scaled(truth, 0.99), truth, align_scale=False)
    assert metric["drift"]["scale_aligned"] is False and 0.99 < metric["drift"]["t_percent"] < 1.2


def test_accuracy_of_an_estimate_without_motion_has_no_metric_figures() -> None:
    truth = drive(60)
    still = np.tile(np.eye(4), (60, 1, 1))
    figures = accuracy(still, truth, align_scale=True)
    assert figures["drift"] is None and figures["ate_m"] is None and figures["rpe"]["t_m_median"] is None
    assert rescaled(still, truth) is None
    assert rescaled(scaled(truth, -1.0), truth) is not None  # a half turn away, but of the right size
    with pytest.raises(DataError, match="does not move has no scale"):
        absolute_error(still, truth, with_scale=True)


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(DataError, match="same frames; got"):
        kitti_drift(straight(3, 1.0), straight(4, 1.0))


def test_real_path_lengths(shared_data: Callable[[str], Path]) -> None:
    poses = read_trajectory(shared_data("kitti_poses") / "00.txt").poses
    assert path_length(poses)[-1] == pytest.approx(3724.2, abs=1.0)
    drift = kitti_drift(scaled(poses, 1.01), poses)
    assert drift is not None and drift.lengths_m == [100, 200, 300, 400, 500, 600, 700, 800]
    # A factor of scale is at most that share of the length: segments that bend are shorter as the crow flies.
    assert 0.3 < drift.t_percent < 1.01


def test_drift_by_speed_at_one_speed() -> None:
    # A segment of 100 m has 102 frames with both ends, 10.2 s, and is driven at 9.80 m/s; one of 200 m at 9.90 m/s:
    # less than 2 m/s from 8 and from 10.
    truth = straight(401, 1.0)
    drift = kitti_drift(scaled(truth, 1.01), truth)
    assert drift is not None
    assert [each.speed_mps for each in drift.per_speed] == [8, 10]
    assert all(each.segments == sum(part.segments for part in drift.per_length) for each in drift.per_speed)
    assert all(each.t_percent == pytest.approx(drift.t_percent) for each in drift.per_speed)
    twice_as_fast = kitti_drift(scaled(truth, 1.01), truth, period_s=0.05)
    assert twice_as_fast is not None and [each.speed_mps for each in twice_as_fast.per_speed] == [18, 20]


def test_drift_by_speed_tells_slow_from_fast_driving() -> None:
    # 200 m of 0.5 m steps without error, then 600 m of 2 m steps, 3 % too long.
    truth = straight(701, 1.0)
    steps = np.concatenate([[0.0], np.full(400, 0.5), np.full(300, 2.0)])
    truth[:, 2, 3] = np.cumsum(steps)
    estimate = truth.copy()
    estimate[:, 2, 3] = np.cumsum(np.where(steps == 2.0, 1.03 * steps, steps))
    drift = kitti_drift(estimate, truth)
    assert drift is not None
    by_speed = {each.speed_mps: each for each in drift.per_speed}
    # 100 m of 202 frames: 4.95 m/s; with both ends slow. At 18 and 20 m/s all is fast: lengths L end at L + 2 m.
    assert by_speed[4].t_percent < 0.2 and by_speed[4].segments >= 3
    assert by_speed[20].t_percent == pytest.approx(3.0, abs=0.1)
    assert max(by_speed) == 20, "a segment of 100 m has 52 frames: 19.2 m/s"


def test_speeds_with_few_segments_have_no_figure() -> None:
    truth = straight(122, 1.0)  # starts at 0, 10 and 20 have 101 m ahead of them
    drift = kitti_drift(truth, truth)
    assert drift is not None and [(each.speed_mps, each.segments) for each in drift.per_speed] == [(8, 3), (10, 3)]
    shorter = kitti_drift(truth[:112], truth[:112])
    assert shorter is not None and shorter.per_length[0].segments == 2 and shorter.per_speed == ()


@pytest.mark.parametrize(
    ("stamps_ms", "period_s"),
    [
        ([0.0, 103.7, 207.4], 0.1),
        ([0, 50, 100, 150], 0.05),
        ([0, 33.4, 66.7, 100], 1 / 30),
        ([0, 2500], 2.5),
        ([7], 1.0),
    ],
)
def test_cameras_have_whole_numbers_of_frames_per_second(stamps_ms: list[float], period_s: float) -> None:
    assert nominal_period_s([round(1e6 * stamp) for stamp in stamps_ms]) == pytest.approx(period_s)


@pytest.mark.parametrize("sequence", ["00", "04"])
def test_official_poses_with_a_known_error(shared_data: Callable[[str], Path], sequence: str) -> None:
    """The definition of the development kit, read plainly, over the real path at its real speeds."""
    truth = read_trajectory(shared_data("kitti_poses") / f"{sequence}.txt").poses
    estimate = scaled(truth, 1.01)
    distances = path_length(truth)
    segments = []
    for first in range(0, len(truth), 10):
        for length in (100, 200, 300, 400, 500, 600, 700, 800):
            last = next((i for i in range(first, len(truth)) if distances[i] > distances[first] + length), None)
            if last is not None:
                chord = np.linalg.norm(truth[last, :3, 3] - truth[first, :3, 3])
                segments.append((length, length / (0.1 * (last - first + 1)), 0.01 * chord / length))

    drift = kitti_drift(estimate, truth)

    # Positions that are 1 % too far out miss the end of a segment by 1 % of its chord, and no rotation.
    assert drift is not None and drift.r_deg_per_100m < 1e-5
    assert drift.t_percent == pytest.approx(100 * np.mean([error for *_, error in segments]), rel=1e-6)
    for each in drift.per_length:
        errors = [error for length, _, error in segments if length == each.length_m]
        assert each.segments == len(errors)
        assert each.t_percent == pytest.approx(100 * np.mean(errors), rel=1e-6)
    speeds = {}
    for centre in range(2, 25, 2):
        errors = [error for _, speed, error in segments if abs(speed - centre) < 2.0]
        if len(errors) >= 3:
            speeds[centre] = (len(errors), 100 * np.mean(errors))
    assert {each.speed_mps: each.segments for each in drift.per_speed} == {
        key: count for key, (count, _) in speeds.items()
    }
    assert [each.t_percent for each in drift.per_speed] == pytest.approx(
        [mean for _, mean in speeds.values()], rel=1e-6
    )
    if sequence == "04":  # 394 m straight on
        assert drift.t_percent == pytest.approx(1.0, abs=0.01)
