"""The managed node `subpx_odometry`: what its lifecycle transitions do, and the program around it.

A callback stores the newest set of images; the worker converts, tracks and publishes. Models are loaded by
`configure`, before anything is subscribed; `activate` subscribes.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from subpx_ros.errors import SubpxError
from subpx_ros.ros.inputs import Inputs
from subpx_ros.ros.outputs import Outputs
from subpx_ros.ros.parameters import Effective, NodeParameters
from subpx_ros.ros.tracker import Tracker
from subpx_ros.ros.worker import Worker

NODE_NAME = "subpx_odometry"

_HEARTBEAT_S = 0.5
_STOP_S = 1.5


class OdometryNode(LifecycleNode):
    """Visual odometry of the images it subscribes to. Raises ConfigError when a parameter is not valid."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NODE_NAME, automatically_declare_parameters_from_overrides=True, **options)
        self._settings = NodeParameters(self)
        self._effective: Effective | None = None
        self._tracker: Tracker | None = None
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._worker: Worker | None = None
        self._heartbeat: Any = None
        self._reset_service = self.create_service(Trigger, "~/reset", self._reset)

    @property
    def autostart(self) -> bool:
        return self._settings.node_config.autostart

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._configure()
        except SubpxError as error:
            self.get_logger().error(f"cannot configure: {error}")
            self._free()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def _configure(self) -> None:
        self._effective = effective = self._settings.freeze()
        self._outputs = Outputs(self, effective.node)
        self._tracker = tracker = Tracker(effective.config, self._say)
        names = tracker.names
        self._settings.show({"device": tracker.device, "refiner": names.refiner})
        self.get_logger().info(
            f"configured: {effective.config.mode}, {names.detector}, {names.matcher}, refiner {names.refiner}, "
            f"on {tracker.device}"
        )

    def _say(self, line: str) -> None:
        self.get_logger().info(line)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._effective is None or self._tracker is None or self._outputs is None:
            return TransitionCallbackReturn.ERROR
        done = super().on_activate(state)
        settings = self._effective.node
        self._tracker.forget()
        self._worker = Worker(self._tracker, self._outputs, settings.keep_all, self.get_logger(), self.context.ok)
        self._worker.start()
        self._inputs = Inputs(self, self._effective.config.mode, settings, self._worker.put)
        # Not the node's clock: simulated time stands still while nothing is played.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._heartbeat = self.create_timer(_HEARTBEAT_S, self._tell_silence, clock=clock)
        self.get_logger().info("active: waiting for images")
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self.get_logger().info("inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> bool:
        """Configure and activate, as a lifecycle manager would. False when one of them failed, which was logged."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            return False
        return bool(self.trigger_activate() == TransitionCallbackReturn.SUCCESS)

    def _stop(self, timeout_s: float | None = None) -> bool:
        """Unsubscribes and ends the worker. False when its frame took longer than the timeout."""
        if self._heartbeat is not None:
            self.destroy_timer(self._heartbeat)
            self._heartbeat = None
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        worker, self._worker = self._worker, None
        return worker is None or worker.stop(timeout_s)

    def _free(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._tracker = self._effective = None
        self._settings.thaw()

    def stop(self) -> bool:
        """Before the program ends. False when the worker is still in a frame and cannot be joined in time."""
        return self._stop(_STOP_S)

    def _tell_silence(self) -> None:
        if self._worker is not None and self._inputs is not None:
            header = Header(stamp=self.get_clock().now().to_msg())
            self._worker.publish_silence(header, self._inputs.missing())

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None or self._tracker is None:
            response.message = "the node is not active"
            return response
        self._tracker.ask_reset()
        self.get_logger().info("reset on request")
        response.success = True
        response.message = "odometry starts again with the next frame"
        return response


def main(args: list[str] | None = None) -> int:
    """Runs the node until it is told to stop. Returns the exit code: 0 after SIGINT or SIGTERM, 2 when it cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    node = None
    stopped = True
    code = 0
    try:
        _init(args)
        node = OdometryNode()
        code = _run(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SubpxError as error:
        print(f"{NODE_NAME}: {error}", file=sys.stderr)
        code = 2
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stopped = node is None or node.stop()
        if stopped:
            if node is not None:
                node.destroy_node()
            rclpy.try_shutdown()
    if not stopped:
        # The worker is inside a network: the interpreter cannot be torn down around it.
        sys.stderr.flush()
        os._exit(code)
    return code


def _init(args: list[str] | None) -> None:
    try:
        rclpy.init(args=args)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise SubpxError(f"ROS 2 does not start with these arguments: {first_line}") from error


def _run(node: OdometryNode) -> int:
    if node.autostart and not node.start():
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.spin()
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up of the first.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
