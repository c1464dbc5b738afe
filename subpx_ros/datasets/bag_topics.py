"""Which topics of a bag are the cameras, by the end of their names under any prefix."""

from __future__ import annotations

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
_MONO_TOPICS = "image_rect and camera_info"


@dataclass(frozen=True)
class Streams:
    """One entry per camera, left first."""

    images: tuple[Connection, ...]
    infos: tuple[Connection, ...]
    truth: Connection | None
    static_transforms: Connection | None


def choose_streams(connections: Iterable[Connection], mode: str, path: Path) -> Streams:
    """The camera topics for `mode` ("auto", "mono" or "stereo"), raw images before compressed ones.

    Raises:
        DataError: they are not there, or there are several to choose from; lists what is needed and what is there.
    """
    topics = {(connection.topic, connection.msgtype): connection for connection in connections}
    images = _image_topics(topics)
    pairs = sorted(base for base in images if _is_left(base) and _sibling(base) in images)
    if mode == "stereo" and not pairs:
        raise DataError(f"{path}: mode stereo needs the topics {_STEREO_TOPICS}, under any prefix; {_listed(topics)}")
    candidates = pairs or sorted(images)
    if not candidates:
        raise DataError(
            f"{path} needs the topics {_STEREO_TOPICS}, or {_MONO_TOPICS}, under any prefix; {_listed(topics)}"
        )
    if len(candidates) > 1:
        raise DataError(f"{path} must hold one camera or one stereo pair; it has several: {', '.join(candidates)}")
    bases = [candidates[0]]
    if pairs and mode != "mono":
        bases.append(_sibling(candidates[0]))
    for base in bases:
        if (f"{base}/camera_info", CAMERA_INFO) not in topics:
            raise DataError(f"{path} needs the topic {base}/camera_info beside the images; {_listed(topics)}")
    return Streams(
        images=tuple(images[base] for base in bases),
        infos=tuple(topics[f"{base}/camera_info", CAMERA_INFO] for base in bases),
        truth=_truth(topics, path),
        static_transforms=topics.get(("/tf_static", TRANSFORMS)),
    )


def _image_topics(topics: dict[tuple[str, str], Connection]) -> dict[str, Connection]:
    """Namespace to its image topic."""
    found: dict[str, Connection] = {}
    for ending, kind in (("/image_rect/compressed", COMPRESSED), ("/image_rect", IMAGE)):
        for (name, msgtype), connection in topics.items():
            if msgtype == kind and name.endswith(ending):
                found[name.removesuffix(ending)] = connection
    return found


def _is_left(base: str) -> bool:
    return base.rpartition("/")[2] == "left"


def _sibling(base: str) -> str:
    return base.removesuffix("left") + "right"


def _truth(topics: dict[tuple[str, str], Connection], path: Path) -> Connection | None:
    found = [topics[key] for key in sorted(topics) if key[1] == ODOMETRY and key[0].endswith("/ground_truth/odom")]
    if len(found) > 1:
        raise DataError(f"{path} must hold one ground truth; it has {', '.join(each.topic for each in found)}")
    return found[0] if found else None


def _listed(topics: dict[tuple[str, str], Connection]) -> str:
    if not topics:
        return "the bag has no topics"
    names = [f"{name} ({kind.rpartition('/')[2]})" for name, kind in sorted(topics)]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"the bag has {shown}"
