"""`subpx bench …`: refiners side by side on every task, and what the node adds to the odometry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subpx_ros.cli_options import SOURCE_HELP, Device, Preset, Refiner, Source, given, parse_frames

bench_app = typer.Typer(help="Benchmarks: refiners side by side, and what the node costs.", no_args_is_help=True)

Data = Annotated[
    str, typer.Option(help="Data set: a folder, a pairs list, or a recording. See 'subpx data list' for what is known.")
]
Out = Annotated[
    Path, typer.Option(help="Folder for results.json, config.yaml and pictures; an earlier run in it goes on.")
]
Presets = Annotated[str, typer.Option(help="Presets to compare, separated by commas.")]
Estimators = Annotated[str, typer.Option(help="poselib, magsac, gcransac; several separated by commas.")]
Layout = Annotated[str, typer.Option(help="auto, or the data set's layout by name.")]
Gap = Annotated[int, typer.Option(help="Recordings: frames from the first image of a pair to the second.")]
MaxPairs = Annotated[int, typer.Option(help="Most pairs, spread evenly over all; 0: all.")]
Resize = Annotated[int, typer.Option(help="Reduce larger images to this longer side (px); 0: as they are.")]
Threshold = Annotated[float, typer.Option(help="Largest error of an inlier (px).")]
RefinerWeights = Annotated[Path | None, typer.Option("--weights", help="A refiner's checkpoint to compare too.")]
Workers = Annotated[int, typer.Option(help="Processes that measure at the same time.")]
Engine = Annotated[str, typer.Option(help="local, or ray for a cluster.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings, put over every preset.")]


@bench_app.command("pose")
def bench_pose(
    data: Data,
    out: Out = Path("out/bench/pose"),
    preset: Presets = "xfeat",
    estimator: Estimators = "poselib",
    layout: Layout = "auto",
    gap: Gap = 5,
    max_pairs: MaxPairs = 0,
    resize: Resize = 0,
    threshold: Threshold = 1.0,
    weights: RefinerWeights = None,
    workers: Workers = 1,
    engine: Engine = "local",
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Relative pose: AUC at 5, 10 and 20 deg, and mAA."""
    _pairs("pose", **locals())


@bench_app.command("fundamental")
def bench_fundamental(
    data: Data,
    out: Out = Path("out/bench/fundamental"),
    preset: Presets = "xfeat",
    estimator: Estimators = "poselib",
    layout: Layout = "auto",
    gap: Gap = 5,
    max_pairs: MaxPairs = 0,
    resize: Resize = 0,
    threshold: Threshold = 1.0,
    weights: RefinerWeights = None,
    workers: Workers = 1,
    engine: Engine = "local",
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Fundamental matrix, on the pairs of the pose benchmark."""
    _pairs("fundamental", **locals())


@bench_app.command("homography")
def bench_homography(
    data: Data,
    out: Out = Path("out/bench/homography"),
    preset: Presets = "xfeat",
    estimator: Estimators = "poselib",
    layout: Layout = "auto",
    max_pairs: MaxPairs = 0,
    resize: Resize = 0,
    threshold: Threshold = 1.0,
    weights: RefinerWeights = None,
    workers: Workers = 1,
    engine: Engine = "local",
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Homography: corner error, matching accuracy, localisation error. HPatches, Oxford, or a pairs list."""
    _pairs("homography", **locals())


@bench_app.command("odometry")
@bench_app.command("kitti", hidden=True)
def bench_odometry(
    sequences: Annotated[list[str], typer.Argument(metavar="SEQ...", help=f"With true poses. {SOURCE_HELP}")],
    out: Out = Path("out/bench/odometry"),
    preset: Presets = "xfeat",
    mode: Annotated[str, typer.Option(help="auto, mono, stereo or rgbd.")] = "auto",
    frames: Annotated[str | None, typer.Option(help="A:B, only the frames A <= index < B of every sequence.")] = None,
    vary: Annotated[str, typer.Option(help="NAME=VALUE,VALUE: every preset with each value of a setting.")] = "",
    peers: Annotated[bool, typer.Option("--peers", help="Other odometries on the same images, as installed.")] = False,
    peer_python: Annotated[str, typer.Option(help="Interpreter that has toy-vo; by default this one.")] = "",
    peers_file: Annotated[str, typer.Option(help="YAML file of more peers, name: command.")] = "",
    weights: RefinerWeights = None,
    workers: Workers = 1,
    engine: Engine = "local",
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Odometry over whole sequences: KITTI drift per length and speed, ATE, RPE. Any recording with true poses."""
    from subpx_ros.evaluation.bench_config import RunnerConfig, SequenceBenchConfig
    from subpx_ros.evaluation.sequences.benchmark import run_sequence_benchmark

    settings = SequenceBenchConfig(
        mode=mode, presets=preset, weights=str(weights or ""), device=device, vary=vary,
        peers=peers or bool(peer_python or peers_file), peer_python=peer_python, peers_file=peers_file,
        runner=RunnerConfig(workers, engine),
    )  # fmt: skip
    run_sequence_benchmark(sequences, settings, out, config, parse_frames(frames))


@bench_app.command("latency")
def bench_latency(
    out: Out = Path("out/bench/latency"),
    data: Data = "",
    preset: Presets = "xfeat",
    layout: Layout = "auto",
    gap: Gap = 1,
    resize: Resize = 0,
    warm_up: Annotated[int, typer.Option(help="Rounds before the first that counts.")] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds that count.")] = 20,
    threads: Annotated[int, typer.Option(help="CPU threads of the networks; 0: as many as there are cores.")] = 0,
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Time per stage on one pair, the refiners in turns; by default on two frames of the rendered street."""
    from subpx_ros.evaluation.bench_config import LatencyConfig
    from subpx_ros.evaluation.latency import run_latency

    settings = LatencyConfig(
        data=data, layout=layout, gap=gap, resize_px=resize, presets=preset, device=device, threads=threads,
        warm_up=warm_up, rounds=rounds,
    )  # fmt: skip
    run_latency(settings, out, config)


@bench_app.command("growth")
def bench_growth(
    out: Out = Path("out/bench/growth"),
    preset: Annotated[str, typer.Option(help="Preset to measure.")] = "xfeat",
    keypoints: Annotated[
        str, typer.Option(help="Numbers of keypoints, separated by commas.")
    ] = "256,512,1024,2048,4096,8192",
    sizes: Annotated[
        str, typer.Option(help="Image sizes, separated by commas.")
    ] = "640x480,1280x720,1920x1080,2560x1440,3840x2160",
    rounds: Annotated[int, typer.Option(help="Frames that count for each.")] = 3,
    threads: Annotated[int, typer.Option(help="CPU threads of the networks; 0: as many as there are cores.")] = 0,
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Time per stage and memory against the number of keypoints and the image size."""
    from subpx_ros.evaluation.bench_config import GrowthConfig
    from subpx_ros.evaluation.growth import run_growth

    settings = GrowthConfig(
        preset=preset, keypoints=keypoints, sizes=sizes, device=device, threads=threads, rounds=rounds
    )
    run_growth(settings, out, config)


@bench_app.command("speed")
def bench_speed(
    source: Source = "demo",
    out: Out = Path("out/bench/speed"),
    mode: Annotated[str, typer.Option(help="auto, mono, stereo or rgbd.")] = "auto",
    preset: Annotated[str, typer.Option(help="Preset; auto: what the device can do.")] = "auto",
    frames: Annotated[int, typer.Option(help="Frames that count.")] = 20,
    warm_up: Annotated[int, typer.Option(help="Frames before the first that counts.")] = 3,
    threads: Annotated[int, typer.Option(help="CPU threads of the networks; 0: as many as there are cores.")] = 0,
    device: DeviceOption = "auto",
    config: ConfigFile = None,
) -> None:
    """Time per stage and frame in turns with the plain pipeline, peak memory, and how far from the machine's limits."""
    from subpx_ros.evaluation.bench_config import SpeedConfig
    from subpx_ros.evaluation.speed import run_speed

    settings = SpeedConfig(source, mode, preset, device, threads, warm_up, frames)
    run_speed(settings, out, config)


@bench_app.command("refiner")
def bench_refiner(
    out: Annotated[Path, typer.Option(help="Folder for refiner_bench.json and the figures.")] = Path("out/bench"),
    kitti: Annotated[Path | None, typer.Option(help="KITTI stereo sequence folder, for row residuals.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Images with a COLMAP text model, for pose accuracy.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Refiners against each other: as detected, Keypt2Subpx as published and as trained by us, ours."""
    from subpx_ros.evaluation.refiner_bench import run_bench

    run_bench(out, kitti, pairs, device)


@bench_app.command("node")
def bench_node(
    source: Source = "demo",
    out: Annotated[Path, typer.Option(help="Folder for node_bench.json.")] = Path("out/bench"),
    frames: Annotated[int, typer.Option(help="Frames that count.")] = 50,
    preset: Preset = None,
    refiner: Refiner = None,
    device: Device = None,
) -> None:
    """What the node adds to the odometry: from an image's publication to its odometry, less the odometry alone."""
    from subpx_ros.ros.overhead import measure_overhead

    measure_overhead(source, out, given(preset=preset, refiner=refiner, device=device), frames)


@bench_app.command("throughput")
def bench_throughput(
    source: Source = "demo",
    out: Annotated[Path, typer.Option(help="Folder for throughput.json.")] = Path("out/bench"),
    images: Annotated[
        str, typer.Option(help="grey, colour, unrectified, compressed, compressed-unrectified; separated by commas.")
    ] = "grey,unrectified,compressed",
    frames: Annotated[int, typer.Option(help="Frames that count in a round.")] = 10,
    rounds: Annotated[int, typer.Option(help="How often each is measured.")] = 4,
    preset: Preset = None,
    refiner: Refiner = None,
    device: Device = None,
    config: ConfigFile = None,
) -> None:
    """The node's rate and latency with and without converting the next images while it works on the last ones."""
    from subpx_ros.config import read_yaml_table
    from subpx_ros.evaluation.bench_config import listed
    from subpx_ros.ros.throughput import measure_throughput

    overrides = (read_yaml_table(config) if config else {}) | given(preset=preset, refiner=refiner, device=device)
    measure_throughput(source, out, overrides, tuple(listed(images)), frames, rounds)


def _pairs(task: str, **options: Any) -> None:
    from subpx_ros.evaluation.bench_config import PairBenchConfig, RunnerConfig
    from subpx_ros.evaluation.pairs.benchmark import run_pair_benchmark

    settings = PairBenchConfig(
        data=options["data"],
        layout=options["layout"],
        gap=options.get("gap", 1),
        max_pairs=options["max_pairs"],
        resize_px=options["resize"],
        presets=options["preset"],
        estimators=options["estimator"],
        threshold_px=options["threshold"],
        weights=str(options["weights"] or ""),
        device=options["device"],
        runner=RunnerConfig(options["workers"], options["engine"]),
    )
    run_pair_benchmark(task, settings, options["out"], options["config"])
