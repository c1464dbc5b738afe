"""Launch files, parameter files, camera files and RViz: against the package, and with the launch system where it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_recorder import PREFIX, LaunchFile
from listener import Listener
from rclpy.context import Context
from ros_reference import TEXTS
from typer.main import get_command

from subpx_ros.cli import app
from subpx_ros.config import Config, NodeConfig
from subpx_ros.errors import ConfigError
from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.inputs import TOPICS, input_topics
from subpx_ros.ros.node import NODE_NAME
from subpx_ros.ros.parameters import check
from subpx_ros.settings import walk

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
PARAMETER_FILES = sorted(path for path in CONFIG.glob("*.yaml") if path.name != "train.yaml")
CAMERA_FILES = sorted((CONFIG / "cameras").glob("*.yaml"))
OF_RCLPY = {"use_sim_time"}


@pytest.fixture
def odometry(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    return LaunchFile(ROOT / "launch" / "odometry.launch.py", monkeypatch)


@pytest.fixture
def kitti(monkeypatch: pytest.MonkeyPatch) -> LaunchFile:
    return LaunchFile(ROOT / "launch" / "kitti.launch.py", monkeypatch)


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def settings() -> dict[str, Any]:
    return {name: value for kind in (Config(), NodeConfig()) for name, value, _ in walk(kind)}


def check_parameters(parameters: dict[str, Any]) -> None:
    ours = {name: value for name, value in flat(parameters).items() if name not in OF_RCLPY}
    check(ours)
    for name, value in ours.items():
        assert type(value) is type(settings()[name]), name


def test_there_are_the_presets_and_cameras_that_people_look_for() -> None:
    assert {path.stem for path in PARAMETER_FILES} >= {"cpu_realtime", "gpu_accurate", "mono", "rgbd", "kitti"}
    assert {path.stem for path in CAMERA_FILES} >= {"realsense", "zed", "oakd"}


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_a_parameter_file_holds_settings_of_the_node(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(content) == ["/**"] and list(content["/**"]) == ["ros__parameters"]
    check_parameters(content["/**"]["ros__parameters"])


@pytest.mark.parametrize("path", CAMERA_FILES, ids=lambda path: path.stem)
def test_a_camera_file_names_topics_of_the_node(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content.keys() <= {"prefix", "topics", "parameters"}
    assert content["prefix"].startswith("/") and not content["prefix"].endswith("/")
    ours = {name for mode in TOPICS for rectify in (False, True) for name in input_topics(mode, rectify)}
    assert content["topics"].keys() <= ours
    assert not [name for name in content["topics"].values() if name.startswith("/")]
    served = [mode for mode in TOPICS if set(TOPICS[mode]) <= content["topics"].keys()]
    assert {"mono", "stereo"} <= set(served) and (path.stem.startswith("kitti") or "rgbd" in served)
    check_parameters(content.get("parameters", {}))


def test_every_argument_is_described_and_every_plain_setting_is_one(odometry: LaunchFile, kitti: LaunchFile) -> None:
    assert {name for name in settings() if "." not in name} | OF_RCLPY <= odometry.declared.keys()
    for file in (odometry, kitti):
        for options in file.declared.values():
            assert len(options["description"].split()) >= 3 and options["description"].endswith(".")
            assert options.get("choices") is None or options["default_value"] in options["choices"]


def test_nothing_given_starts_the_node_with_the_parameter_file_alone(odometry: LaunchFile) -> None:
    node, rviz = (each.options for each in odometry.start())
    assert (node["package"], node["executable"], node["name"]) == ("subpx_ros", "odometry_node", NODE_NAME)
    assert node["parameters"] == [{}, str(CONFIG / "odometry.yaml"), {}]
    assert node["remappings"] == [] and node["namespace"] == ""
    assert rviz["condition"].args[0].args == ("rviz",) and odometry.declared["rviz"]["default_value"] == "false"


def test_executables_and_packages_exist(odometry: LaunchFile) -> None:
    node, rviz = (each.options for each in odometry.start())
    assert f"install_executable({node['executable']} " in (ROOT / "CMakeLists.txt").read_text()
    package = (ROOT / "package.xml").read_text()
    for name in (rviz["package"], "launch", "launch_ros", "ros2launch", "ros2bag", "ros2topic"):
        assert f"<exec_depend>{name}</exec_depend>" in package


def test_given_arguments_are_the_last_word(odometry: LaunchFile) -> None:
    node, _ = odometry.start(
        mode="mono", publish_tf="false", threads="2", sync_slop_s="0.01", params_file="mono, kitti"
    )
    *files, given = node.options["parameters"]
    assert files == [{}, str(CONFIG / "mono.yaml"), str(CONFIG / "kitti.yaml")]
    kinds = {name: (value.args[0].args[0], value.options["value_type"]) for name, value in given.items()}
    assert kinds == {
        "mode": ("mode", str),
        "publish_tf": ("publish_tf", bool),
        "threads": ("threads", int),
        "sync_slop_s": ("sync_slop_s", float),
    }


def test_a_camera_remaps_the_topics_and_may_be_elsewhere(odometry: LaunchFile, tmp_path: Path) -> None:
    node, _ = odometry.start(camera="realsense", remappings="odom:=vo/odom /tf:=tf")
    remappings = dict(node.options["remappings"])
    assert remappings["left/image_rect"] == "/camera/camera/infra1/image_rect_raw"
    assert (remappings["odom"], remappings["/tf"]) == ("vo/odom", "tf")
    own = tmp_path / "own.yaml"
    own.write_text("prefix: /cam\ntopics: {image_rect: image}\nparameters: {sync_slop_s: 0.5}\n")
    node, _ = odometry.start(camera=str(own), camera_prefix="/robot1/cam/")
    assert node.options["remappings"] == [("image_rect", "/robot1/cam/image")]
    assert node.options["parameters"][0] == {"sync_slop_s": 0.5}


def test_two_robots_differ_in_namespace_and_frames(odometry: LaunchFile) -> None:
    for robot in ("robot1", "robot2"):
        node, rviz = odometry.start(namespace=robot, odom_frame=f"{robot}/odom", rviz="true")
        assert node.options["namespace"] == rviz.options["namespace"] == robot
        assert rviz.options["arguments"][-2:] == ["--fixed-frame", f"{robot}/odom"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"params_file": "cpu_realtim"}, "did you mean 'cpu_realtime'"),
        ({"camera": "realsence"}, "did you mean 'realsense'"),
        ({"remappings": "a:=b c"}, "takes from:=to"),
    ],
)
def test_a_mistake_is_named(odometry: LaunchFile, given: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        odometry.start(**given)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("subpx_odom: {ros__parameters: {mode: mono}}", "it is for /subpx_odom"),
        ("mode: mono", "it has none"),
        ("- 1", "must hold a table"),
    ],
)
def test_a_parameter_file_for_another_node_is_no_parameter_file(
    odometry: LaunchFile, tmp_path: Path, content: str, text: str
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(content)
    with pytest.raises(ConfigError, match=text):
        odometry.start(params_file=str(own))


@pytest.mark.parametrize("node", ["/**", "subpx_odometry", "/robot1/subpx_odometry", "/robot1/**"])
def test_a_parameter_file_may_name_the_node(odometry: LaunchFile, tmp_path: Path, node: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"camera: {{ros__parameters: {{}}}}\n{node}: {{ros__parameters: {{mode: mono}}}}\n")
    started, _ = odometry.start(params_file=str(own))
    assert started.options["parameters"][1] == str(own)


def test_an_unknown_entry_of_a_camera_file_is_named(odometry: LaunchFile, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("topic: {}\n")
    with pytest.raises(ConfigError, match="unknown entry 'topic' .did you mean 'topics'"):
        odometry.start(camera=str(own))


def test_kitti_replays_with_options_that_the_command_has(kitti: LaunchFile) -> None:
    rviz, player = kitti.start(source="kitti06", mode="stereo", refiner="none", rate="0")
    program, command, source, *options = player.options["cmd"]
    assert program == f"{PREFIX}/subpx_ros/lib/subpx_ros/subpx" and source == "kitti06"
    assert "install_executable(subpx " in (ROOT / "CMakeLists.txt").read_text()
    parameters = get_command(app).commands[command].params  # type: ignore[attr-defined]
    known = {name for parameter in parameters for name in parameter.opts}
    assert set(options[::2]) <= known and dict(zip(options[::2], options[1::2], strict=True))["--refiner"] == "none"
    assert rviz.options["on_exit"].kind == "Shutdown" and player.options["on_exit"] is None
    (alone,) = kitti.start(source="kitti06", rviz="false")
    assert alone.options["on_exit"].kind == "Shutdown"


def test_kitti_plays_a_bag_once_the_node_is_active(kitti: LaunchFile, odometry: LaunchFile) -> None:
    _, handler, active, node = kitti.start(source="bag", player="ros2bag", camera="kitti_raw", mode="mono", rate="0.5")
    topic, kind = active.options["cmd"][-2:]
    assert topic == f"/{NODE_NAME}/status" and kind == f"subpx_ros/msg/{OdometryStatus.__name__}"
    assert handler.args[0].options["target_action"] is active
    (play,) = handler.args[0].options["on_exit"]
    assert play.options["cmd"] == ["ros2", "bag", "play", "bag", "--clock", "100", "--rate", "0.5"]
    source, given = node.args[0].args[0], dict(node.options["launch_arguments"])
    assert Path(source) == ROOT / "launch" / "odometry.launch.py"
    started, _ = odometry.start(**given)
    assert started.options["parameters"][1] == str(CONFIG / "kitti.yaml")
    assert dict(started.options["remappings"])["image_rect"] == "/kitti/camera_gray_left/image_raw"


def test_kitti_says_that_a_sequence_is_no_bag(kitti: LaunchFile, tmp_path: Path) -> None:
    (tmp_path / "calib.txt").touch()
    with pytest.raises(ConfigError, match="needs a rosbag2, `subpx bag` makes one"):
        kitti.start(source=str(tmp_path), player="ros2bag")


RVIZ_CLASSES = {
    *("rviz_common/Displays", "rviz_common/Views", "rviz_common/Time"),
    *(f"rviz_default_plugins/{name}" for name in ("Grid", "TF", "Path", "Odometry", "PointCloud2", "Image")),
    *(
        f"rviz_default_plugins/{name}"
        for name in ("Interact", "MoveCamera", "Select", "FocusCamera", "Measure", "Orbit")
    ),
}
"""As plugins_description.xml of rviz_common and rviz_default_plugins name them."""
DISPLAYED = {
    "Odometry": "odom",
    "Path": "path",
    "PointCloud2": "~/landmarks",
    "Image": "~/match_image",
}


def rviz_entries(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        yield content
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from rviz_entries(each)


def test_rviz_shows_the_outputs_of_the_node_in_its_namespace() -> None:
    content = yaml.safe_load((CONFIG / "subpx.rviz").read_text(encoding="utf-8"))
    manager = content["Visualization Manager"]
    assert {each["Class"] for each in rviz_entries(content) if each.get("Class")} <= RVIZ_CLASSES
    displays = {each["Class"].partition("/")[2]: each for each in manager["Displays"]}
    assert {"TF", *DISPLAYED} <= displays.keys()
    for name, topic in DISPLAYED.items():
        assert topic in TEXTS
        assert displays[name]["Topic"]["Value"] == topic.replace("~", NODE_NAME)
    assert displays["Odometry"]["Covariance"]["Value"] is True
    assert manager["Global Options"]["Fixed Frame"] == NodeConfig().odom_frame
    assert manager["Views"]["Current"]["Target Frame"] == NodeConfig().base_frame


LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService(argv=[])
service.context.launch_configurations["sigterm_timeout"] = "60"
for robot in ("robot1", "robot2"):
    arguments = {"namespace": robot, "odom_frame": robot + "/odom", "base_frame": robot + "/base_link"}
    arguments |= {"preset": "sift", "refiner": "none", "threads": "1"}
    source = PythonLaunchDescriptionSource(sys.argv[1])
    included = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@pytest.fixture
def launched() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the odometry of two robots with the launch system; ends it in any case."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LAUNCH, str(ROOT / "launch" / "odometry.launch.py")]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_launch_system_starts_two_robots(context: Context, launched: Callable[[], subprocess.Popen[str]]) -> None:
    pytest.importorskip("launch_ros", reason="the launch system is not installed; its files are tested above")
    topics = {f"/{robot}/{NODE_NAME}/status": OdometryStatus for robot in ("robot1", "robot2")}
    listener = Listener(context, topics)
    process = launched()
    try:
        listener.wait(lambda: all(listener.received.values()), "the status of both robots", 90.0)
    finally:
        listener.close()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert "process has died" not in output and output.count("process has finished cleanly") == 2, output
