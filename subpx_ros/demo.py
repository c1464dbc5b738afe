"""`make demo`: the whole way from images to a trajectory, through a bag and the node over DDS."""

from __future__ import annotations

import shutil
from pathlib import Path

from subpx_ros.config import load_config
from subpx_ros.console import counting, note, say
from subpx_ros.datasets import DEMO, Sequence, open_sequence
from subpx_ros.evaluation.match_plots import plot_refined_matches
from subpx_ros.evaluation.tables import print_summary
from subpx_ros.output import output_folder
from subpx_ros.pipeline import FrontEnd
from subpx_ros.two_view import match_images


def run_demo(data: str | None, out: Path) -> None:
    """Make the rendered street (or take `data`), write it as a bag, replay it through the node, show what came out.

    Args:
        data: a KITTI folder or a rosbag2; None for the rendered street.
        out: folder for everything that the demo makes.

    Raises:
        SubpxError: the data cannot be read, or the node fails.
    """
    from subpx_ros.ros.replay import replay

    output_folder(out)
    source = data or str(_make_street(out / "street"))
    sequence = open_sequence(source)
    bag = _make_bag(sequence, out / f"{sequence.name}_bag")
    summary = replay(str(bag), out=out)
    _draw_matches(sequence, out / "matches.png")
    print_summary(summary)
    say(
        f"outputs in {out}: trajectory.png, matches.png, poses.txt, trajectory.tum, summary.json, config.yaml, {bag.name}/"
    )


def _make_street(folder: Path) -> Path:
    from subpx_ros.datasets.street.kitti_writer import write_kitti_sequence

    shutil.rmtree(folder, ignore_errors=True)
    sequence = open_sequence(DEMO)
    with counting("rendering the street", "stereo frames") as progress:
        write_kitti_sequence(sequence, folder, progress)
    return folder


def _make_bag(sequence: Sequence, folder: Path) -> Path:
    from subpx_ros.datasets.bag_writer import write_bag

    shutil.rmtree(folder, ignore_errors=True)
    with counting("writing the bag", "frames") as progress:
        write_bag(sequence, folder, progress)
    return folder


def _draw_matches(sequence: Sequence, path: Path) -> None:
    """The middle frame and the next one, with what refinement moved."""
    config = load_config()
    middle = (len(sequence) - 1) // 2
    images = sequence.frame(middle).image, sequence.frame(min(middle + 1, len(sequence) - 1)).image
    camera = sequence.rig.left
    pair = match_images(FrontEnd(config, note), images, (camera, camera), config.pose)
    title = f"{sequence.name}, frames {middle} and {middle + 1}"
    plot_refined_matches(*images, pair.matches, pair.pose.inliers, path, title)
