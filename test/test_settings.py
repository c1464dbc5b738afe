"""Settings, presets and configuration files: what is taken, what is refused and with which words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from subpx_ros.config import PRESETS, Config, NodeConfig, load_config, read_yaml_table
from subpx_ros.datasets.street import StreetConfig
from subpx_ros.errors import ConfigError
from subpx_ros.settings import Settings, from_mapping, merge, nest, to_mapping, walk

ALL_KINDS: list[type[Settings]] = [Config, NodeConfig, StreetConfig]
LEAVES = [
    pytest.param(kind, name, value, entry, id=f"{kind.__name__}.{name}")
    for kind in ALL_KINDS
    for name, value, entry in walk(kind())
]
RANGED = [leaf for leaf in LEAVES if leaf.values[3].metadata["minimum"] is not None]  # type: ignore[union-attr]
CHOSEN = [leaf for leaf in LEAVES if leaf.values[3].metadata["choices"]]  # type: ignore[union-attr]


def with_value(kind: type[Settings], name: str, value: Any) -> Any:
    """What the setting of that dotted name holds after it was given `value`."""
    return {found: held for found, held, _ in walk(from_mapping(kind, nest({name: value})))}[name]


@pytest.mark.parametrize(("kind", "name", "value", "entry"), LEAVES)
def test_every_setting_is_documented_and_takes_its_own_default(
    kind: type[Settings], name: str, value: Any, entry: dataclasses.Field[Any]
) -> None:
    doc = entry.metadata["doc"]
    assert len(doc.split()) >= 3 and doc.endswith(".")
    assert with_value(kind, name, value) == value


@pytest.mark.parametrize(("kind", "name", "value", "entry"), LEAVES)
@pytest.mark.parametrize("wrong", [None, [1], {"a": 1}, b"1", 1j], ids=repr)
def test_every_setting_refuses_another_type(
    kind: type[Settings], name: str, value: Any, entry: dataclasses.Field[Any], wrong: object
) -> None:
    with pytest.raises(ConfigError, match=f"setting '{name}' takes "):
        with_value(kind, name, wrong)


@pytest.mark.parametrize(("kind", "name", "value", "entry"), RANGED)
def test_ranges_include_their_ends_and_nothing_beyond(
    kind: type[Settings], name: str, value: Any, entry: dataclasses.Field[Any]
) -> None:
    number = type(value)
    least, most = number(entry.metadata["minimum"]), number(entry.metadata["maximum"])
    step = 1 if number is int else 1e-9 * max(abs(most), 1.0)
    assert with_value(kind, name, least) == least
    assert with_value(kind, name, most) == most
    for outside in (least - step, most + step):
        with pytest.raises(ConfigError, match=f"'{name}' takes .* from .* to .*; got"):
            with_value(kind, name, outside)


@pytest.mark.parametrize(("kind", "name", "value", "entry"), RANGED)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), True, "1", 10**400], ids=str)
def test_numbers_must_be_finite_numbers(
    kind: type[Settings], name: str, value: Any, entry: dataclasses.Field[Any], wrong: object
) -> None:
    with pytest.raises(ConfigError, match=f"setting '{name}' takes "):
        with_value(kind, name, wrong)


@pytest.mark.parametrize(("kind", "name", "value", "entry"), CHOSEN)
def test_choices_are_named_when_another_comes(
    kind: type[Settings], name: str, value: Any, entry: dataclasses.Field[Any]
) -> None:
    for choice in entry.metadata["choices"]:
        assert with_value(kind, name, choice) == choice
    with pytest.raises(ConfigError, match=", ".join(entry.metadata["choices"])):
        with_value(kind, name, "something else")


def test_on_and_off_may_stand_without_quotes_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for word in ("on", "off"):
        path.write_text(f"fixed_size: {word}\n", encoding="utf-8")
        assert load_config({}, path).fixed_size == word
    with pytest.raises(ConfigError, match="'refiner' takes one of auto, none, keypt2subpx, subpx; got True"):
        from_mapping(Config, {"refiner": True})


def test_whole_numbers_serve_as_real_ones_but_not_the_other_way_round() -> None:
    threshold = from_mapping(Config, {"pose": {"epipolar_threshold_px": 2}}).pose.epipolar_threshold_px
    assert threshold == 2.0 and isinstance(threshold, float)
    with pytest.raises(ConfigError, match=r"'pose.min_matches' takes a whole number"):
        from_mapping(Config, {"pose": {"min_matches": 20.0}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pose": {"min_inlier": 3}}, r"unknown setting 'pose\.min_inlier' \(did you mean 'pose\.min_inliers'\?\)"),
        ({"deivce": "cpu"}, r"unknown setting 'deivce' \(did you mean 'device'\?\)"),
        ({"features": {"qqqqqqqq": 1}}, r"unknown setting 'features\.qqqqqqqq'; known are: .*features\.detector"),
        ({1: 2}, "unknown setting '1'"),
        ({"pose": 3}, r"pose\. takes a table of settings; got 3"),
        ({"pose": None}, "takes a table of settings"),
        ({"pose": {"seed": -1}}, r"setting 'pose\.seed' takes a whole number from 0 to .*; got -1"),
        ({"odometry": {"keyframe_min_motion_px": -1}}, r"from 0\.0 to 200\.0 \(px\); got -1"),
    ],
)
def test_messages_name_the_setting_what_it_takes_and_what_came(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(Config, values)


def test_merge_keeps_what_is_not_named_and_leaves_the_base_alone() -> None:
    base = Config()
    changed = merge(base, {"pose": {"seed": 7}, "mode": "mono"})
    assert (changed.pose.seed, changed.mode) == (7, "mono")
    assert dataclasses.replace(changed, pose=base.pose, mode="auto") == base == Config()


def test_walk_names_every_leaf_once_and_nest_undoes_it() -> None:
    names = [name for name, _, _ in walk(Config())]
    assert len(set(names)) == len(names)
    assert {"preset", "pose.seed", "features.detector"} <= set(names)
    assert nest({name: value for name, value, _ in walk(Config())}) == to_mapping(Config())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_loads_and_survives_a_file(preset: str, tmp_path: Path) -> None:
    config = load_config({"preset": preset})
    assert config.preset == preset
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(to_mapping(config)))
    assert load_config(file=file) == config
    assert from_mapping(Config, to_mapping(config)) == config


def test_presets_set_something_that_the_default_does_not() -> None:
    assert load_config({"preset": "sift"}).features.detector == "sift"
    assert load_config({"preset": "aliked"}).matching.matcher == "lightglue"
    assert load_config({"preset": "xfeat"}).features.detector == "xfeat"


def test_strongest_last_preset_then_file_then_overrides(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("preset: sift\nmatching: {min_similarity: 0.5}\npose: {seed: 3}\n")
    config = load_config(file=file)
    assert (config.features.detector, config.matching.min_similarity, config.pose.seed) == ("sift", 0.5, 3)
    config = load_config({"matching": {"min_similarity": 0.25}}, file)
    assert (config.features.detector, config.matching.min_similarity, config.pose.seed) == ("sift", 0.25, 3)
    config = load_config({"preset": "xfeat"}, file)
    assert (config.preset, config.features.detector, config.matching.min_similarity) == ("xfeat", "xfeat", 0.5)


def test_the_default_preset_of_a_cpu_is_xfeat_and_is_written_out() -> None:
    assert load_config({"device": "cpu"}).preset == "xfeat"


@pytest.mark.parametrize("preset", ["shift", "", None, 3, ["sift"], {"sift": 1}], ids=repr)
def test_unknown_presets_are_refused_with_the_known_ones(preset: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown preset .*known are: auto, xfeat, aliked, .*sift"):
        load_config({"preset": preset})
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"preset": preset}))
    with pytest.raises(ConfigError, match="unknown preset"):
        load_config(file=file)


def test_a_nearly_right_preset_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'sift'\?"):
        load_config({"preset": "shift"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "is not valid YAML"),
        (b"- 1\n- 2\n", "must hold a table of settings; got list"),
        (b"", "must hold a table of settings; got NoneType"),
        (b"\xff\xfe\x00", "cannot read the configuration file"),
        (b"!!python/object/apply:os.system ['true']", "is not valid YAML"),
        (b"device: !!int ''", "is not valid YAML"),
        (b"device: !!bool maybe", "is not valid YAML"),
        (b"device: !!timestamp now", "is not valid YAML"),
        (b"[" * 20000, "is not valid YAML"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_files_that_are_no_settings_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(file=file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        read_yaml_table(tmp_path / name)


def test_a_few_lines_of_nested_aliases_do_not_make_a_huge_message(tmp_path: Path) -> None:
    levels = [f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(["pose:", "  l0: &l0 [1]", *levels, "device: *l8", ""]))
    with pytest.raises(ConfigError) as caught:
        load_config(file=file)
    assert len(str(caught.value)) < 1000


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=8), st.dates()
)
NAMES = [part for name, _, _ in walk(Config()) for part in name.split(".")]
KEYS = st.one_of(st.sampled_from(NAMES), SCALARS)
TABLES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TABLES, max_size=4))
@example({"pose": {"confidence": 10**400}})
@example({"pose": {"seed": 16**5000}})
@example({16**5000: 1})
@example({"preset": []})
@fuzz(200)
def test_any_table_makes_a_configuration_or_a_config_error(table: dict[Any, Any]) -> None:
    try:
        config = load_config({"device": "cpu"} | table)
    except ConfigError as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert from_mapping(Config, to_mapping(config)) == config


YAML_TAGS = ["!!int ", "!!float ", "!!bool ", "!!set ", "!!binary ", "!!timestamp ", "!!python/name:os.system "]
YAML_MARKS = [
    ": ",
    "\n",
    "  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "''",
    '"',
    "#",
    "%YAML 9",
    "\x00",
    "\u2028",
    "\ud7ff",
]
YAML_VALUES = ["1", "-1e999", ".nan", "1:2:3", "2001-99-99", "9999-12-31T23:59:59-23:59", "true", "~", "sift"]
YAML_PIECES = [*NAMES, *YAML_TAGS, *YAML_MARKS, *YAML_VALUES, "0x" + "f" * 5000]


@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(YAML_PIECES), max_size=12).map("".join)))
@fuzz(300)
def test_any_file_makes_a_configuration_or_a_config_error(tmp_path: Path, content: bytes | str) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        config = load_config({"device": "cpu", "preset": "xfeat"}, file)
    except ConfigError as error:
        assert str(error)
    else:
        assert config.device == "cpu"
