"""The rendered street: a stereo drive made of photographs, with exact poses, depth and correspondences."""

from subpx_ros.datasets.street.config import DisturbanceConfig, StreetConfig
from subpx_ros.datasets.street.correspondences import Correspondences, correspondences
from subpx_ros.datasets.street.drives import DRIVES, named_drive
from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence
from subpx_ros.datasets.street.sequence import KITTI_CAMERA, KITTI_RIG, StreetSequence
from subpx_ros.datasets.street.street import Street, View

__all__ = [
    "DRIVES",
    "KITTI_CAMERA",
    "KITTI_RIG",
    "Correspondences",
    "DisturbanceConfig",
    "Street",
    "StreetConfig",
    "StreetSequence",
    "View",
    "correspondences",
    "named_drive",
    "write_kitti_sequence",
]
