"""The picture of a frame's matches: what is drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from subpx_ros.datatypes import OdometryResult, PoseStatus, RefinedMatches, RelativePose, TrackingState
from subpx_ros.drawing import OFFSET_SCALE, draw_matches

Pixels = NDArray[np.uint8]
SIZE = (200, 640)
GREY = 60


def picture(
    detected: list[tuple[float, float]],
    refined: list[tuple[float, float]],
    before: list[tuple[float, float]],
    inliers: list[bool],
    *,
    state: TrackingState = TrackingState.TRACKING,
    reason: str = "",
    size: tuple[int, int] = SIZE,
) -> Pixels:
    places, moved, earlier = (np.array(each, dtype=float).reshape(-1, 2) for each in (detected, refined, before))
    matches = RefinedMatches(earlier, places, earlier, moved, np.ones(len(moved), dtype=np.float32))
    pose = np.eye(4) if inliers else None
    status = PoseStatus.OK if inliers else PoseStatus.FEW_MATCHES
    relative = RelativePose(status, "", pose, None if pose is None else np.eye(6), True, np.array(inliers, dtype=bool))
    result = OdometryResult(
        stamp_ns=0,
        state=state,
        reason=reason,
        T_odom_camera=np.eye(4),
        covariance=np.eye(6),
        located=True,
        metric=True,
        relative_pose=relative,
        reference_stamp_ns=None,
        matches=matches,
        points=np.zeros((len(moved), 3)),
        counts={},
        stage_ms={"total": 1.0},
    )
    return draw_matches(np.full(size, GREY, dtype=np.uint8), result)


def painted(drawn: Pixels, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    return np.asarray(np.any(drawn[: size[0]] != GREY, axis=2))


def test_an_inlier_is_a_line_from_where_it_was_and_its_offset_is_enlarged() -> None:
    where = painted(picture([(100.0, 50.0)], [(102.0, 50.0)], [(60.0, 50.0)], [True]))
    rows, columns = np.nonzero(where)
    assert abs(rows - 50).max() <= 3
    assert columns.min() in (59, 60) and abs(columns.max() - (102 + 2 * OFFSET_SCALE)) <= 1
    assert where[50, 60:122].all()


def test_other_matches_are_dots_and_the_rest_of_the_image_stays() -> None:
    drawn = picture(
        [(100.0, 50.0), (300.0, 150.0)], [(104.0, 50.0), (300.0, 150.0)], [(60.0, 50.0), (9.0, 9.0)], [True, False]
    )
    where = painted(drawn)
    dot = where[140:161, 290:311]
    assert 8 <= np.count_nonzero(dot) <= 60
    assert not where[:40].any() and not where[60:140].any()
    assert not np.array_equal(drawn[150, 300], drawn[50, 104])


@pytest.mark.parametrize("state", list(TrackingState))
def test_the_caption_has_a_colour_for_each_state(state: TrackingState) -> None:
    drawn = picture([], [], [], [], state=state, reason="0 matches, 12 needed · ünknown")
    assert drawn.shape[0] > SIZE[0] and not painted(drawn).any()
    colours, counts = np.unique(drawn[SIZE[0] :].reshape(-1, 3), axis=0, return_counts=True)
    assert counts.max() > 0.7 * counts.sum() and len(colours) > 1
    others = {tuple(picture([], [], [], [], state=other)[-1, -1]) for other in TrackingState if other is not state}
    assert tuple(drawn[-1, -1]) not in others


def test_small_images_are_enlarged_about_pixel_centres() -> None:
    drawn = picture([(10.0, 20.0)], [(10.0, 20.0)], [(10.0, 20.0)], [True], size=(48, 160))
    assert drawn.shape[:2][1] == 640
    rows, columns = np.nonzero(painted(drawn, (192, 640)))
    assert (rows.mean(), columns.mean()) == (
        pytest.approx(4 * 20.5 - 0.5, abs=0.6),
        pytest.approx(4 * 10.5 - 0.5, abs=0.6),
    )


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_odd_sizes_are_drawn_without_growing_beyond_measure(size: tuple[int, int]) -> None:
    assert (
        picture([(0.0, 0.0)], [(1e9, -1e9)], [(0.0, 0.0)], [True], size=size).size
        < 3 * 17 * (size[0] + 26) * size[1] + 3 * 26 * 4
    )


def test_of_thousands_of_matches_a_selection_is_drawn() -> None:
    columns, rows = np.meshgrid(np.arange(5, 640, 6.0), np.arange(5, 200, 6.0))
    places = list(zip(columns.ravel(), rows.ravel(), strict=True))
    assert len(places) > 3000
    share = painted(picture(places, places, places, [True] * len(places))).mean()
    assert 0.01 < share < 0.1
