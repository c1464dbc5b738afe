"""Another odometry of the robot as it was recorded: a trajectory file, or a topic of the bag that has the images."""

from __future__ import annotations

from pathlib import Path

from subpx_ros.console import note
from subpx_ros.datasets import Sequence
from subpx_ros.datasets.bag_reader import BagReader, is_bag
from subpx_ros.datasets.bag_topics import ODOMETRY, choose_streams
from subpx_ros.datasets.odometry_messages import sample_from_odometry
from subpx_ros.datasets.rosbag import camera_in
from subpx_ros.datatypes import Array
from subpx_ros.errors import ConfigError, DataError
from subpx_ros.evaluation.trajectories import read_trajectory
from subpx_ros.frames import T_BODY_OPTICAL, base_from_optical
from subpx_ros.scale import OtherOdometry
from subpx_ros.scale.other_odometry import Sample


def recorded_odometry(name: str, source: str, sequence: Sequence, camera_in_base: str | None) -> OtherOdometry:
    """All its poses.

    Args:
        name: a TUM file (stamp tx ty tz qx qy qz qw) of the robot in robot axes, x forward, or a topic of the bag.
        source: what the sequence was opened from.
        sequence: the images, of one camera.
        camera_in_base: 'x y z roll pitch yaw' of the camera's body axes on the robot; None: what the bag says, else the
            camera sits where the poses are of and looks forward.

    Raises:
        ConfigError: the sequence has more than one camera, or the camera's place cannot be read.
        DataError: there is no such file or topic, it is damaged, or it is of another time than the images.
    """
    if sequence.rig.mode != "mono":
        raise ConfigError(f"--scale-from is for one camera, and {source} has more: add --mode mono")
    given = None if camera_in_base is None else base_from_optical(camera_in_base)
    other = OtherOdometry(kept_s=float("inf"))
    if Path(name).is_file():
        stamps = _add_file(other, Path(name))
        found = None
    else:
        stamps, found = _add_topic(other, name, Path(source))
    mount = given if given is not None else found
    if mount is None:
        note(
            f"{name}: the camera is taken to sit where its poses are of, looking forward; --camera-in-base says otherwise"
        )
    other.mount = T_BODY_OPTICAL if mount is None else mount
    if not (stamps and stamps[0] <= sequence.stamps_ns[-1] and stamps[-1] >= sequence.stamps_ns[0]):
        raise DataError(
            f"{name} must be of the time of the images, {sequence.stamps_ns[0]} to {sequence.stamps_ns[-1]} ns"
        )
    return other


def _add_file(other: OtherOdometry, path: Path) -> list[int]:
    trajectory = read_trajectory(path)
    if trajectory.stamps_ns is None:
        raise DataError(f"{path} must have stamps (TUM: stamp tx ty tz qx qy qz qw); KITTI rows have none")
    for stamp_ns, pose in zip(trajectory.stamps_ns, trajectory.poses, strict=True):
        other.add(Sample(stamp_ns, pose))
    return list(trajectory.stamps_ns)


def _add_topic(other: OtherOdometry, topic: str, source: Path) -> tuple[list[int], Array | None]:
    """Stamps, and where the camera is on what is tracked."""
    if not source.exists() or not is_bag(source):
        raise DataError(
            f"--scale-from takes a file of poses, or a topic where the images come from a bag; got '{topic}'"
        )
    bag = BagReader(source)
    try:
        connections = [each for each in bag.connections if each.topic == topic and each.msgtype == ODOMETRY]
        if not connections:
            known = sorted({each.topic for each in bag.connections if each.msgtype == ODOMETRY})
            raise DataError(f"{source} has no odometry on {topic}; it has some on: {', '.join(known) or 'no topic'}")
        stamps, child_frame, refused = [], "", ""
        for connection, _, raw in bag.messages(connections):
            message = bag.decode(raw, connection)
            child_frame = message.child_frame_id
            try:
                sample = sample_from_odometry(message)
                refused = other.add(sample)
            except DataError as error:
                refused = str(error)
            else:
                stamps.append(sample.stamp_ns)
            if refused:
                note(f"{topic}: {refused}")
        streams = choose_streams(bag.connections, "mono", source)
        return stamps, camera_in(bag, streams, child_frame) if child_frame else None
    finally:
        bag.close()
