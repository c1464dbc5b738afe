"""The one place that chooses between a ROS distribution's Python packages and our stand-ins for them.

The stand-ins serve machines where ROS 2 comes from PyPI, which has none of these packages, and where a package is
there but cannot work: a cv_bridge that was built for another numpy fails to import, and one of ROS 1 misreads
padded rows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

_STANDINS = "subpx_ros.ros.standins"


def distribution_or_standin(name: str, works: Callable[[ModuleType], bool] | None = None) -> ModuleType:
    with suppress(Exception):  # a binary package beside an incompatible numpy raises more than ImportError
        module = import_module(name)
        if works is None or works(module):
            return module
    return import_module(f"{_STANDINS}.{name}")


def reads_padded_rows(cv_bridge: ModuleType) -> bool:
    from sensor_msgs.msg import Image

    padded = Image(height=2, width=1, step=2, encoding="mono8", data=[10, 0, 20, 0])
    grey = cv_bridge.CvBridge().imgmsg_to_cv2(padded, desired_encoding="mono8")
    return bool(grey.tolist() == [[10], [20]])


_message_filters = distribution_or_standin("message_filters")
_tf2_ros = distribution_or_standin("tf2_ros")
_cv_bridge = distribution_or_standin("cv_bridge", reads_padded_rows)

Subscriber: Any = _message_filters.Subscriber
TimeSynchronizer: Any = _message_filters.TimeSynchronizer
ApproximateTimeSynchronizer: Any = _message_filters.ApproximateTimeSynchronizer
TransformBroadcaster: Any = _tf2_ros.TransformBroadcaster
StaticTransformBroadcaster: Any = _tf2_ros.StaticTransformBroadcaster
CvBridge: Any = _cv_bridge.CvBridge
