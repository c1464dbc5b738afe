"""Starts the visual-odometry node. `ros2 launch subpx_ros odometry.launch.py --show-args` lists the arguments."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

# Parameters of the node by the type of their value. An argument that is not given leaves the parameter to params_file.
TEXT_PARAMETERS = {
    "mode": "Cameras to use: mono or stereo.",
    "preset": "Named set of settings: auto, xfeat, aliked, superpoint, disk, dedode, sift or orb.",
    "refiner": "Refiner of matched keypoints: auto, none, keypt2subpx or subpx.",
    "device": "Where the networks run: auto, cpu or cuda.",
    "odom_frame": "Parent frame of odometry and of the transform.",
    "base_frame": "Robot frame (x forward, y left, z up).",
    "camera_in_base": "Left or only camera in base_frame: x y z roll pitch yaw (m, rad; camera axes forward, left, up).",
    "image_transport": "Form of the images: raw or compressed.",
}
SWITCH_PARAMETERS = {
    "autostart": "Configure and activate without waiting for a lifecycle manager: true or false.",
    "publish_tf": "Broadcast odom_frame to base_frame on /tf: true or false.",
    "use_sim_time": "Take the time from /clock, for recordings and simulations: true or false.",
}


def generate_launch_description() -> LaunchDescription:
    default_file = PathJoinSubstitution([FindPackageShare("subpx_ros"), "config", "odometry.yaml"])
    descriptions = TEXT_PARAMETERS | SWITCH_PARAMETERS
    return LaunchDescription(
        [
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics."),
            DeclareLaunchArgument("params_file", default_value=default_file, description="YAML file of parameters."),
            *(DeclareLaunchArgument(name, default_value="", description=text) for name, text in descriptions.items()),
            OpaqueFunction(function=start_node),
        ]
    )


def start_node(context: LaunchContext) -> list[Node]:
    """The node, with the arguments that were given over the parameter file."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (*TEXT_PARAMETERS, *SWITCH_PARAMETERS)}
    parameters = {name: _value(name, text) for name, text in given.items() if text}
    return [
        Node(
            package="subpx_ros",
            executable="odometry_node",
            name="subpx_odometry",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), parameters],
            output="screen",
            emulate_tty=True,
        )
    ]


def _value(name: str, text: str) -> str | bool:
    if name in TEXT_PARAMETERS:
        return text
    if text.lower() not in ("true", "false"):
        raise ValueError(f"launch argument '{name}' takes true or false; got '{text}'")
    return text.lower() == "true"
