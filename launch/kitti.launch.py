"""Plays KITTI, a sequence folder or a rosbag2, through the node, with RViz beside it.

player:=subpx (the default) plays every frame into a node of its own, as fast as rate says, and ends with the trajectory,
a picture and, where the truth is known, the drift. player:=ros2bag starts the node of odometry.launch.py and then
`ros2 bag play`, as with a recording of your own. Both publish /clock.
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackagePrefix

from subpx_ros.config import DEVICES, NODE_MODES, REFINERS
from subpx_ros.errors import ConfigError

SHARE = Path(__file__).parents[1]
ARGUMENTS = {
    "source": (None, "KITTI sequence folder (calib.txt, image_0/) or rosbag2.", None),
    "player": (
        "subpx",
        "Who plays: subpx (every frame, figures at the end) or ros2bag (a rosbag2 only).",
        ["subpx", "ros2bag"],
    ),
    "rate": ("1.0", "Speed relative to the recording; for subpx 0 is as fast as the node can.", None),
    "out": ("kitti_run", "subpx: folder for poses, trajectory, picture and summary.", None),
    "mode": ("", "Cameras to use; by default subpx takes what there is, ros2bag stereo.", ["", *NODE_MODES]),
    "preset": ("", "Named set of settings; by default what the device can do.", None),
    "refiner": ("", "Refiner of matched keypoints.", ["", *REFINERS]),
    "device": ("", "Where the networks run.", ["", *DEVICES]),
    "camera": (
        "",
        "ros2bag: topic names of the bag, such as kitti_raw or kitti_odometry; by default those of `subpx bag`.",
        None,
    ),
    "rviz": ("true", "Start RViz: true or false. The launch goes on until it is closed.", ["true", "false"]),
}
PASSED_ON = ("mode", "preset", "refiner", "device")


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, (default, text, choices) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    wanted = {name: given[name] for name in PASSED_ON if given[name]}
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["--display-config", str(SHARE / "config" / "subpx.rviz")],
        parameters=[{"use_sim_time": True}],
        on_exit=Shutdown(),
    )
    shown = [rviz] if given["rviz"] == "true" else []
    on_exit = None if shown else Shutdown()
    if given["player"] == "subpx":
        return [*shown, _replay(context, given, wanted, on_exit)]
    return [*shown, *_bag_play(given, wanted, on_exit)]


def _replay(
    context: LaunchContext, given: dict[str, str], wanted: dict[str, str], on_exit: Shutdown | None
) -> ExecuteProcess:
    program = Path(FindPackagePrefix("subpx_ros").perform(context), "lib", "subpx_ros", "subpx")
    options = [word for name, value in wanted.items() for word in (f"--{name}", value)]
    return ExecuteProcess(
        cmd=[str(program), "replay", given["source"], "--out", given["out"], "--rate", given["rate"], *options],
        # Without it the player would choose a domain of its own, apart from RViz.
        additional_env={"ROS_DOMAIN_ID": EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")},
        output="screen",
        emulate_tty=True,
        on_exit=on_exit,
    )


def _bag_play(given: dict[str, str], wanted: dict[str, str], on_exit: Shutdown | None) -> list[LaunchDescriptionEntity]:
    """The node, and `ros2 bag play` as soon as it is active, when its status comes: what is played earlier is lost."""
    if (Path(given["source"]) / "calib.txt").is_file():
        raise ConfigError(
            f"{given['source']} is a sequence folder: player:=ros2bag needs a rosbag2, `subpx bag` makes one"
        )
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "odometry.launch.py")),
        launch_arguments=[
            ("params_file", "kitti"),
            ("camera", given["camera"]),
            ("rviz", "false"),
            *wanted.items(),
        ],
    )
    play = ExecuteProcess(
        cmd=["ros2", "bag", "play", given["source"], "--clock", "100", "--rate", given["rate"]],
        output="screen",
        on_exit=on_exit,
    )
    status = ["/subpx_odometry/status", "subpx_ros/msg/OdometryStatus"]
    active = ExecuteProcess(cmd=["ros2", "topic", "echo", "--once", *status], output="log")
    return [RegisterEventHandler(OnProcessExit(target_action=active, on_exit=[play])), active, node]
