"""toy-vo (on PyPI, GPL) over a KITTI folder: a program of its own, for the interpreter that has toy-vo, numpy and OpenCV.

Nothing of this package imports it and it imports nothing of this package. It shows what an adapter of a peer has to do:
read SEQUENCE (image_0, image_1, calib.txt), write POSES (a KITTI row per frame) and, if it can, TIMES (milliseconds per
frame).
"""

import sys
import time
from importlib import import_module
from pathlib import Path


def main(sequence: Path, poses: Path, times: Path) -> None:
    """Runs toy-vo with its default settings over a stereo sequence."""
    import cv2
    import numpy as np

    toy_vo = import_module("toy_vo")
    rows = dict(line.split(":", 1) for line in (sequence / "calib.txt").read_text().splitlines() if ":" in line)
    projections = [np.array(rows[f"P{camera}"].split(), dtype=float).reshape(3, 4) for camera in (0, 1)]
    images = [sorted((sequence / f"image_{camera}").iterdir()) for camera in (0, 1)]
    height, width = np.asarray(cv2.imread(str(images[0][0]), cv2.IMREAD_GRAYSCALE)).shape
    cameras = [(p[:, :3], np.zeros(5), "OpenCVModel5", width, height) for p in projections]
    offset = projections[1][:, 3] / projections[1][0, 0] - projections[0][:, 3] / projections[0][0, 0]
    odometry = toy_vo.StereoEstimator(*cameras[0], *cameras[1], np.zeros(3), np.array([offset[0], 0.0, 0.0]))
    with poses.open("w") as pose_file, times.open("w") as time_file:
        for paths in zip(*images, strict=True):
            pair = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
            start = time.perf_counter()
            pose = odometry.process_frame(*pair)["T_w_cam0"]
            time_file.write(f"{1e3 * (time.perf_counter() - start):.3f}\n")
            pose_file.write(" ".join(f"{value:.9e}" for value in np.asarray(pose)[:3].ravel()) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
