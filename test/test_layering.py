"""Who may import what: the core is free of ROS, and light commands stay light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "subpx_ros"
CORE = sorted(path for path in PACKAGE.rglob("*.py") if "ros" not in path.relative_to(PACKAGE).parts[:1])
ROS_NAMES = {"rclpy", "cv_bridge", "message_filters", "tf2_ros", "rosidl_runtime_py", "launch", "launch_ros"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Dotted names of all imports of a file, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_ros(name: str) -> bool:
    top = name.partition(".")[0]
    return (
        top in ROS_NAMES or top.endswith(("_msgs", "_interfaces", "_srvs")) or f"{name}.".startswith("subpx_ros.msg.")
    )


def run_python(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", CORE, ids=module_name)
def test_the_core_names_no_ros_package(path: Path) -> None:
    assert not {name for name in imported(path) if is_ros(name)}


def test_the_check_sees_ros_where_it_is_allowed() -> None:
    assert {name for path in (PACKAGE / "ros").rglob("*.py") for name in imported(path) if is_ros(name)}


def test_only_commands_that_start_the_node_reach_for_it() -> None:
    reaching = {module_name(path) for path in CORE if any(name.startswith("subpx_ros.ros") for name in imported(path))}
    assert reaching <= {"subpx_ros.cli", "subpx_ros.cli_bench", "subpx_ros.demo", "subpx_ros.node_program"}


OFFLINE = ("subpx_ros.training", "subpx_ros.evaluation.refiner_")


def test_only_training_and_its_benchmark_import_training() -> None:
    reaching = {
        module_name(path)
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith(OFFLINE) for name in imported(path)) and not module_name(path).startswith(OFFLINE)
    }
    assert reaching == {"subpx_ros.cli", "subpx_ros.cli_bench"}, "and the command line, inside of its commands"


def test_neither_the_odometry_nor_the_node_loads_training() -> None:
    run_python("""
import sys, subpx_ros.odometry, subpx_ros.cli, subpx_ros.pipeline, subpx_ros.two_view
try:
    import subpx_ros.ros.node
except ModuleNotFoundError as error:
    if error.name.startswith("subpx_ros."):
        raise
loaded = [name for name in sys.modules if name.startswith("subpx_ros.training")]
if loaded:
    raise SystemExit(f"loaded {loaded}")
""")


def test_every_module_of_the_core_can_be_imported_where_ros_is_absent() -> None:
    names = [module_name(path) for path in CORE]
    assert {"subpx_ros.odometry", "subpx_ros.cli", "subpx_ros.datasets.rosbag"} <= set(names)
    run_python(f"""
import importlib, importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {ROS_NAMES!r} or top.endswith(("_msgs", "_interfaces", "_srvs")) or name.startswith("subpx_ros.msg"):
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
for name in {names!r}:
    importlib.import_module(name)
try:
    import rclpy
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("rclpy was not blocked")
""")


HEAVY = ["torch", "kornia", "cv2", "matplotlib", "rosbags", "poselib", "skimage", "scipy", "rclpy"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("subpx_ros.cli", HEAVY),
        ("subpx_ros.config", HEAVY),
        ("subpx_ros.weights", HEAVY),
        ("subpx_ros.datasets", HEAVY),
        ("subpx_ros.refinement", ["kornia", "cv2", "matplotlib", "rosbags"]),
        ("subpx_ros.odometry", ["kornia", "matplotlib", "rosbags", "skimage"]),
        ("subpx_ros.training.config", HEAVY),
    ],
)
def test_imports_stay_light(module: str, heavy: list[str]) -> None:
    run_python(f"""
import sys, {module}
loaded = sorted(set({heavy!r}) & set(sys.modules))
if loaded:
    raise SystemExit(f"import {module} loaded {{loaded}}")
""")
