"""The ROS 2 side of the package: the only folder that imports rclpy and message classes."""

from __future__ import annotations

from subpx_ros.errors import SubpxError

try:
    import rclpy  # noqa: F401
except ImportError as error:
    raise SubpxError(
        f"ROS 2 is needed for this, and rclpy does not import ({error}): source the setup file of a ROS 2 "
        "distribution, or install this package with pip, which brings ROS 2 along"
    ) from error
try:
    import subpx_ros.msg  # noqa: F401
except ImportError as error:
    raise SubpxError(
        f"the messages of subpx_ros do not import ({error}): build the package with colcon, or install it with "
        "pip install ."
    ) from error
