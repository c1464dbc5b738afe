"""The points that the current pose rests on, as a point cloud."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from subpx_ros.datatypes import Array, OdometryResult
from subpx_ros.geometry import transform_points
from subpx_ros.ros.messages import byte_array

_FIELDS = ("x", "y", "z", "intensity")


def landmarks_message(
    result: OdometryResult, image: NDArray[np.uint8], T_odom_optical: Array, header: Header
) -> PointCloud2:
    """Inliers with a depth in the current frame, in the odometry frame: x, y, z in metres, intensity 0 to 255.

    Args:
        result: of a frame that has a pose in metres.
        image: (H, W) uint8, its left or only image.
        T_odom_optical: (4, 4) its camera in the odometry frame of `header`.
        header: stamp of the frame, and the odometry frame.
    """
    kept = result.relative_pose.inliers & np.isfinite(result.points).all(axis=1)
    columns, rows = np.rint(result.matches.refined1[kept]).astype(np.intp).T
    height, width = image.shape
    grey = image[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    points = transform_points(T_odom_optical, result.points[kept])
    rows_of_cloud = np.column_stack([points, grey]).astype("<f4")
    step = 4 * len(_FIELDS)
    message = PointCloud2(header=header, height=1, width=len(points), point_step=step, row_step=step * len(points))
    message.fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(_FIELDS)
    ]
    message.is_dense = True
    message.data = byte_array(rows_of_cloud.view(np.uint8))
    return message
