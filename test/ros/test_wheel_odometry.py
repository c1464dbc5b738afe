"""One camera's metres from wheel odometry, over real DDS: heard, placed on the robot, refused, missing, named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listener import Listener
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.parameter import Parameter
from session import LOSSLESS, Session, position, start
from std_msgs.msg import Header

from subpx_ros.datasets.street import StreetConfig, StreetSequence
from subpx_ros.datatypes import Array, Camera, Frame, Rig
from subpx_ros.frames import odom_from_camera_path
from subpx_ros.geometry import invert, rotation_from_vector, se3
from subpx_ros.msg import OdometryStatus, RelativePose
from subpx_ros.ros.distro import StaticTransformBroadcaster
from subpx_ros.ros.inputs import reliable_keep_all
from subpx_ros.ros.messages import stamp_from_ns
from subpx_ros.ros.node import OdometryNode
from subpx_ros.ros.results import pose_message, transform_message
from subpx_ros.whereabouts import UNKNOWN_VARIANCE

CAMERA = Camera(230.0, 230.0, 159.5, 79.5, 320, 160)
MONO = Rig(CAMERA)
FRAMES = 6
TENTH_NS = 100_000_000
T_FOOT_BASE = se3(rotation_from_vector(np.array([0.0, 0.0, 0.3])), np.array([-0.4, 0.1, 0.2]))
"""base_footprint lies behind, below and turned against base_link, where the player's camera is."""
PARAMETERS = {"mode": "mono", "odometry.wheel_odometry": True, **LOSSLESS}


@pytest.fixture(scope="module")
def street() -> StreetSequence:
    return StreetSequence(StreetConfig(seed=3, length_m=50.0, speed_m=0.5), frames=FRAMES, rig=Rig(CAMERA, CAMERA, 0.5))


@pytest.fixture(scope="module")
def way(street: StreetSequence) -> Array:
    """(N, 4, 4) of base_link."""
    assert street.truth is not None
    return odom_from_camera_path(street.truth)


class Wheels:
    """Speaks on wheel_odom of a running node and reads its diagnostics."""

    def __init__(self, context: Context, session: Session) -> None:
        self.session = session
        self.ears = Listener(context, {"/diagnostics": DiagnosticArray})
        self._publisher: Any = self.ears.node.create_publisher(Odometry, "wheel_odom", reliable_keep_all())
        self._static = StaticTransformBroadcaster(self.ears.node)
        self.sent = 0
        self.ears.wait(lambda: self._publisher.get_subscription_count() > 0, "the subscription")

    def place(self) -> None:
        self._static.sendTransform(transform_message(T_FOOT_BASE, Header(frame_id="base_footprint"), "base_link"))

    def say(self, stamp_ns: int, T_odom_foot: Array, **changes: Any) -> None:
        message = Odometry(header=Header(stamp=stamp_from_ns(stamp_ns), frame_id="wheels"))
        message.child_frame_id = "base_footprint"
        message.pose.pose = pose_message(T_odom_foot)
        for name, value in changes.items():
            setattr(message.header.stamp if name == "sec" else message.pose.pose.position, name, value)
        self._publisher.publish(message)
        self.sent += 1

    def tracking(self) -> DiagnosticStatus:
        """The entry of /diagnostics once every message sent so far was heard."""
        received = self.ears.received["/diagnostics"]
        received.clear()

        def entries() -> list[DiagnosticStatus]:
            every = [status for array in received for status in array.status if status.name.endswith(": tracking")]
            return [status for status in every if value(status, "wheel odometry received") == str(self.sent)]

        self.ears.wait(lambda: bool(entries()), f"diagnostics of {self.sent} messages")
        return entries()[0]


def value(status: DiagnosticStatus, key: str) -> str:
    return next((str(each.value) for each in status.values if each.key == key), "")


@pytest.fixture(scope="module")
def running(context: Context) -> Iterator[Session]:
    yield from start(context, PARAMETERS, MONO)


@pytest.fixture(scope="module")
def wheels(context: Context, running: Session) -> Iterator[Wheels]:
    made = Wheels(context, running)
    made.place()
    yield made
    made.ears.close()


def frames(street: StreetSequence, begin_ns: int) -> list[Frame]:
    return [Frame(begin_ns + index * TENTH_NS, seen.image, MONO) for index, seen in enumerate(street)]


def test_the_odometry_is_in_metres(session: Session, wheels: Wheels, street: StreetSequence, way: Array) -> None:
    begin_ns = 100 * 10**9
    for index, T_odom_base in enumerate(way):
        wheels.say(begin_ns + index * TENTH_NS, T_FOOT_BASE @ T_odom_base @ invert(T_FOOT_BASE))
    heard = wheels.tracking()
    assert value(heard, "wheel odometry refused") == "0" and "wheel odometry" not in heard.message
    drive = frames(street, begin_ns)
    session.play(*drive)
    stamps = [each.stamp_ns for each in drive]
    session.wait(
        lambda: set(stamps) <= set(session.player.odometry) and set(stamps) <= set(session.player.relative_poses)
    )
    for stamp in stamps[1:]:
        relative, status = session.player.relative_poses[stamp], session.player.status[stamp]
        assert (relative.status, relative.metric, relative.reason) == (RelativePose.OK, True, ""), status.reason
        assert status.state == OdometryStatus.TRACKING
    last = session.player.odometry[stamps[-1]]
    assert np.linalg.norm(position(last) - way[-1, :3, 3]) < 0.03 * 0.5 * (FRAMES - 1)
    assert np.diag(last.pose.covariance.reshape(6, 6)).max() < 1.0


def test_bad_messages_are_refused_and_frames_without_metres_say_so(
    session: Session, wheels: Wheels, street: StreetSequence, way: Array
) -> None:
    begin_ns = 10 * 10**9  # earlier than the test before: time went back, as in a recording that loops
    poses = [T_FOOT_BASE @ T_odom_base @ invert(T_FOOT_BASE) for T_odom_base in way]
    wheels.say(begin_ns, poses[0])
    assert "its stamps went back by" in wheels.tracking().message
    wheels.say(begin_ns - TENTH_NS, poses[0])
    wheels.say(begin_ns, poses[0], sec=-3)
    wheels.say(begin_ns + TENTH_NS, poses[1], x=float("nan"))
    heard = wheels.tracking()
    assert value(heard, "wheel odometry refused") == "3" and heard.level == DiagnosticStatus.WARN
    assert "wheel odometry: its pose: a position within" in heard.message
    drive = frames(street, begin_ns)
    session.play(*drive[:3])
    status = session.player.status[drive[2].stamp_ns]
    assert status.state == OdometryStatus.DEGRADED
    assert "the length of the motion is not known: wheel odometry: it ends 0.200 s before a frame" in status.reason
    assert "the last one was refused: its pose: a position within" in status.reason
    session.wait(lambda: drive[2].stamp_ns in session.player.odometry)
    session.wait(lambda: drive[2].stamp_ns in session.player.relative_poses)
    relative, odometry = (kept[drive[2].stamp_ns] for kept in (session.player.relative_poses, session.player.odometry))
    assert (relative.status, relative.metric) == (RelativePose.OK, False) and "not known" in relative.reason
    assert position(odometry).tolist() == [0.0, 0.0, 0.0], "nothing is made up"
    assert np.diag(odometry.pose.covariance.reshape(6, 6)).tolist() == [UNKNOWN_VARIANCE] * 6
    assert np.diag(odometry.twist.covariance.reshape(6, 6)).min() >= UNKNOWN_VARIANCE
    for index, pose in enumerate(poses[1:], start=1):
        wheels.say(begin_ns + index * TENTH_NS, pose)
    wheels.tracking()
    session.play(*drive[3:])
    last = drive[-1].stamp_ns
    session.wait(lambda: last in session.player.odometry)
    assert session.player.status[last].state == OdometryStatus.TRACKING
    assert np.linalg.norm(position(session.player.odometry[last]) - way[-1, :3, 3]) < 0.04 * 0.5 * (FRAMES - 1)


def test_a_node_does_not_listen_to_itself(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    given = PARAMETERS | {"preset": "sift", "refiner": "none", "device": "cpu", "autostart": False}
    node = OdometryNode(
        context=context,
        use_global_arguments=False,
        cli_args=["--ros-args", "-r", "wheel_odom:=odom"],
        parameter_overrides=[Parameter(name, value=each) for name, each in given.items()],
    )
    try:
        assert not node.start()
    finally:
        node.destroy_node()
    assert "wheel_odom and the node's own odom are both /odom" in "".join(capfd.readouterr())
