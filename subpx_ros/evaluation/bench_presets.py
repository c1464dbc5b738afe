"""The configurations that a benchmark compares, and what results depend on beside them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from subpx_ros.config import Config, load_config
from subpx_ros.errors import ConfigError, WeightsError
from subpx_ros.evaluation.bench_config import RunnerConfig, listed
from subpx_ros.settings import merge, nest


def preset_configs(names: Iterable[str], runner: RunnerConfig, file: Path | None, **chosen: Any) -> dict[str, Config]:
    """Presets by name, each without a refiner of its own and with its share of the cores.

    Args:
        names: of the presets.
        runner: how many processes share the cores.
        file: YAML file of settings, put over every preset.
        chosen: settings that are put over preset and file.

    Raises:
        ConfigError: an unknown name, or settings that are none.
    """
    cores = len(os.sched_getaffinity(0))
    presets = {}
    for name in names:
        loaded = load_config({"preset": name, "refiner": "none", **chosen}, file)
        presets[name] = replace(loaded, threads=loaded.threads or max(1, cores // runner.workers))
    return presets


def varied(presets: dict[str, Config], setting: str) -> dict[str, Config]:
    """Every preset with every value of a setting, `NAME=VALUE,VALUE`; as they are for an empty text.

    Raises:
        ConfigError: the text is of another form, or the setting or a value is none.
    """
    if not setting:
        return presets
    name, equals, values = setting.partition("=")
    if not equals:
        raise ConfigError(f"a setting to vary is NAME=VALUE,VALUE, as odometry.max_gap_s=1.0,2.0; got '{setting[:60]}'")
    return {
        f"{preset}+{name.rpartition('.')[2]}={value}": merge(config, nest({name: _plain(value)}))
        for preset, config in presets.items()
        for value in listed(values)
    }


def _plain(text: str) -> bool | int | float | str:
    """A value as YAML reads it: yes and no, numbers, else text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def file_digest(path: str) -> str:
    """Of the content of a checkpoint: results of an earlier training do not count for a later one. Empty for no path."""
    if not path:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}") from None
