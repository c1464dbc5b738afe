"""Writes the parts of docs/ros.md and of the SROS2 policy that describe the interface, as the code has it.

    .venv/bin/python -m tools.ros_reference

Topics, services and their QoS are asked of the node itself, which is made here for every mode; parameters, states and
limits come from the settings and messages. What the code cannot know, one sentence for each topic and service, stands
below; one that is missing or too many is an error. A test compares the documents with this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from subpx_ros.config import NODE_MODES, PRESETS, DiagnosticsConfig
from subpx_ros.datasets.image_decoding import ENCODINGS
from subpx_ros.ros.inputs import TOPICS, input_topics, message_type
from subpx_ros.ros.node import NODE_NAME, OdometryNode
from subpx_ros.ros.node_process import ros_environment
from subpx_ros.ros.parameters import all_settings
from subpx_ros.settings import walk

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("docs/ros.md", "config/sros2_policy.xml")
ROBOT = "/robot"
"""Namespace of the node that is asked, which tells relative names from absolute ones."""

TEXTS = {
    "left/image_rect": "left image, rectified",
    "left/camera_info": "its calibration: intrinsics from P",
    "right/image_rect": "right image, rectified, of the same instant",
    "right/camera_info": "its calibration: the baseline from P",
    "image_rect": "the image, rectified",
    "camera_info": "its calibration",
    "depth/image_rect": "depth registered to the image: 16UC1 in mm or 32FC1 in m; 0, NaN and infinity are unknown",
    "wheel_odom": "with odometry.wheel_odometry: another odometry of the robot, which tells how far it moved",
    "/tf_static": "where the camera sits on the robot, unless camera_in_base says it",
    "odom": "pose of base_frame in odom_frame and velocity of base_frame, each with covariance; every frame",
    "path": "the poses so far, at most path_length; twice a second",
    "~/matches": "refined keypoints, offsets, scores and inliers of the frame and its reference",
    "~/relative_pose": "the camera in its reference, or why it is not known",
    "~/status": "state, reason, counts and times; every frame, and while no images come",
    "~/landmarks": "triangulated points of the frame; made while somebody subscribes",
    "~/match_image": "the image with its matches and what refinement moved; drawn while somebody subscribes",
    "~/match_image/compressed": "the same as JPEG",
    "/diagnostics": "rates, latencies, drops and memory, OK, WARN or ERROR; 1 Hz, and while no images come",
    "/tf": "odom_frame to base_frame with publish_tf; not while lost",
    "~/reset": "starts again at the origin with the next frame",
}
LIFECYCLE = {"change_state", "get_available_states", "get_available_transitions", "get_state", "get_transition_graph"}
PARAMETER_SERVICES = {
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
}
OUTSIDE_RCLPY = {"/rosout", "/parameter_events", "~/transition_event"}
"""Published by layers below, which node.publishers does not list."""
OF_EVERY_NODE = {"/rosout", "/parameter_events", "/clock", "~/get_type_description"}


@dataclass(frozen=True)
class Endpoint:
    """A topic or service by the name that remapping takes."""

    name: str
    kind: str
    qos: str = ""


@dataclass(frozen=True)
class Interface:
    subscriptions: tuple[Endpoint, ...]
    publishers: tuple[Endpoint, ...]
    services: tuple[Endpoint, ...]


def interface(mode: str, context: Context) -> Interface:
    """What an active node of that mode has, besides what every node has."""
    given: dict[str, Any] = {"mode": mode, "preset": "sift", "refiner": "none", "device": "cpu", "autostart": False}
    given["odometry.wheel_odometry"] = True
    node = OdometryNode(
        context=context,
        namespace=ROBOT,
        use_global_arguments=False,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    try:
        if not node.start():
            raise RuntimeError(f"the node does not start with {given}")
        return Interface(
            tuple(_endpoints((each.topic_name, each.msg_type, each.qos_profile) for each in node.subscriptions)),
            tuple(_endpoints((each.topic_name, each.msg_type, each.qos_profile) for each in node.publishers)),
            tuple(_endpoints((each.srv_name, each.srv_type, None) for each in node.services)),
        )
    finally:
        node.stop()
        node.destroy_node()


def _endpoints(found: Iterable[tuple[str, type, QoSProfile | None]]) -> Iterator[Endpoint]:
    for full_name, kind, qos in found:
        relative = full_name.removeprefix(f"{ROBOT}/")
        name = re.sub(f"^{NODE_NAME}/", "~/", relative)
        if name not in OF_EVERY_NODE:
            package = kind.__module__.partition(".")[0]
            yield Endpoint(name, f"{package}/{kind.__name__}", _qos_text(qos) if qos else "")


def _qos_text(qos: QoSProfile) -> str:
    words = [qos.reliability.name.lower().replace("_", " ")]
    if qos.durability.name == "TRANSIENT_LOCAL":
        words.append("transient local")
    words.append("keep all" if qos.history.name == "KEEP_ALL" else f"last {qos.depth}")
    return ", ".join(words)


def interfaces() -> dict[str, Interface]:
    """By mode, asked of nodes in a context of their own."""
    with ros_environment() as domain:
        context = Context()
        context.init([], domain_id=domain)
        try:
            return {mode: interface(mode, context) for mode in TOPICS}
        finally:
            context.try_shutdown()


def generated(found: dict[str, Interface]) -> dict[str, str]:
    """The generated parts by the names of their marks. Raises ValueError where a text is missing or has no topic."""
    everything = [each for one in found.values() for each in (*one.subscriptions, *one.publishers, *one.services)]
    names = {each.name for each in everything if each.name.rpartition("/")[2] not in LIFECYCLE | PARAMETER_SERVICES}
    if names != set(TEXTS):
        raise ValueError(f"TEXTS must describe {sorted(names)}; differing: {sorted(names ^ set(TEXTS))}")
    stereo = found["stereo"]
    return {
        "inputs": _inputs(found),
        "encodings": "Images may be " + ", ".join(ENCODINGS) + ".",
        "outputs": _table(
            ("topic", "type", "QoS", "what"),
            [(f"`{each.name}`", each.kind, each.qos, TEXTS[each.name]) for each in stereo.publishers],
        ),
        "services": _services(stereo),
        "parameters": _parameters(),
        "presets": _presets(),
        "parameter files": _files("config"),
        "cameras": _files("config/cameras"),
        "states": _states(),
        "limits": _settings_table(walk(DiagnosticsConfig(), "diagnostics.")),
        "policy": _policy(found),
    }


def _inputs(found: dict[str, Interface]) -> str:
    rows = [
        (mode, f"`{each.name}`", each.kind, each.qos, TEXTS[each.name])
        for mode, one in found.items()
        for each in one.subscriptions
        if each.name != "/tf_static"
    ]
    (static,) = {each for one in found.values() for each in one.subscriptions if each.name == "/tf_static"}
    rows.append(("all", "`/tf_static`", static.kind, static.qos, TEXTS["/tf_static"]))
    return _table(("mode", "topic", "type", "QoS", "what"), rows)


def _services(one: Interface) -> str:
    own = [(f"`{each.name}`", each.kind, TEXTS[each.name]) for each in one.services if each.name in TEXTS]
    ends = {each.name.rpartition("/")[2] for each in one.services}
    rows = [
        ("`~/" + "`, `~/".join(sorted(ends & LIFECYCLE)) + "`", "lifecycle_msgs", "the managed node's states"),
        ("`~/" + "`, `~/".join(sorted(ends & PARAMETER_SERVICES)) + "`", "rcl_interfaces", "parameters"),
    ]
    return _table(("service", "type", "what"), own + rows)


def _parameters() -> str:
    return _settings_table(entry for entry in all_settings() if not entry[0].startswith("diagnostics."))


def _settings_table(settings: Iterable[tuple[str, Any, Any]]) -> str:
    rows = []
    for name, default, entry in settings:
        meta = entry.metadata
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        choices = NODE_MODES if name == "mode" else meta["choices"]
        allowed = ", ".join(choices) if choices else _range(meta["minimum"], meta["maximum"])
        live = "yes" if meta["live"] else ""
        rows.append((f"`{name}`", f"`{shown}`" if shown else "empty", meta["unit"], allowed, live, meta["doc"]))
    return _table(("parameter", "default", "unit", "allowed", "live", "what"), rows)


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None and maximum is None:
        return ""
    ends = ("" if end is None else str(end) if isinstance(end, int) else f"{end:g}" for end in (minimum, maximum))
    return " … ".join(ends).strip()


def _presets() -> str:
    rows = []
    for name, values in PRESETS.items():
        flat = [f"{stage}.{key} = {value}" for stage, table in values.items() for key, value in table.items()]
        rows.append((f"`{name}`", ", ".join(flat)))
    return _table(("preset", "sets"), rows)


def _files(folder: str) -> str:
    """Each file with its first comment."""
    rows = []
    for path in sorted((ROOT / folder).glob("*.yaml")):
        if path.stem == "train":
            continue
        comment = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        rows.append((f"`{path.stem}`", comment.removeprefix(f"Parameters of the node {NODE_NAME} for ")))
    return _table(("name", "for"), rows)


def _states() -> str:
    text = (ROOT / "msg" / "OdometryStatus.msg").read_text(encoding="utf-8")
    return _table(
        ("state", "value", "meaning"), re.findall(r"^uint8 ([A-Z]+)=(\d+) +# (.+)$", text, flags=re.MULTILINE)
    )


def _policy(found: dict[str, Interface]) -> str:
    """The profile of the node for SROS2, of all modes and forms of images together."""
    subscribed = {each.name for one in found.values() for each in one.subscriptions} | {"/clock"}
    for mode in TOPICS:
        for topic in (*input_topics(mode), *input_topics(mode, rectify=True)):
            subscribed |= {topic, topic + message_type(topic, "compressed")[1]}
    published = {each.name for each in found["stereo"].publishers} | OUTSIDE_RCLPY
    services = {each.name for each in found["stereo"].services} | {"~/get_type_description"}
    parts = [
        _policy_part("services", "reply", "service", services),
        _policy_part("topics", "subscribe", "topic", subscribed),
        _policy_part("topics", "publish", "topic", published),
    ]
    return f'        <profile ns="/" node="{NODE_NAME}">\n' + "".join(parts) + "        </profile>"


def _policy_part(group: str, action: str, item: str, names: set[str]) -> str:
    lines = "".join(f"            <{item}>{name}</{item}>\n" for name in sorted(names))
    return f'          <{group} {action}="ALLOW">\n{lines}          </{group}>\n'


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def with_generated(text: str, parts: dict[str, str]) -> str:
    """The document with the parts between its marks renewed."""

    def renewed(match: re.Match[str]) -> str:
        return f"{match[1]}\n{parts[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- generated: ([a-z ]+) -->)\n.*?( *<!-- end of generated -->)", renewed, text, flags=re.DOTALL)


def main() -> None:
    parts = generated(interfaces())
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(with_generated(path.read_text(encoding="utf-8"), parts), encoding="utf-8")


if __name__ == "__main__":
    main()
