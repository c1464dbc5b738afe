"""Starts the visual-odometry node, and RViz with rviz:=true.

`ros2 launch subpx_ros odometry.launch.py --show-args` lists the arguments. Every setting that stands alone (no dot in
its name) is one of them; what is given beats params_file, which beats the camera's own parameters.
"""

from collections.abc import Iterator
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from subpx_ros.config import NODE_MODES, Config, NodeConfig, read_yaml_table
from subpx_ros.errors import ConfigError
from subpx_ros.settings import unknown_name, walk

CONFIG = Path(__file__).parents[1] / "config"


def known_files(folder: Path) -> dict[str, Path]:
    """Parameter files by their names, without those of the training."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.stem.startswith("train")}


PARAMETER_FILES, CAMERAS = known_files(CONFIG), known_files(CONFIG / "cameras")
SWITCH = ["true", "false"]
ARGUMENTS = {
    "namespace": ("", "Namespace of the node, its topics and RViz; one for each robot.", None),
    "params_file": (
        "odometry",
        f"YAML files of parameters, separated by commas, later ones stronger: paths, or names among {', '.join(PARAMETER_FILES)}.",
        None,
    ),
    "camera": ("", f"Topic names of a camera driver: path of a YAML file, or one of {', '.join(CAMERAS)}.", None),
    "camera_prefix": ("", "Where the driver's topics are when not where its own launch file puts them.", None),
    "remappings": ("", "Further remappings of the node, separated by spaces: from:=to from:=to.", None),
    "enclave": ("", "SROS2 enclave of the node.", None),
    "log_level": ("info", "Least severity that the node logs.", ["debug", "info", "warn", "error", "fatal"]),
    "rviz": ("false", "Start RViz too.", SWITCH),
    "rviz_config": (str(CONFIG / "subpx.rviz"), "Display configuration of RViz.", None),
}
SETTINGS = {
    name: (type(value), entry.metadata)
    for settings in (Config(), NodeConfig())
    for name, value, entry in walk(settings)
    if "." not in name
}
SIM_TIME = {"doc": "Take the time from /clock, for recordings and simulations.", "choices": None, "unit": ""}
PARAMETERS = SETTINGS | {"use_sim_time": (bool, SIM_TIME)}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
                for name, (default, text, choices) in ARGUMENTS.items()
            ),
            *(_declare_parameter(name, kind, metadata) for name, (kind, metadata) in PARAMETERS.items()),
            OpaqueFunction(function=start),
        ]
    )


def _declare_parameter(name: str, kind: type, metadata: dict) -> DeclareLaunchArgument:
    """An argument that is empty unless given, which leaves the parameter to params_file and the node's default."""
    choices = NODE_MODES if name == "mode" else metadata["choices"]
    choices = SWITCH if kind is bool else choices
    text = metadata["doc"] + (f" Unit: {metadata['unit']}." if metadata["unit"] else "")
    choices = ["", *choices] if choices else None
    return DeclareLaunchArgument(name, default_value="", description=text, choices=choices)


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node, and RViz where it is wanted."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*ARGUMENTS, *PARAMETERS)}
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if given[name]
    }
    files = [_parameter_file(name.strip()) for name in given["params_file"].split(",") if name.strip()]
    camera_topics, camera_parameters = _camera(given["camera"], given["camera_prefix"])
    log_level = ["--log-level", given["log_level"]]
    enclave = ["--enclave", given["enclave"]] if given["enclave"] else []
    node = Node(
        package="subpx_ros",
        executable="odometry_node",
        name="subpx_odometry",
        namespace=given["namespace"],
        parameters=[camera_parameters, *files, parameters],
        remappings=[*camera_topics, *_remappings(given["remappings"])],
        ros_arguments=[*log_level, *enclave],
        output="screen",
        emulate_tty=True,
    )
    fixed_frame = ["--fixed-frame", given["odom_frame"]] if given["odom_frame"] else []
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=given["namespace"],
        arguments=["--display-config", given["rviz_config"], *fixed_frame],
        parameters=[{name: value for name, value in parameters.items() if name == "use_sim_time"}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [node, rviz]


def _file(known: dict[str, Path], name: str) -> Path:
    """A file by its name or its path."""
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise ConfigError(f"there is no such file, and {unknown_name('name', name, list(known))}")
    return Path(name)


def _parameter_file(name: str) -> str:
    """Its path. ROS itself ignores a file that names another node without a word."""
    path = _file(PARAMETER_FILES, name)
    nodes = list(_nodes(read_yaml_table(path)))
    if not any(node.endswith(("*", "subpx_odometry")) for node in nodes):
        named = f"it is for {', '.join(nodes)}" if nodes else "it has none"
        raise ConfigError(f"{path} needs ros__parameters of subpx_odometry or of all nodes, /**; {named}")
    return str(path)


def _nodes(table: dict, prefix: str = "") -> Iterator[str]:
    """The names whose ros__parameters a parameter file holds."""
    for name, inner in table.items():
        if name == "ros__parameters":
            yield prefix
        elif isinstance(inner, dict):
            yield from _nodes(inner, f"{prefix}/{name}".replace("//", "/"))


def _camera(name: str, prefix: str) -> tuple[list[tuple[str, str]], dict]:
    """Remappings and parameters for a camera driver."""
    if not name:
        return [], {}
    path = _file(CAMERAS, name)
    content = read_yaml_table(path)
    for key in content:
        if key not in ("prefix", "topics", "parameters"):
            raise ConfigError(f"{path}: {unknown_name('entry', key, ['prefix', 'topics', 'parameters'])}")
    prefix = (prefix or content.get("prefix", "")).rstrip("/")
    topics = [(ours, f"{prefix}/{theirs}") for ours, theirs in content.get("topics", {}).items()]
    return topics, content.get("parameters", {})


def _remappings(text: str) -> list[tuple[str, str]]:
    pairs = [rule.partition(":=") for rule in text.split()]
    for source, _, target in pairs:
        if not (source and target):
            raise ConfigError(f"argument 'remappings' takes from:=to, several separated by spaces; got '{text}'")
    return [(source, target) for source, _, target in pairs]
