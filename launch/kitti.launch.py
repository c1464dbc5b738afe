"""Plays a rosbag2 of a KITTI sequence (made by `subpx bag`) into the odometry node."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = (
    ("bag", None, "Folder of the rosbag2, as `subpx bag SOURCE OUT` writes it."),
    ("rate", "1.0", "Speed of playing relative to the recording."),
    ("delay", "10.0", "Seconds that the player waits, so that the node can load its models."),
    ("mode", "stereo", "Cameras to use: mono or stereo."),
    ("preset", "auto", "Named set of settings: auto, xfeat, aliked or sift."),
    ("device", "auto", "Where the networks run: auto, cpu or cuda."),
)
PASSED_ON = ("mode", "preset", "device")


def generate_launch_description():
    odometry = PathJoinSubstitution([FindPackageShare("subpx_ros"), "launch", "odometry.launch.py"])
    params_file = PathJoinSubstitution([FindPackageShare("subpx_ros"), "config", "kitti.yaml"])
    arguments = {name: LaunchConfiguration(name) for name in PASSED_ON}
    arguments |= {"use_sim_time": "true", "params_file": params_file}
    rate, delay = LaunchConfiguration("rate"), LaunchConfiguration("delay")
    return LaunchDescription(
        [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
        + [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(odometry),
                launch_arguments=arguments.items(),
            ),
            ExecuteProcess(
                cmd=["ros2", "bag", "play", LaunchConfiguration("bag"), "--clock", "--rate", rate, "--delay", delay],
                output="screen",
                on_exit=Shutdown(),
            ),
        ]
    )
