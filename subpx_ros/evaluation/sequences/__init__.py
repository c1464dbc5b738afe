"""Benchmark of the odometry on whole recordings."""
