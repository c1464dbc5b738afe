"""Every setting of Config and NodeConfig as a ROS parameter, and back.

A parameter that nobody gave must not mask the preset: what the user gave (launch file, command line, params file,
`ros2 param set` before configuring) is kept apart from the declared defaults. After configuring, the parameters
show the values in effect.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from subpx_ros.config import NODE_MODES, PRESETS, Config, NodeConfig, load_config
from subpx_ros.errors import ConfigError
from subpx_ros.frames import base_from_optical
from subpx_ros.settings import from_mapping, merge, nest, unknown_name, walk

_DEFAULT_MODE = "stereo"

_OF_RCLPY = ("use_sim_time", "start_type_description_service")
_QOS_OVERRIDES = "qos_overrides."


@dataclass(frozen=True)
class Effective:
    """What the node runs with."""

    config: Config
    node: NodeConfig


class NodeParameters:
    """Declares the parameters of a node that was made with automatically_declare_parameters_from_overrides.

    All can be set while the node is unconfigured. Later only those that are marked live can change, until it is cleaned up.
    """

    def __init__(self, node: Node) -> None:
        """Raises ConfigError: an unknown parameter, or a value of the wrong type or out of its range."""
        self._node = node
        self._effective: Effective | None = None
        self._on_change: Callable[[Effective], None] = lambda effective: None
        self._committing = False
        self._fields = {name: (value, entry) for name, value, entry in all_settings()}
        overridden = self._withdraw_overrides()
        for name, (value, entry) in self._fields.items():
            self._declare(name, value, entry)
        self._given: dict[str, Any] = {name: node.get_parameter(name).value for name in overridden}
        check(self._given)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._remember)

    @property
    def node_config(self) -> NodeConfig:
        """The settings of the node itself, which no preset changes."""
        return resolve_node(self._given)

    def freeze(self, on_change: Callable[[Effective], None] = lambda effective: None) -> Effective:
        """The settings that the given parameters make with the preset, from now on changeable only where they are live.

        Args:
            on_change: called with the new settings after each change, until `thaw`.

        Raises:
            ConfigError: unknown preset, or a combination that is not allowed.
        """
        effective = resolve(self._given)
        self.show(dict(_leaves(effective)))
        self._effective, self._on_change = effective, on_change
        return effective

    def show(self, values: Mapping[str, Any]) -> None:
        """Sets parameters to the values in effect; they do not count as given."""
        self._committing = True
        try:
            self._node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
        finally:
            self._committing = False

    def thaw(self) -> None:
        self._effective = None

    def _withdraw_overrides(self) -> list[str]:
        """Undeclares what rclpy declared from overrides, so that it is declared again with type, range and text."""
        names = [name for name in self._node.list_parameters([], 0).names if name not in _OF_RCLPY]
        ours = [name for name in names if not name.startswith(_QOS_OVERRIDES)]
        for name in ours:
            if name not in self._fields:
                raise ConfigError(unknown_name("parameter", name, list(self._fields)))
        for name in names:
            self._node.undeclare_parameter(name)
        return ours

    def _declare(self, name: str, value: Any, entry: Field[Any]) -> None:
        try:
            self._node.declare_parameter(name, value, describe(entry))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"parameter '{name}' is refused: {error}") from None

    def _validate(self, parameters: Iterable[Parameter[Any]]) -> SetParametersResult:
        ours = self._ours(parameters)
        try:
            if ours and self._effective is None:
                check({**self._given, **ours})
            elif ours and self._effective is not None:
                shown = {name: self._node.get_parameter(name).value for name in ours}
                _changed(self._effective, {name: value for name, value in ours.items() if value != shown[name]})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _remember(self, parameters: Iterable[Parameter[Any]]) -> None:
        ours = self._ours(parameters)
        self._given.update(ours)
        live = {name: value for name, value in ours.items() if self._fields[name][1].metadata["live"]}
        if live and self._effective is not None:
            self._effective = _changed(self._effective, live)
            self._on_change(self._effective)

    def _ours(self, parameters: Iterable[Parameter[Any]]) -> dict[str, Any]:
        """Values by name of what somebody else sets, as far as it is a setting."""
        if self._committing:
            return {}
        return {parameter.name: parameter.value for parameter in parameters if parameter.name in self._fields}


def resolve(given: Mapping[str, Any]) -> Effective:
    """The settings of dotted parameter names and values over preset and defaults. Raises ConfigError."""
    ours = {name: value for name, value in given.items() if name not in _node_names()}
    mode = ours.setdefault("mode", _DEFAULT_MODE)
    if mode not in NODE_MODES:
        raise ConfigError(f"parameter 'mode' takes one of {', '.join(NODE_MODES)} in the node; got {mode!r}")
    return Effective(load_config(nest(ours)), resolve_node(given))


def resolve_node(given: Mapping[str, Any]) -> NodeConfig:
    """The part of the given parameters that NodeConfig holds. Raises ConfigError."""
    return from_mapping(NodeConfig, nest({name: value for name, value in given.items() if name in _node_names()}))


def _changed(effective: Effective, changes: Mapping[str, Any]) -> Effective:
    """`effective` with live settings changed. Raises ConfigError: not live, or a value that is not allowed."""
    fixed = [name for name, _, entry in all_settings() if name in changes and not entry.metadata["live"]]
    if fixed:
        raise ConfigError(f"{', '.join(fixed)} can change only while the node is unconfigured: clean it up first")
    ours = {name: changes[name] for name in changes.keys() & _node_names()}
    others = {name: changes[name] for name in changes.keys() - _node_names()}
    return Effective(merge(effective.config, nest(others)), merge(effective.node, nest(ours)))


def check(given: Mapping[str, Any]) -> None:
    """Raises ConfigError for what `resolve` would refuse, without finding out what an automatic preset stands for."""
    preset = given.get("preset", "auto")
    resolve({**given, "preset": next(iter(PRESETS)) if preset == "auto" else preset})
    camera_in_base = resolve_node(given).camera_in_base
    if camera_in_base:
        base_from_optical(camera_in_base)


def all_settings() -> Iterable[tuple[str, Any, Field[Any]]]:
    yield from walk(merge(Config(), {"mode": _DEFAULT_MODE}))
    yield from walk(NodeConfig())


def _leaves(effective: Effective) -> Iterable[tuple[str, Any]]:
    for settings in (effective.config, effective.node):
        yield from ((name, value) for name, value, _ in walk(settings))


def _node_names() -> frozenset[str]:
    return frozenset(name for name, _, _ in walk(NodeConfig()))


def describe(entry: Field[Any]) -> ParameterDescriptor:
    """Text, unit, choices and range of a setting."""
    unit, choices = entry.metadata["unit"], entry.metadata["choices"]
    minimum, maximum = entry.metadata["minimum"], entry.metadata["maximum"]
    constraints = [f"unit: {unit}"] if unit else []
    if choices:
        names = NODE_MODES if entry.name == "mode" else choices
        constraints.append(f"one of: {', '.join(names)}")
    constraints.append("can change while the node runs" if entry.metadata["live"] else "fixed once configured")
    descriptor = ParameterDescriptor(
        description=entry.metadata["doc"] + (f" Unit: {unit}." if unit else ""),
        additional_constraints="; ".join(constraints),
    )
    if minimum is None and maximum is None:
        return descriptor
    if isinstance(entry.default, int):
        low, high = -(2**63) if minimum is None else minimum, 2**63 - 1 if maximum is None else maximum
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    else:
        largest = sys.float_info.max
        low, high = -largest if minimum is None else minimum, largest if maximum is None else maximum
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor
