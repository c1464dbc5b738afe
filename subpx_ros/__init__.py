"""Sub-pixel visual odometry for ROS 2: learned keypoints, refined matches, relative pose, odometry."""

from pkgutil import extend_path

__version__ = "0.1.0"

# The generated messages (subpx_ros.msg) live in the installed package. This lets the source
# tree find them too, so that tests run from the repository root.
__path__ = extend_path(__path__, __name__)
