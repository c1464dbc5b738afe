"""The launch API as far as our launch files use it, recording instead of starting.

With it their logic is tested where the launch system is not installed: what would be started, with which arguments.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PREFIX = "/prefix"


class Recorded:
    """An action, event handler or source: the class name, and what it was made with."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options

    @property
    def kind(self) -> str:
        return type(self).__name__


class LaunchConfiguration(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return context[self.args[0]]


class FindPackagePrefix(Recorded):
    def perform(self, context: dict[str, str]) -> str:
        return f"{PREFIX}/{self.args[0]}"


MODULES = {
    "launch": ["LaunchContext", "LaunchDescription", "LaunchDescriptionEntity"],
    "launch.actions": [
        "DeclareLaunchArgument",
        "ExecuteProcess",
        "IncludeLaunchDescription",
        "OpaqueFunction",
        "RegisterEventHandler",
        "Shutdown",
    ],
    "launch.conditions": ["IfCondition"],
    "launch.event_handlers": ["OnProcessExit"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch.substitutions": ["EnvironmentVariable", "LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["Node"],
    "launch_ros.parameter_descriptions": ["ParameterValue"],
    "launch_ros.substitutions": ["FindPackagePrefix"],
}


class LaunchFile:
    """A launch file that is asked what it declares and what it would start."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        for name, members in MODULES.items():
            module = ModuleType(name)
            for member in members:
                setattr(module, member, globals().get(member) or type(member, (Recorded,), {}))
            patch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        (entities,) = module.generate_launch_description().args
        self.declared = {each.args[0]: each.options for each in entities if each.kind == "DeclareLaunchArgument"}
        (self._start,) = (each.options["function"] for each in entities if each.kind == "OpaqueFunction")

    def start(self, **given: str) -> list[Any]:
        """What is started with these arguments, checked as launch checks them."""
        unknown = given.keys() - self.declared.keys()
        assert not unknown, f"no such arguments: {unknown}"
        context = {name: given.get(name, options["default_value"]) for name, options in self.declared.items()}
        for name, value in context.items():
            choices = self.declared[name].get("choices")
            assert value is not None, f"{name} is required"
            assert choices is None or value in choices, f"{name} must be one of {choices}"
        started: list[Any] = self._start(context)
        return started
