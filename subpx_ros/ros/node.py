"""The managed node `subpx_odometry`: what its lifecycle transitions do, and serving it.

A callback stores the newest set of images; the worker converts, tracks and publishes. Models are loaded by
`configure`, before anything is subscribed; `activate` subscribes. One thread loads the models and runs them for as long
as the node exists: OpenMP keeps threads for each thread that ever called it, and with two such sets on the same cores
every operation waits for the system to wake its threads up.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import get_default_context
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from subpx_ros.datatypes import Frame
from subpx_ros.errors import SubpxError
from subpx_ros.ros.diagnostics import Diagnostics
from subpx_ros.ros.extrinsics import Extrinsics
from subpx_ros.ros.inputs import Inputs
from subpx_ros.ros.intake import Intake
from subpx_ros.ros.messages import ImageSet, frame_from_messages
from subpx_ros.ros.outputs import Outputs
from subpx_ros.ros.parameters import Effective, NodeParameters
from subpx_ros.ros.tracker import Tracker
from subpx_ros.ros.wheel_odometry import WheelOdometry, check_topics
from subpx_ros.ros.worker import Worker, converts_ahead
from subpx_ros.scale import OtherOdometry, metres_from

NODE_NAME = "subpx_odometry"

_HEARTBEAT_S = 0.5


class OdometryNode(LifecycleNode):
    """Visual odometry of the images it subscribes to. Raises ConfigError when a parameter is not valid."""

    def __init__(self, **options: Any) -> None:
        super().__init__(NODE_NAME, automatically_declare_parameters_from_overrides=True, **options)
        self._settings = NodeParameters(self)
        self._odometry_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="odometry")
        self._effective: Effective | None = None
        self._tracker: Tracker | None = None
        self._extrinsics: Extrinsics | None = None
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._other: OtherOdometry | None = None
        self._wheels: WheelOdometry | None = None
        self._worker: Worker | None = None
        self._heartbeat: Any = None
        self._reset_service = self.create_service(Trigger, "~/reset", self._reset)

    @property
    def autostart(self) -> bool:
        return self._settings.node_config.autostart

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._configure()
        except Exception as error:  # noqa: BLE001 - rclpy would keep a defect to itself
            cause = str(error) if isinstance(error, SubpxError) else traceback.format_exc()
            self.get_logger().error(f"cannot configure: {cause}")
            self._free()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def _configure(self) -> None:
        self._effective = effective = self._settings.freeze(self._reconfigure)
        from_wheels = effective.config.mode == "mono" and metres_from(effective.config.odometry) == "wheels"
        if from_wheels:
            check_topics(self)
        self._other = other = OtherOdometry() if from_wheels else None
        self._extrinsics = Extrinsics(self, effective.node, other_frames=from_wheels)
        self._outputs = Outputs(self, effective.node, self._extrinsics)
        self._tracker = tracker = self._odometry_thread.submit(Tracker, effective.config, self._say, other).result()
        names = tracker.names
        self._settings.show({"device": tracker.device, "refiner": names.refiner})
        self.get_logger().info(
            f"configured: {effective.config.mode}, {names.detector}, {names.matcher}, refiner {names.refiner}, "
            f"on {tracker.device}"
        )

    def _reconfigure(self, effective: Effective) -> None:
        """Live parameters changed, and were checked."""
        self._effective = effective
        if self._worker is not None:
            self._worker.reconfigure(effective)
        elif self._tracker is not None and self._outputs is not None:
            self._tracker.reconfigure(effective.config)
            self._outputs.reconfigure(effective.node)

    def _say(self, line: str) -> None:
        self.get_logger().info(line)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._effective is None or self._tracker is None or self._outputs is None or self._extrinsics is None:
            return TransitionCallbackReturn.ERROR
        done = super().on_activate(state)
        settings = self._effective.node
        self._tracker.forget()
        self._extrinsics.prepare()
        if self._other is not None:
            self._other.clear()
            self._wheels = WheelOdometry(self, settings, self._extrinsics, self._other)
        diagnostics = Diagnostics(self.get_fully_qualified_name().lstrip("/"), settings.diagnostics)
        self._worker = Worker(
            self._odometry_thread,
            self._tracker,
            self._outputs,
            diagnostics,
            Intake(settings.keep_all, converts_ahead(settings, self._tracker), partial(_convert, self._tracker)),
            self.get_logger(),
            self.context.ok,
            self._wheels,
        )
        self._inputs = Inputs(self, self._effective.config.mode, settings, self._worker.put)
        # Not the node's clock: simulated time stands still while nothing is played.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._heartbeat = self.create_timer(_HEARTBEAT_S, self._beat, clock=clock)
        self.get_logger().info("active: waiting for images")
        return done

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self.get_logger().info("inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> bool:
        """Configure and activate, as a lifecycle manager would. False when one of them failed, which was logged."""
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            return False
        return bool(self.trigger_activate() == TransitionCallbackReturn.SUCCESS)

    def stop(self) -> None:
        """Unsubscribes, and ends the worker after the frame that it is in."""
        if self._heartbeat is not None:
            self.destroy_timer(self._heartbeat)
            self._heartbeat = None
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._wheels is not None:
            self._wheels.close()
            self._wheels = None
        if self._extrinsics is not None:
            self._extrinsics.stop_waiting()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def _free(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        if self._extrinsics is not None:
            self._extrinsics.close()
        self._outputs = self._extrinsics = self._tracker = self._effective = None
        self._settings.thaw()

    def _beat(self) -> None:
        if self._worker is not None and self._inputs is not None:
            self._worker.beat(Header(stamp=self.get_clock().now().to_msg()), self._inputs.missing())

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._worker is None or self._tracker is None:
            response.message = "the node is not active"
            return response
        self._tracker.ask_reset()
        self.get_logger().info("reset on request")
        response.success = True
        response.message = "odometry starts again with the next frame"
        return response


def _convert(tracker: Tracker, images: ImageSet) -> Frame:
    """The frame, its images on their way to the GPU where there is one."""
    frame = frame_from_messages(images)
    tracker.begin_upload(frame)
    return frame


def run(args: list[str] | None, on_stop: Callable[[Callable[[], None]], None]) -> int:
    """Starts the node and serves until told to stop. Returns the exit code: 2 when it could not be started, which it said.

    Args:
        args: of the command line; None for those of the process.
        on_stop: given a function that ends the serving, which may be called from any thread.

    Raises:
        SubpxError: ROS refuses the arguments, or a parameter is not valid.
    """
    stop: Future[None] = Future()
    on_stop(lambda: stop.set_result(None))
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        first_line = str(error).partition("\n")[0]
        raise SubpxError(f"ROS 2 does not start with these arguments: {first_line}") from error
    try:
        node = OdometryNode()
        try:
            return _serve(node, stop)
        finally:
            node.stop()
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
        # Others forget this process now instead of when they have missed it for long.
        get_default_context().destroy()


def _serve(node: OdometryNode, stop: Future[None]) -> int:
    if node.autostart and not node.start():
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.spin_until_future_complete(stop)
    return 0
