"""A node under test: this process sends to it, hears everything that it says, and checks what must always hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from finite import non_finite
from geometry_msgs.msg import PoseWithCovariance
from listener import TIMEOUT_S, Listener
from nav_msgs.msg import Odometry, Path
from rclpy.context import Context
from sensor_msgs.msg import PointCloud2
from session import FAST, START_S
from shots import MakeShot, Shot
from tf2_msgs.msg import TFMessage

from subpx_ros.msg import OdometryStatus, RefinedMatches, RelativePose
from subpx_ros.ros.inputs import reliable_keep_all
from subpx_ros.ros.messages import stamp_to_ns
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.node_process import NodeProcess
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

STATUS, RELATIVE = f"{NODE_NAME}/status", f"{NODE_NAME}/relative_pose"
OUTPUTS: dict[str, type] = {
    "odom": Odometry,
    "path": Path,
    "/tf": TFMessage,
    "/diagnostics": DiagnosticArray,
    f"{NODE_NAME}/matches": RefinedMatches,
    f"{NODE_NAME}/landmarks": PointCloud2,
    RELATIVE: RelativePose,
    STATUS: OdometryStatus,
}
PERIOD_NS = 100_000_000


class Bench:
    """One node process and the camera that it looks through."""

    def __init__(self, context: Context, make_shot: MakeShot, parameters: dict[str, Any]) -> None:
        self._make_shot = make_shot
        self._index = 0
        self.stamp_ns = 1_000_000_000
        self.process = NodeProcess(FAST | {"reliable": True} | parameters)
        self.process.__enter__()
        self.listener = Listener(context, OUTPUTS)
        self.publishers = {
            topic: self.listener.node.create_publisher(type(message), topic, reliable_keep_all())
            for topic, message in make_shot(0, 0).items()
        }

    def wait_until_connected(self) -> None:
        self.wait(lambda: bool(self.statuses), "the first status of the node", START_S)
        self.wait(lambda: all(each.get_subscription_count() for each in self.publishers.values()), "subscriptions")

    def wait(self, condition: Any, what: str, timeout_s: float = TIMEOUT_S) -> None:
        def alive_and_met() -> bool:
            self.process.check()
            return bool(condition())

        try:
            self.listener.wait(alive_and_met, what, timeout_s)
        except AssertionError as error:
            told = [(each.state, each.reason) for each in self.statuses[-5:]]
            raise AssertionError(f"{error}; last states: {told}; its log: {self.process.last_words()}") from None

    @property
    def statuses(self) -> list[OdometryStatus]:
        """Since `begin`."""
        return self.listener.received[STATUS]

    @property
    def finished(self) -> int:
        """Sets that the node has answered for."""
        return max((each.frames_processed + each.frames_dropped for each in self.statuses), default=0)

    def shot(self) -> Shot:
        """The next good frame's messages."""
        self._index += 1
        self.stamp_ns += PERIOD_NS
        return self._make_shot(self._index, self.stamp_ns)

    def send(self, shot: Shot) -> None:
        """Publishes, and does not wait for anything."""
        for topic, message in shot.items():
            self.publishers[topic].publish(message)

    def play(self, shot: Shot) -> OdometryStatus:
        """Publishes a complete set and waits for the status that answers it."""
        done = self.finished
        count = len(self.statuses)
        self.send(shot)
        self.wait(lambda: self.finished > done, "an answer to a set of images")
        return next(each for each in self.statuses[count:] if each.frames_processed + each.frames_dropped > done)

    def begin(self) -> None:
        """Good frames until it tracks; then what was heard so far is forgotten."""
        for _ in range(4):
            if self.play(self.shot()).state == OdometryStatus.TRACKING:
                break
        else:
            raise AssertionError(f"it does not track good frames: {self.statuses[-1].reason}")
        latest = self.statuses[-1]
        self.check_outputs()
        for messages in self.listener.received.values():
            messages.clear()
        self.statuses.append(latest)

    def wait_for_reason(self, pattern: str) -> None:
        """Until a status since `begin` gives a reason that matches."""
        self.wait(lambda: any(re.search(pattern, each.reason) for each in self.statuses), f"a reason like '{pattern}'")

    def wait_for_diagnostics(self, pattern: str) -> None:
        """Until a diagnostic report since `begin` matches."""
        self.wait(lambda: re.search(pattern, self._diagnostics()), f"diagnostics like '{pattern}'")

    def _diagnostics(self) -> str:
        reports = [status for array in self.listener.received["/diagnostics"] for status in array.status]
        return "\n".join(
            " ".join([report.message, *(f"{pair.key}={pair.value}" for pair in report.values)]) for report in reports
        )

    def recover(self) -> None:
        """It tracks again with the third good frame at the latest."""
        answers = [self.play(self.shot()) for _ in range(3)]
        assert answers[-1].state == OdometryStatus.TRACKING, [(each.state, each.reason) for each in answers]
        self.wait(lambda: stamp_to_ns(answers[-1].header.stamp) in self.odometry_stamps(), "the odometry of it")

    def odometry_stamps(self) -> list[int]:
        return [stamp_to_ns(each.header.stamp) for each in self.listener.received["odom"]]

    def close(self) -> None:
        self.listener.close()
        self.process.__exit__()

    def check_outputs(self) -> None:
        """What holds whatever comes in: the node runs, numbers are finite, and no pose is made up."""
        self.process.check()
        received = self.listener.received
        assert not [
            name for topic, messages in received.items() for each in messages for name in non_finite(each, topic)
        ]
        states = {stamp_to_ns(each.header.stamp): each.state for each in self.statuses if each.stage_names}
        for odometry in received["odom"]:
            if states.get(stamp_to_ns(odometry.header.stamp)) == OdometryStatus.LOST:
                assert odometry.pose.covariance[0] == UNKNOWN_VARIANCE, "a lost pose that looks known"
        for relative in received[RELATIVE]:
            assert (relative.status == RelativePose.OK) == _is_pose(relative.pose), relative.reason


def _is_pose(pose: PoseWithCovariance) -> bool:
    turn = pose.pose.orientation
    length = turn.x**2 + turn.y**2 + turn.z**2 + turn.w**2
    return abs(length - 1.0) < 1e-6 and pose.covariance[0] >= 0.0


@contextmanager
def bench(context: Context, make_shot: MakeShot, parameters: dict[str, Any]) -> Iterator[Bench]:
    made = Bench(context, make_shot, parameters)
    try:
        made.wait_until_connected()
        yield made
    finally:
        made.close()
