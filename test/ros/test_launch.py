"""Launch files and parameter files against the package: executables, parameters and settings that exist."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from subpx_ros.config import Config, NodeConfig
from subpx_ros.ros.parameters import check
from subpx_ros.settings import walk

ROOT = Path(__file__).parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
PARAMETER_FILES = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "train.yaml")
OF_RCLPY = {"use_sim_time"}


def constants(path: Path) -> dict[str, Any]:
    """Literal assignments at the top of a file."""
    found = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = ast.literal_eval(statement.value)
    return found


def keyword_texts(path: Path, keyword: str) -> set[str]:
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    arguments = (argument for call in calls for argument in call.keywords if argument.arg == keyword)
    return {str(argument.value.value) for argument in arguments if isinstance(argument.value, ast.Constant)}


def settings() -> dict[str, Any]:
    return {name: value for kind in (Config(), NodeConfig()) for name, value, _ in walk(kind)}


def test_there_are_launch_and_parameter_files() -> None:
    assert [path.name for path in LAUNCH_FILES] == ["kitti.launch.py", "odometry.launch.py"]
    assert [path.name for path in PARAMETER_FILES] == ["odometry.yaml", "recording.yaml"]


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.name)
def test_a_parameter_file_holds_settings_of_the_node(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    parameters = content["/**"]["ros__parameters"]
    check({name: value for name, value in parameters.items() if name not in OF_RCLPY})
    for name, value in parameters.items():
        assert name in OF_RCLPY or type(value) is type(settings()[name])


def test_the_node_is_launched_by_names_that_exist() -> None:
    path = ROOT / "launch" / "odometry.launch.py"
    assert keyword_texts(path, "package") == {"subpx_ros"}
    executables = keyword_texts(path, "executable")
    assert executables == {"odometry_node"}
    assert all(f"install_executable({name} " in (ROOT / "CMakeLists.txt").read_text() for name in executables)
    named = constants(path)
    for name, text in (named["TEXT_PARAMETERS"] | named["SWITCH_PARAMETERS"]).items():
        assert text and (name in settings() or name in OF_RCLPY)
    assert all(isinstance(settings()[name], str) for name in named["TEXT_PARAMETERS"])
    assert all(isinstance(settings()[name], bool) for name in named["SWITCH_PARAMETERS"] if name not in OF_RCLPY)


def test_kitti_plays_with_a_command_that_exists() -> None:
    path = ROOT / "launch" / "kitti.launch.py"
    assert list(constants(path)["ARGUMENTS"]) == ["source", "out", "rate"]
    assert "install_executable(subpx " in (ROOT / "CMakeLists.txt").read_text()


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_the_launch_system_accepts_it(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="the launch system is not installed; names are checked above")
    spec = importlib.util.spec_from_file_location("launch_file", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    assert all(argument.description for argument in description.get_launch_arguments())
