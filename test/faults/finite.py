"""Whether every number in a message is finite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

_FLOATS = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}


def non_finite(message: Any, where: str = "") -> list[str]:
    """The fields, by their path in the message, that hold a NaN or an infinity."""
    return [name for name, value in _numbers(message, where) if not np.all(np.isfinite(value))]


def _numbers(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, PointCloud2):
        for field in value.fields:
            if field.datatype in _FLOATS:
                rows = np.frombuffer(value.data, np.uint8).reshape(-1, value.point_step)
                kind = np.dtype(_FLOATS[field.datatype])
                column = rows[:, field.offset : field.offset + kind.itemsize]
                yield f"{where}.{field.name}", np.ascontiguousarray(column).view(kind)
    elif hasattr(value, "get_fields_and_field_types"):
        for name, kind in value.get_fields_and_field_types().items():
            if "int8" not in kind and "byte" not in kind:
                yield from _numbers(getattr(value, name), f"{where}.{name}")
    elif not isinstance(value, str | bytes) and hasattr(value, "__len__"):
        if getattr(value, "typecode", "") in ("f", "d") or isinstance(value, np.ndarray):
            yield where, np.asarray(value)
        else:
            for index, entry in enumerate(value):
                yield from _numbers(entry, f"{where}[{index}]")


def is_identity(pose: Any) -> bool:
    """Whether a geometry_msgs/Pose says 'did not move'."""
    position, turn = pose.position, pose.orientation
    return math.hypot(position.x, position.y, position.z) == 0.0 and turn.w == 1.0
