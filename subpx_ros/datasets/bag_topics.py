"""Which topics of a bag are the cameras, by the end of their names under any prefix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection

from subpx_ros.errors import DataError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_STEREO_TOPICS = "left/image_rect, left/camera_info, right/image_rect and right/camera_info"
_RGBD_TOPICS = "image_rect, camera_info and depth/image_rect"
_MONO_TOPICS = "image_rect and camera_info"

_RECTIFIED = ("image_rect", "image_rect_gray", "image_rect_color", "image_rect_raw")
_UNRECTIFIED = ("image_raw", "image_mono", "image_color", "image")
"""Names of images below a camera's namespace, the preferred ones first; RealSense calls rectified ones image_rect_raw."""
_DEPTH_INSIDE = ("depth/image_rect", "depth/image_raw")
_DEPTH_BESIDE = (
    "depth_registered/image_rect",
    "depth_registered/image_raw",
    "depth_registered/image",
    "aligned_depth_to_color/image_raw",
    "depth/depth_registered",
    "depth/image",
    "stereo/image_raw",
)
"""Depth registered to a camera, below its namespace, and below the one around it: OpenNI, RealSense, ZED, TUM, OAK."""
_KITTI = re.compile(r"/camera_(gray|color)_(left|right)$")
"""kitti2bag and kitti2mcap call KITTI's rectified images image_raw, beside the distortion they had before."""


@dataclass(frozen=True)
class Streams:
    """One entry per camera, left first."""

    images: tuple[Connection, ...]
    infos: tuple[Connection, ...]
    depth: Connection | None
    rectify: bool
    """Whether the images are as the sensors took them."""
    truth: Connection | None
    static_transforms: Connection | None


@dataclass(frozen=True)
class _Camera:
    image: Connection
    rectified: bool


_Topics = dict[tuple[str, str], Connection]


def choose_streams(connections: Iterable[Connection], mode: str, path: Path) -> Streams:
    """The camera topics for `mode`, raw messages before compressed ones and rectified images before others.

    Args:
        connections: of the bag.
        mode: mono, stereo, rgbd, or auto: the first of stereo, rgbd and mono that there is.
        path: of the bag, for error messages.

    Raises:
        DataError: they are not there, or there are several to choose from; lists what is needed and what is there.
    """
    topics = {(connection.topic, connection.msgtype): connection for connection in connections}
    cameras = _cameras(topics)
    depths = {base: depth for base in cameras if (depth := _depth(base, topics)) and depth != cameras[base].image}
    cameras = {base: camera for base, camera in cameras.items() if camera.image not in depths.values()}
    pairs = {base: right for base in cameras if (right := _sibling(base)) in cameras}
    needed = {"stereo": (list(pairs), _STEREO_TOPICS), "rgbd": (list(depths), _RGBD_TOPICS)}
    if mode in needed and not needed[mode][0]:
        raise DataError(f"{path}: mode {mode} needs the topics {needed[mode][1]}, under any prefix; {_listed(topics)}")
    candidates = needed[mode][0] if mode in needed else list(pairs or depths or cameras)
    base = _only(candidates, topics, path)
    depth = depths.get(base) if mode == "rgbd" or (mode == "auto" and base not in pairs) else None
    bases = [base] if depth or mode == "mono" or base not in pairs else [base, pairs[base]]
    for each in bases:
        if (f"{each}/camera_info", CAMERA_INFO) not in topics:
            raise DataError(f"{path} needs the topic {each}/camera_info beside the images; {_listed(topics)}")
    return Streams(
        images=tuple(cameras[each].image for each in bases),
        infos=tuple(topics[f"{each}/camera_info", CAMERA_INFO] for each in bases),
        depth=depth,
        rectify=not all(cameras[each].rectified for each in bases),
        truth=_truth(topics, path),
        static_transforms=topics.get(("/tf_static", TRANSFORMS)),
    )


def _only(candidates: list[str], topics: _Topics, path: Path) -> str:
    """The one camera, or left one of a pair; a grey one before the same in colour."""
    chosen = [base for base in candidates if not _in_grey(base) & set(candidates)]
    if not chosen:
        raise DataError(
            f"{path} needs the topics {_STEREO_TOPICS}, or {_MONO_TOPICS}, under any prefix; {_listed(topics)}"
        )
    if len(chosen) > 1:
        raise DataError(f"{path} must hold one camera or one stereo pair; it has several: {', '.join(sorted(chosen))}")
    return chosen[0]


def _in_grey(base: str) -> set[str]:
    return {base.replace("color", grey) for grey in ("gray", "grey", "mono")} - {base}


def _cameras(topics: _Topics) -> dict[str, _Camera]:
    """Namespace to its best images."""
    found: dict[str, _Camera] = {}
    for name in (*_RECTIFIED, *_UNRECTIFIED):
        for ending, kind in ((name, IMAGE), (f"{name}/compressed", COMPRESSED)):
            for (topic, msgtype), connection in sorted(topics.items()):
                base = topic.removesuffix(f"/{ending}")
                if msgtype == kind and base != topic and "depth" not in base.rpartition("/")[2]:
                    rectified = name in _RECTIFIED or bool(_KITTI.search(base))
                    found.setdefault(base, _Camera(connection, rectified))
    return found


def _depth(base: str, topics: _Topics) -> Connection | None:
    """Of the camera in the namespace `base`."""
    around = base.rpartition("/")[0]
    for name in (*(f"{base}/{each}" for each in _DEPTH_INSIDE), *(f"{around}/{each}" for each in _DEPTH_BESIDE)):
        for topic, kind in ((name, IMAGE), (f"{name}/compressedDepth", COMPRESSED)):
            if (topic, kind) in topics:
                return topics[topic, kind]
    return None


def _sibling(base: str) -> str | None:
    """The right camera of a left one; None of any other."""
    around, slash, name = base.rpartition("/")
    right = re.sub(r"(^|_)left($|_)", r"\1right\2", name.replace("infra1", "infra2"))
    return None if right == name else f"{around}{slash}{right}"


def _truth(topics: _Topics, path: Path) -> Connection | None:
    found = [topics[key] for key in sorted(topics) if key[1] == ODOMETRY and key[0].endswith("/ground_truth/odom")]
    if len(found) > 1:
        raise DataError(f"{path} must hold one ground truth; it has {', '.join(each.topic for each in found)}")
    return found[0] if found else None


def _listed(topics: _Topics) -> str:
    if not topics:
        return "the bag has no topics"
    names = [f"{name} ({kind.rpartition('/')[2]})" for name, kind in sorted(topics)]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"the bag has {shown}"
