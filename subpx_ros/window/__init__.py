"""The sliding window: bundle adjustment over the last keyframes and the points that they share."""

from subpx_ros.window.sliding_window import SlidingWindow, WindowEstimate

__all__ = ["SlidingWindow", "WindowEstimate"]
