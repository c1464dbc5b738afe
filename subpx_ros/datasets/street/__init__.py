"""The rendered street: a stereo drive made of photographs, with exact poses, depth and correspondences."""

from subpx_ros.datasets.street.config import StreetConfig
from subpx_ros.datasets.street.correspondences import Correspondences, correspondences
from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence
from subpx_ros.datasets.street.sequence import KITTI_CAMERA, KITTI_RIG, StreetSequence
from subpx_ros.datasets.street.street import Street, View

__all__ = [
    "KITTI_CAMERA",
    "KITTI_RIG",
    "Correspondences",
    "Street",
    "StreetConfig",
    "StreetSequence",
    "View",
    "correspondences",
    "write_kitti_sequence",
]
