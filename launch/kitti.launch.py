"""Plays a KITTI sequence folder, or a rosbag2 of one, into a node of its own and writes the trajectory at the end.

The topics are those of odometry.launch.py, in the ROS domain of the launch, so that RViz shows them meanwhile.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackagePrefix

ARGUMENTS = {
    "source": (None, "KITTI sequence folder (calib.txt, image_0/) or rosbag2."),
    "out": ("kitti_run", "Folder for poses, trajectory, picture and summary."),
    "rate": ("1.0", "Speed relative to the recording; 0: as fast as the node can. No frame is left out."),
}


def generate_launch_description() -> LaunchDescription:
    subpx = PathJoinSubstitution([FindPackagePrefix("subpx_ros"), "lib", "subpx_ros", "subpx"])
    source, out, rate = (LaunchConfiguration(name) for name in ARGUMENTS)
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, (default, text) in ARGUMENTS.items()
            ),
            ExecuteProcess(
                cmd=[subpx, "replay", source, "--out", out, "--rate", rate],
                additional_env={"ROS_DOMAIN_ID": EnvironmentVariable("ROS_DOMAIN_ID", default_value="0")},
                output="screen",
                emulate_tty=True,
                on_exit=Shutdown(),
            ),
        ]
    )
