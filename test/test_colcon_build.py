"""The tree as a colcon package: built for real in a workspace of its own, and run from the install folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PREFIX = Path(sys.prefix)

if not (PREFIX / "share" / "rosidl_default_generators").is_dir():
    pytest.skip(f"no ROS 2 wheels in {PREFIX}", allow_module_level=True)
for _tool in ("colcon", "git", "g++"):
    if shutil.which(_tool, path=f"{PREFIX / 'bin'}{os.pathsep}{os.environ['PATH']}") is None:
        pytest.skip(f"no {_tool} here", allow_module_level=True)

ASK_MODULES = """
import json, subpx_ros, subpx_ros.msg, subpx_ros.ros.node, tf2_msgs.msg
from rclpy.type_support import check_for_type_support
check_for_type_support(subpx_ros.msg.RelativePose)
print(json.dumps([m.__file__ for m in (subpx_ros, subpx_ros.msg, subpx_ros.ros.node)]))
"""


def _sources() -> list[Path]:
    """What git tracks, or would: relative paths of the files that are there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip(f"{ROOT} is not a git checkout")
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _environment(workspace: Path) -> dict[str, str]:
    """As after activating the environment of the wheels by hand, with nothing that make or a ROS set-up adds."""
    dropped = {"PYTHONPATH", "COLCON_PREFIX_PATH", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {
        "VIRTUAL_ENV": str(PREFIX),
        "PATH": f"{PREFIX / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
        # colcon's set-up scripts do not quote the interpreter they call, and ours may lie in a folder with spaces.
        "COLCON_PYTHON_EXECUTABLE": str(Path(sys.base_prefix, "bin", "python3")),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(workspace / "ros_log"),
    }


def _run(workspace: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """The command in the workspace, after sourcing what colcon has installed."""
    return _call(workspace, "bash", "-c", '. install/setup.bash && exec "$@"', "bash", *command)


def _call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(folder)
    return subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module", params=["copied", "symlinked"])
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built workspace; its sources are a copy of this tree."""
    folder = tmp_path_factory.mktemp(f"colcon {request.param}")
    for source in _sources():
        target = folder / "src" / "subpx_ros" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / source, target)
    options = ["--symlink-install"] if request.param == "symlinked" else []
    # Ninja comes with the environment and, unlike make, takes any folder name.
    built = _call(folder, "colcon", "build", *options, "--cmake-args", "-GNinja")
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_only_our_package_is_built(workspace: Path) -> None:
    assert [path.parent.name for path in workspace.glob("install/*/share")] == ["subpx_ros"]


def test_the_installed_code_is_what_runs(workspace: Path) -> None:
    answer = _run(workspace, "python3", "-c", ASK_MODULES)
    assert answer.returncode == 0, answer.stderr
    for file in json.loads(answer.stdout.splitlines()[-1]):
        assert Path(file).is_relative_to(workspace / "install" / "subpx_ros")


def test_everything_of_the_package_is_installed(workspace: Path) -> None:
    (site_packages,) = workspace.glob("install/subpx_ros/lib/python3.*/site-packages")
    share = workspace / "install" / "subpx_ros" / "share" / "subpx_ros"
    tree = workspace / "src" / "subpx_ros"
    for source in (path.relative_to(tree) for path in tree.rglob("*") if path.is_file()):
        if source.parts[0] == "subpx_ros":
            assert (site_packages / source).is_file()
        elif source.parts[0] in ("config", "launch", "msg"):
            assert (share / source).is_file()


def test_the_node_starts_and_names_a_bad_parameter(workspace: Path) -> None:
    node = workspace / "install" / "subpx_ros" / "lib" / "subpx_ros" / "odometry_node"
    answer = _run(workspace, str(node), "--ros-args", "-p", "preset:=no_such_preset")
    assert answer.returncode == 2, answer.stderr
    assert "no_such_preset" in answer.stderr and "Traceback" not in answer.stderr


def test_the_command_line_starts(workspace: Path) -> None:
    answer = _run(workspace, str(workspace / "install" / "subpx_ros" / "lib" / "subpx_ros" / "subpx"), "--help")
    assert answer.returncode == 0, answer.stderr
    assert "replay" in answer.stdout
