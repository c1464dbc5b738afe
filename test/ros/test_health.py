"""The state that the node claims, over processed, refused and missing images."""

from __future__ import annotations

import pytest

from subpx_ros.datatypes import TrackingState
from subpx_ros.ros.health import Health

INITIALISING, TRACKING, DEGRADED, LOST = TrackingState


def test_before_the_first_good_pose_nothing_is_lost() -> None:
    health = Health()
    health.silent()
    assert (health.state, health.since_good_s(), health.last_good_ns) == (INITIALISING, None, None)
    health.refused(5)
    health.processed(6, INITIALISING, located=True, restarted=False)
    assert (health.state, health.since_good_s(6)) == (INITIALISING, None)


@pytest.mark.parametrize("good", [TRACKING, DEGRADED])
def test_a_good_pose_counts_from_its_stamp(good: TrackingState) -> None:
    health = Health()
    health.processed(2_000_000_000, good, located=True, restarted=False)
    assert (health.state, health.since_good_s(2_000_000_000)) == (good, 0.0)
    health.processed(2_500_000_000, LOST, located=False, restarted=False)
    assert (health.state, health.since_good_s(2_500_000_000)) == (LOST, 0.5)
    health.processed(2_600_000_000, DEGRADED, located=False, restarted=False)
    assert (health.state, health.last_good_ns) == (DEGRADED, 2_000_000_000)


def test_refused_images_lose_the_pose_unless_their_instant_has_one() -> None:
    health = Health()
    health.processed(2_000_000_000, TRACKING, located=True, restarted=False)
    health.refused(2_000_000_000)
    assert health.state is TRACKING
    health.refused(2_100_000_000)
    assert health.state is LOST and health.since_good_s(2_100_000_000) == pytest.approx(0.1)


def test_while_silent_and_for_old_stamps_the_clock_counts() -> None:
    health = Health()
    health.processed(2_000_000_000, TRACKING, located=True, restarted=False)
    health.silent()
    assert health.state is LOST
    for stamp in (None, 1_000_000_000):
        since = health.since_good_s(stamp)
        assert since is not None and 0.0 <= since < 60.0


def test_a_new_start_forgets_the_poses_before() -> None:
    health = Health()
    health.processed(2_000_000_000, TRACKING, located=True, restarted=False)
    health.processed(1_000_000_000, INITIALISING, located=True, restarted=True)
    assert (health.state, health.since_good_s(1_000_000_000)) == (INITIALISING, None)
    health.silent()
    assert health.state is INITIALISING
