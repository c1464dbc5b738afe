"""Range-checked settings: dataclasses whose fields carry their documentation, unit and range.

One description of each setting serves everybody: `__post_init__` checks it, files and command lines are read
through `from_mapping`, the node declares its ROS parameters from `walk`, and the documentation is printed from it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

from subpx_ros.errors import ConfigError

_Settings = TypeVar("_Settings", bound="Settings")

_LONGEST_SHOWN = 60


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field with its documentation, unit and inclusive range; `live`: it can change while the node runs."""
    metadata = {"doc": doc, "unit": unit, "minimum": minimum, "maximum": maximum, "choices": choices, "live": live}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Base of all configuration dataclasses (frozen): checks every field when it is made."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for entry in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, entry.name)
            if not isinstance(value, Settings):
                checked = check_value(entry.name, value, hints[entry.name], entry.metadata)
                object.__setattr__(self, entry.name, checked)


def check_value(name: str, value: Any, kind: type, metadata: Mapping[str, Any]) -> Any:
    """The value as `kind` when type, range and choices allow it.

    Raises:
        ConfigError: naming the setting, what it takes and what came.
    """
    refusal = ConfigError(f"setting '{name}' takes {_describe(kind, metadata)}; got {_shown(value)}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise refusal from None
    if isinstance(value, bool) and {"on", "off"} <= set(metadata.get("choices") or ()):
        value = "on" if value else "off"  # as YAML reads these words where they stand without quotes
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise refusal
    if isinstance(value, float) and not math.isfinite(value):
        raise refusal
    minimum, maximum, choices = (metadata.get(key) for key in ("minimum", "maximum", "choices"))
    too_small = minimum is not None and value < minimum
    too_large = maximum is not None and value > maximum
    if too_small or too_large or (choices and value not in choices):
        raise refusal
    return value


def _shown(value: Any) -> str:
    """A value for an error message, short whatever came: nested YAML aliases, or numbers too long to be printed."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number too long to be shown"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _describe(kind: type, metadata: Mapping[str, Any]) -> str:
    if metadata.get("choices"):
        return "one of " + ", ".join(metadata["choices"])
    text = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}.get(
        kind, kind.__name__
    )
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    if minimum is not None and maximum is not None:
        text += f" from {minimum} to {maximum}"
    elif minimum is not None:
        text += f" of at least {minimum}"
    unit = metadata.get("unit")
    return f"{text} ({unit})" if unit else text


def unknown_name(what: str, name: object, known: list[str]) -> str:
    """The message for a name that is not in a table: the nearest known one, and all of them."""
    text = name if isinstance(name, str) and len(name) <= _LONGEST_SHOWN else _shown(name)
    near = difflib.get_close_matches(text, known, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    return f"unknown {what} '{text}'{hint}; known are: {', '.join(known)}"


def from_mapping(kind: type[_Settings], values: Mapping[str, Any], where: str = "") -> _Settings:
    """Settings of type `kind` from nested mappings; what is not named keeps its default.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type or out of its range.
    """
    return merge(kind(), values, where)


def merge(base: _Settings, values: Mapping[str, Any], where: str = "") -> _Settings:
    """`base` with the nested `values` put over it. Raises as `from_mapping`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'the configuration'} takes a table of settings; got {_shown(values)}")
    known = [entry.name for entry in dataclasses.fields(base)]  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            shown = key if isinstance(key, str) else _shown(key)
            raise ConfigError(unknown_name("setting", f"{where}{shown}", [f"{where}{name}" for name in known]))
        current = getattr(base, key)
        changes[key] = merge(current, value, f"{where}{key}.") if isinstance(current, Settings) else value
    try:
        return dataclasses.replace(base, **changes)  # type: ignore[type-var]
    except ConfigError as error:
        raise ConfigError(str(error).replace("setting '", f"setting '{where}", 1)) from None


def to_mapping(settings: Settings) -> dict[str, Any]:
    """Nested plain values, ready for YAML or JSON."""
    return dataclasses.asdict(settings)  # type: ignore[call-overload]


def walk(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every leaf as (dotted name, value, field with its metadata), in the order of declaration."""
    for entry in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, entry.name)
        if isinstance(value, Settings):
            yield from walk(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", value, entry


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """{'pose.seed': 1} to {'pose': {'seed': 1}}. Raises ConfigError when a name is a setting and a folder of settings."""
    nested: dict[str, Any] = {}
    for name, value in dotted.items():
        *folders, leaf = name.split(".")
        level = nested
        for folder in folders:
            level = level.setdefault(folder, {})
            if not isinstance(level, dict):
                raise ConfigError(
                    f"setting '{name[:_LONGEST_SHOWN]}' lies below '{folder[:_LONGEST_SHOWN]}', which has a value"
                )
        level[leaf] = value
    return nested
