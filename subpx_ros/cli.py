"""The command line. Exit codes: 0 done, 2 bad usage or input (one line on stderr), 1 a defect (traceback)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from subpx_ros import __version__
from subpx_ros.cli_bench import bench_app
from subpx_ros.cli_data import data_app
from subpx_ros.cli_export import export
from subpx_ros.cli_options import SOURCE_HELP, ConfigFile, Device, Preset, Refiner, Source, given, parse_frames
from subpx_ros.cli_report import report
from subpx_ros.errors import SubpxError
from subpx_ros.memory import keep_freed_memory
from subpx_ros.processors import sleep_at_barriers

app = typer.Typer(
    help="Sub-pixel visual odometry: run it on recordings, match pairs, replay through the ROS 2 node, evaluate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
weights_app = typer.Typer(help="Checkpoints: where they are, fetching, checking.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.command()(export)
app.command()(report)

RUN_OUTPUTS = "poses.txt, trajectory.tum, summary.json, config.yaml, pictures; 'subpx report' makes one page of it"

Mode = Annotated[str | None, typer.Option(help="auto, mono, stereo or rgbd.")]
ScaleFrom = Annotated[
    str | None,
    typer.Option(help="Mono: metres from another odometry, a TUM file of robot poses or a topic of the bag."),
]
CameraInBase = Annotated[
    str | None,
    typer.Option(
        help="With --scale-from: 'x y z roll pitch yaw' of the camera on the robot (m, rad), looking along x."
    ),
]
Frames = Annotated[str | None, typer.Option(help="A:B, only the frames A <= index < B.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"subpx_ros {__version__}")
        raise typer.Exit


@app.command()
def run(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")],
    preset: Preset = None,
    mode: Mode = None,
    refiner: Refiner = None,
    device: Device = None,
    config: ConfigFile = None,
    frames: Frames = None,
    rerun: Annotated[Path | None, typer.Option(help="Rerun recording (.rrd) of everything, to write too.")] = None,
    scale_from: ScaleFrom = None,
    camera_in_base: CameraInBase = None,
) -> None:
    """Odometry over a recording, without a ROS graph."""
    from subpx_ros.config import load_config
    from subpx_ros.console import note, say
    from subpx_ros.datasets import open_sequence
    from subpx_ros.output import output_folder

    window = parse_frames(frames)
    wheels = {} if scale_from is None else {"odometry": {"wheel_odometry": True}}
    settings = load_config(given(preset=preset, mode=mode, refiner=refiner, device=device) | wheels, config)
    sequence = open_sequence(source, settings.mode, window)
    other = None
    if scale_from is not None:
        from subpx_ros.recorded_odometry import recorded_odometry

        other = recorded_odometry(scale_from, source, sequence, camera_in_base)
    output_folder(out)

    from subpx_ros.evaluation.run import write_run
    from subpx_ros.evaluation.tables import print_summary
    from subpx_ros.offline import run_recorded, run_sequence

    if rerun is None:
        record = run_sequence(sequence, settings, source, note, other=other)
    else:
        output_folder(rerun.parent)
        record = run_recorded(sequence, settings, source, note, rerun, other)
    print_summary(write_run(record, out))
    say(f"outputs in {out}: {RUN_OUTPUTS}")


@app.command()
def match(
    image0: Annotated[Path, typer.Argument(help="First image.")],
    image1: Annotated[Path, typer.Argument(help="Second image.")],
    out: Annotated[Path, typer.Option(help="NPZ file for matches and pose.")],
    camera: Annotated[str | None, typer.Option(help="fx,fy,cx,cy in pixels, for both images or for each.")] = None,
    preset: Preset = None,
    refiner: Refiner = None,
    device: Device = None,
    config: ConfigFile = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file with the matches drawn.")] = None,
) -> None:
    """Match one pair of images, refine the matches and find the relative pose."""
    from subpx_ros.config import load_config
    from subpx_ros.console import note
    from subpx_ros.datasets.image_files import read_grey
    from subpx_ros.output import output_folder

    settings = load_config(given(preset=preset, refiner=refiner, device=device), config)
    images = read_grey(image0), read_grey(image1)

    from subpx_ros.evaluation.match_plots import plot_refined_matches
    from subpx_ros.evaluation.tables import print_pair
    from subpx_ros.pipeline import FrontEnd
    from subpx_ros.two_view import match_images, parse_cameras

    cameras = parse_cameras(camera, images)
    if camera is None:
        note(f"no --camera given: assuming a focal length of {cameras[0].fx:.0f} px")
    for path in filter(None, (out, plot)):
        output_folder(path.parent)
    pair = match_images(FrontEnd(settings, note), images, cameras, settings.pose)
    pair.save(out)
    if plot:
        plot_refined_matches(*images, pair.matches, pair.pose.inliers, plot, title=f"{image0.name}, {image1.name}")
    print_pair(pair)


@app.command()
def bag(source: Source, out: Annotated[Path, typer.Argument(help="Folder of the bag, not there yet.")]) -> None:
    """Write a recording as a rosbag2 (MCAP) with camera_info, tf_static and ground truth."""
    from subpx_ros.console import counting, say
    from subpx_ros.datasets import open_sequence
    from subpx_ros.datasets.bag_writer import write_bag

    sequence = open_sequence(source)
    with counting(f"writing {out.name}", "frames") as progress:
        write_bag(sequence, out, progress)
    say(f"{len(sequence)} frames in {out}")


@app.command()
def replay(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")] = Path("out/replay"),
    rate: Annotated[float, typer.Option(help="Speed relative to the recording; 0: as fast as the node can.")] = 0.0,
    preset: Preset = None,
    mode: Mode = None,
    refiner: Refiner = None,
    device: Device = None,
    frames: Frames = None,
) -> None:
    """Start the node, play a recording into it over DDS and record what it publishes."""
    from subpx_ros.console import say
    from subpx_ros.evaluation.tables import print_summary
    from subpx_ros.ros.replay import replay as play

    overrides = given(preset=preset, refiner=refiner, device=device)
    window = parse_frames(frames)
    print_summary(play(source, out=out, overrides=overrides, mode=mode or "auto", rate=rate, frames=window))
    say(f"outputs in {out}: {RUN_OUTPUTS}")


@app.command("eval")
def evaluate(
    estimate: Annotated[Path, typer.Argument(help="Trajectory, KITTI rows or TUM.")],
    truth: Annotated[Path, typer.Argument(help="True trajectory, KITTI rows or TUM.")],
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and trajectory.png.")] = None,
    scale: Annotated[bool, typer.Option("--scale", help="Align the scale too, for one camera.")] = False,
) -> None:
    """Compare a trajectory with the truth: KITTI drift, ATE, RPE."""
    from subpx_ros.evaluation.compare import evaluate as compare
    from subpx_ros.evaluation.tables import print_accuracy

    print_accuracy(compare(estimate, truth, out, scale))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def node(context: typer.Context) -> None:
    """The ROS 2 node alone; takes --ros-args as every node does."""
    from subpx_ros.node_program import main as node_main

    node_main(["subpx_odometry", *context.args])


@app.command()
def demo(
    data: Annotated[str | None, typer.Option(help=f"{SOURCE_HELP} By default the street.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the outputs.")] = Path("out/demo"),
) -> None:
    """Everything in a row: images, a bag, the node over DDS, pictures and the drift table."""
    from subpx_ros.demo import run_demo

    run_demo(data, out)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of training settings, as config/train.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for matches, checkpoints and logs.")] = Path("out/train"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same in small, in under two minutes.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
) -> None:
    """Train a refiner. Under torchrun, with -m subpx_ros.cli, on several GPUs or machines."""
    from subpx_ros.console import say
    from subpx_ros.training.config import dry_run_of, load_train_config
    from subpx_ros.training.trainer import train as run_training

    settings = load_train_config(config)
    best = run_training(dry_run_of(settings) if dry_run else settings, out, resume)
    if best:  # under torchrun the first process has them
        say(f"best.safetensors in {out}: " + ", ".join(f"{name} {value:.4g}" for name, value in best.items()))


Names = Annotated[list[str] | None, typer.Argument(help="Names as 'subpx weights list' shows; by default all.")]


@weights_app.command("list")
def list_weights() -> None:
    """All known checkpoints and where they are."""
    from subpx_ros import weights
    from subpx_ros.checkpoints import CHECKPOINTS
    from subpx_ros.console import table

    rows = []
    for name, checkpoint in CHECKPOINTS.items():
        try:
            where = str(weights.find(name) or "not on this machine")
        except SubpxError:
            where = "damaged: see 'subpx weights verify'"
        rows.append((name, checkpoint.licence, where))
    table("weights", ("name", "licence", "file"), rows)


@weights_app.command()
def get(names: Names = None) -> None:
    """Fetch checkpoints into the cache, unless they are on this machine already."""
    from subpx_ros import weights
    from subpx_ros.console import note, say

    _for_each(names or weights.downloadable(), lambda name: say(f"{name}: {weights.get(name, note)}"))


@weights_app.command()
def verify(names: Names = None) -> None:
    """Check the SHA-256 of the checkpoints on this machine."""
    from subpx_ros import weights
    from subpx_ros.checkpoints import CHECKPOINTS
    from subpx_ros.console import say

    def report(name: str) -> None:
        path = weights.find(name)
        say(f"{name}: {f'good, {path}' if path else 'not on this machine'}")

    _for_each(names or list(CHECKPOINTS), report)


def _for_each(names: list[str], action: Callable[[str], None]) -> None:
    """Do all, then fail with the last error if there was one, the others having been noted."""
    from subpx_ros.console import note

    failures = []
    for name in names:
        try:
            action(name)
        except SubpxError as error:
            failures.append(error)
    for failure in failures[:-1]:
        note(f"subpx: {failure}")
    if failures:
        raise failures[-1]


def main(arguments: list[str] | None = None) -> int:
    """Entry point of `subpx`; returns the exit code."""
    keep_freed_memory()
    sleep_at_barriers()
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="subpx", standalone_mode=False)
    except SubpxError as error:
        message, code = str(error), 2
    except (KeyboardInterrupt, typer.Abort):
        message, code = "interrupted", 130
    except Exception as error:
        # The library's own usage errors; whatever else comes is a defect and shows its traceback.
        if not hasattr(error, "format_message"):
            raise
        message, code = f"{error.format_message()} (see 'subpx --help')", 2
    else:
        return result if isinstance(result, int) else 0
    print(f"subpx: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
