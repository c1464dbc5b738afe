"""Starts the visual-odometry node. `ros2 launch subpx_ros odometry.launch.py --show-args` lists the arguments."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("namespace", "", "Namespace of the node: its topics are relative to it."),
    ("mode", "stereo", "Cameras to use: mono or stereo."),
    ("preset", "auto", "Named set of settings: auto, xfeat, aliked or sift."),
    ("device", "auto", "Where the networks run: auto, cpu or cuda."),
    ("odom_frame", "odom", "Parent frame of odometry and of the transform."),
    ("base_frame", "base_link", "Robot frame (x forward, y left, z up)."),
    (
        "camera_in_base",
        "0 0 0 0 0 0",
        "Left or only camera in base_frame: x y z roll pitch yaw (m, rad), camera axes forward, left, up.",
    ),
    ("publish_tf", "true", "Broadcast odom_frame to base_frame on /tf."),
    ("image_transport", "raw", "Form of the images: raw or compressed."),
    ("use_sim_time", "false", "Take the time from /clock, for recordings and simulations."),
)
TEXTS = ("mode", "preset", "device", "odom_frame", "base_frame", "camera_in_base", "image_transport")
SWITCHES = ("publish_tf", "use_sim_time")


def generate_launch_description():
    default_file = PathJoinSubstitution([FindPackageShare("subpx_ros"), "config", "odometry.yaml"])
    parameters = {name: ParameterValue(LaunchConfiguration(name), value_type=str) for name in TEXTS}
    parameters |= {name: ParameterValue(LaunchConfiguration(name), value_type=bool) for name in SWITCHES}
    return LaunchDescription(
        [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
        + [
            DeclareLaunchArgument(
                "params_file",
                default_value=default_file,
                description="YAML file of further parameters; the arguments above take precedence over it.",
            ),
            Node(
                package="subpx_ros",
                executable="odometry_node",
                name="subpx_odometry",
                namespace=LaunchConfiguration("namespace"),
                parameters=[LaunchConfiguration("params_file"), parameters],
                output="screen",
                emulate_tty=True,
            ),
        ]
    )
