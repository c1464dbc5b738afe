"""The camera driver is killed and started again: the node says so both times, and tracks again."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess

import shots
from bench import STATUS
from listener import Listener
from rclpy.context import Context
from session import FAST, START_S

from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.node_process import NodeProcess

_PERIOD_S = 0.1


def drive() -> None:
    """A camera driver, until somebody kills it."""
    import rclpy
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data

    rclpy.init(args=[])
    node = Node("camera")
    publishers = {
        topic: node.create_publisher(type(message), topic, qos_profile_sensor_data)
        for topic, message in shots.stereo(0, 0).items()
    }
    index = 0
    while True:
        for topic, message in shots.stereo(index, time.time_ns()).items():
            publishers[topic].publish(message)
        index += 1
        time.sleep(_PERIOD_S)


def start_driver() -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=drive, daemon=True)
    process.start()
    return process


def test_kill_9_of_the_publisher(context: Context) -> None:
    listener = Listener(context, {STATUS: OdometryStatus})
    statuses: list[OdometryStatus] = listener.received[STATUS]
    with NodeProcess({**FAST, "reliable": False}):
        driver = start_driver()
        try:
            wait_for_tracking(listener, statuses)
            driver.kill()
            driver.join()
            listener.wait(lambda: statuses[-1].reason.startswith("nothing received"), "word of the silence")
            assert statuses[-1].state == OdometryStatus.LOST and statuses[-1].time_since_good_pose > 0.0
            statuses.clear()
            driver = start_driver()
            wait_for_tracking(listener, statuses)
            answers = [each for each in statuses if each.stage_names]
            states = [each.state for each in answers]
            assert states.index(OdometryStatus.TRACKING) < 3, [(each.state, each.reason) for each in answers]
            assert "gap" in answers[0].reason
        finally:
            driver.kill()
            driver.join()
            listener.close()


def wait_for_tracking(listener: Listener, statuses: list[OdometryStatus]) -> None:
    try:
        listener.wait(lambda: tracks(statuses), "tracking", 2 * START_S)
    except AssertionError as error:
        raise AssertionError(f"{error}; last states: {[(each.state, each.reason) for each in statuses[-5:]]}") from None


def tracks(statuses: list[OdometryStatus]) -> bool:
    return any(each.state == OdometryStatus.TRACKING for each in statuses)
