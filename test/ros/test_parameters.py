"""ROS parameters from settings and back: description, unit, range, and the precedence of what was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from subpx_ros.config import PRESETS, Config, NodeConfig
from subpx_ros.errors import ConfigError
from subpx_ros.ros.parameters import Effective, NodeParameters
from subpx_ros.settings import walk

Make = Callable[..., tuple[Node, NodeParameters]]
CPU = {"device": "cpu"}


@pytest.fixture
def make(context: Context) -> Iterator[Make]:
    nodes: list[Node] = []

    def build(**given: Any) -> tuple[Node, NodeParameters]:
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        node = Node(
            f"node_{len(nodes)}",
            context=context,
            use_global_arguments=False,
            parameter_overrides=overrides,
            automatically_declare_parameters_from_overrides=True,
        )
        nodes.append(node)
        return node, NodeParameters(node)

    yield build
    for node in nodes:
        node.destroy_node()


def test_every_setting_is_a_parameter_with_its_text_unit_and_range(make: Make) -> None:
    node, _ = make()
    for name, value, entry in [*walk(Config()), *walk(NodeConfig())]:
        descriptor: ParameterDescriptor = node.describe_parameter(name)
        assert entry.metadata["doc"] in descriptor.description
        assert entry.metadata["unit"] in descriptor.additional_constraints
        assert ("can change while the node runs" in descriptor.additional_constraints) == entry.metadata["live"]
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        if entry.metadata["minimum"] is not None:
            assert ranges[0].from_value == entry.metadata["minimum"]
        if entry.metadata["maximum"] is not None:
            assert ranges[0].to_value == entry.metadata["maximum"]
        assert node.get_parameter(name).value == ("stereo" if name == "mode" else value)


def test_a_preset_acts_although_every_parameter_has_a_default(make: Make) -> None:
    node, parameters = make(preset="sift", **CPU)
    effective = parameters.freeze()
    assert effective.config.features.detector == "sift"
    assert effective.config.matching.min_similarity == PRESETS["sift"]["matching"]["min_similarity"]
    assert effective.config.mode == "stereo"
    assert node.get_parameter("features.detector").value == "sift"


def test_a_given_parameter_beats_the_preset_even_when_it_equals_the_default(make: Make) -> None:
    default = Config().matching.min_similarity
    assert default != PRESETS["sift"]["matching"]["min_similarity"]
    _, parameters = make(preset="sift", matching__min_similarity=default, path_length=7, **CPU)
    effective = parameters.freeze()
    assert effective.config.features.detector == "sift"
    assert effective.config.matching.min_similarity == default
    assert effective.node.path_length == 7


def test_the_automatic_preset_is_named_after_configuring(make: Make) -> None:
    node, parameters = make(**CPU)
    parameters.freeze()
    assert node.get_parameter("preset").value == "xfeat"


def test_what_is_set_while_unconfigured_counts_and_later_only_what_is_live(make: Make) -> None:
    node, parameters = make(**CPU)
    assert node.set_parameters([Parameter("preset", value="sift")])[0].successful
    assert parameters.freeze().config.features.detector == "sift"
    refused = node.set_parameters([Parameter("features.detector", value="xfeat")])[0]
    assert (
        not refused.successful and "features.detector can change only while the node is unconfigured" in refused.reason
    )
    parameters.thaw()
    # What the preset filled in before was not given by anyone, so another preset takes effect.
    assert node.set_parameters([Parameter("preset", value="xfeat")])[0].successful
    assert parameters.freeze().config.features.detector == "xfeat"


def test_live_parameters_change_what_is_in_effect_and_survive_a_clean_up(make: Make) -> None:
    node, parameters = make(preset="sift", **CPU)
    told: list[Effective] = []
    before = parameters.freeze(told.append)
    changes: list[Parameter[Any]] = [
        Parameter("features.max_keypoints", value=100),
        Parameter("publish_tf", value=False),
    ]
    assert node.set_parameters_atomically(changes).successful
    (after,) = told
    assert after.config == replace(before.config, features=replace(before.config.features, max_keypoints=100))
    assert after.node == replace(before.node, publish_tf=False)
    assert node.set_parameters([Parameter("pose.min_inliers", value=30)])[0].successful
    assert (told[-1].config.pose.min_inliers, told[-1].config.features.max_keypoints) == (30, 100)
    parameters.thaw()
    assert parameters.freeze() == told[-1]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("features.max_keypoints", 1, "range"),
        ("pose.confidence", float("nan"), ""),
        ("odometry.keyframe_min_motion_px", -1.0, "range"),
        ("mode", "mono", "unconfigured"),
        ("odom_frame", "map", "unconfigured"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(make: Make, name: str, value: Any, text: str) -> None:
    node, parameters = make(**CPU)
    told: list[Effective] = []
    parameters.freeze(told.append)
    shown = node.get_parameter(name).value
    refused = node.set_parameters_atomically([Parameter("path_length", value=5), Parameter(name, value=value)])
    assert not refused.successful and text in refused.reason
    assert (node.get_parameter(name).value, node.get_parameter("path_length").value) == (shown, 10000)
    assert not told


def test_a_fixed_parameter_may_be_set_to_what_it_is(make: Make) -> None:
    """As `ros2 param load` of a dumped file does."""
    node, parameters = make(**CPU)
    parameters.freeze()
    unchanged = [Parameter(name, value=node.get_parameter(name).value) for name, _, _ in walk(Config())]
    assert all(result.successful for result in node.set_parameters(unchanged))


def test_what_names_models_frames_or_topics_is_not_live() -> None:
    live = {name for kind in (Config(), NodeConfig()) for name, _, entry in walk(kind) if entry.metadata["live"]}
    fixed = {"preset", "mode", "refiner", "device", "threads", "fixed_size", "features.detector", "matching.matcher"}
    assert not live & (fixed | {"refinement.weights", "odom_frame", "base_frame", "reliable", "image_transport"})
    assert {name for name, _, _ in walk(Config()) if name.startswith("pose.")} <= live
    assert {name for name, _, _ in walk(NodeConfig()) if name.startswith("diagnostics.")} <= live


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("preset", "nope", "unknown preset"),
        ("mode", "auto", "mono, stereo"),
        ("device", "tpu", "one of auto, cpu, cuda"),
        ("pose.seed", -1, "range"),
        ("camera_in_base", "0 0", "six finite numbers"),
        ("matching.min_confidence", float("nan"), ""),
    ],
)
def test_a_bad_value_is_refused_when_it_is_set(make: Make, name: str, value: Any, text: str) -> None:
    node, parameters = make(**CPU)
    result = node.set_parameters([Parameter(name, value=value)])[0]
    assert not result.successful
    assert text in result.reason
    parameters.freeze()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_keypoint": 3}, "unknown parameter 'max_keypoint'"),
        ({"features__max_keypoint": 3}, "did you mean 'features.max_keypoints'"),
        ({"features__max_keypoints": "many"}, "features.max_keypoints"),
        ({"features__max_keypoints": 2}, "features.max_keypoints"),
        ({"sync_slop_s": 1.5}, "sync_slop_s"),
        ({"preset": "nope"}, "unknown preset"),
        ({"mode": "auto"}, "mono, stereo, rgbd"),
    ],
)
def test_a_bad_override_is_refused_with_its_name(make: Make, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text.replace("(", "\\(")):
        make(**given)


def test_parameters_of_ros_itself_pass(make: Make) -> None:
    node, _ = make(use_sim_time=True, **{"qos_overrides./left/image_rect.subscription.depth": 3})
    assert node.get_parameter("use_sim_time").value is True
