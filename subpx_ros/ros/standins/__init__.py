"""What a machine without a ROS distribution lacks, with the class and method names of the real packages.

Each file covers what this package uses of the package it is named after; `subpx_ros.ros.distro` chooses.
"""
