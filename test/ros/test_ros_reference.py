"""The documents of the ROS interface against the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import ros_reference
from launch_recorder import LaunchFile
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy

from subpx_ros.datatypes import TrackingState
from subpx_ros.msg import OdometryStatus
from subpx_ros.ros.node import NODE_NAME, OdometryNode
from subpx_ros.ros.parameters import all_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/*.md"))


@pytest.fixture(scope="module")
def found(domain: int) -> dict[str, ros_reference.Interface]:
    if importlib.util.find_spec("tf2_ros"):
        pytest.skip("the documents describe the node with the package's own tf2_ros, and a distribution's is installed")
    return ros_reference.interfaces()


@pytest.mark.parametrize("name", ros_reference.DOCUMENTS)
def test_the_documents_say_what_the_code_does(found: dict[str, ros_reference.Interface], name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    current = ros_reference.with_generated(text, ros_reference.generated(found))
    assert text == current, f"{name} is not current: run .venv/bin/python -m tools.ros_reference"
    assert text.count("<!-- generated: ") == text.count("<!-- end of generated -->") > 0


def test_a_topic_without_a_text_is_noticed(
    found: dict[str, ros_reference.Interface], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ros_reference.TEXTS, "odom")
    with pytest.raises(ValueError, match=r"differing: \['odom'\]"):
        ros_reference.generated(found)


def test_the_states_of_message_code_and_documents_are_the_same() -> None:
    states = {state.name: state.value for state in TrackingState}
    assert states == {name: getattr(OdometryStatus, name) for name in states}
    text = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")
    assert states == {name: int(value) for name, value in re.findall(r"^\| ([A-Z]+) \| (\d) \|", text, re.MULTILINE)}


def test_the_reasons_that_are_explained_are_given_by_the_code() -> None:
    page = (ROOT / "docs" / "when_it_says_lost.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(words) > 10
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "subpx_ros").rglob("*.py"))
    joined = re.sub(r'"\n\s*f?"', "", source)  # texts that go on in the next line
    assert not [each for each in words if each not in joined]


def test_settings_that_pages_name_exist(found: dict[str, ros_reference.Interface]) -> None:
    known = {name for name, _, _ in all_settings()}
    stages = "|".join(sorted({name.partition(".")[0] for name in known if "." in name}))
    for path in (ROOT / "docs" / "ros.md", ROOT / "docs" / "when_it_says_lost.md"):
        named = re.findall(rf"`((?:{stages})\.\w+)`", path.read_text(encoding="utf-8"))
        assert named and set(named) <= known


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_launch_commands_and_links_of_a_page_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text(encoding="utf-8")
    for file, arguments in re.findall(r"ros2 launch subpx_ros (\S+\.launch\.py)(.*)", text):
        declared = LaunchFile(ROOT / "launch" / file, monkeypatch).declared
        names = re.findall(r"(?<![/\w\":])(\w+):=", arguments)
        assert set(names) <= declared.keys()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), target


def test_the_example_of_a_qos_override_works(context: Context, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```\n(/\*\*:\n.*?)```", page, flags=re.DOTALL)
    file = tmp_path / "parameters.yaml"
    file.write_text(example)
    given = {"preset": "sift", "refiner": "none", "device": "cpu", "autostart": False}
    node = OdometryNode(
        context=context,
        cli_args=["--ros-args", "--params-file", str(file)],
        use_global_arguments=False,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    try:
        assert node.start()
        found = {each.topic_name: each.qos_profile for each in node.subscriptions}
        assert (found["/left/image_rect"].reliability, found["/left/image_rect"].depth) == (
            ReliabilityPolicy.RELIABLE,
            2,
        )
        assert found["/right/image_rect"].reliability == ReliabilityPolicy.BEST_EFFORT
    finally:
        node.stop()
        node.destroy_node()


def test_the_policy_is_one_profile_of_the_node() -> None:
    policy = ElementTree.parse(ROOT / "config" / "sros2_policy.xml").getroot()
    (profile,) = policy.iter("profile")
    assert profile.attrib == {"ns": "/", "node": NODE_NAME}
    allowed = {(group.tag, *group.attrib.items()): {each.text for each in group} for group in profile}
    assert {"odom", "~/status", "/tf"} <= allowed[("topics", ("publish", "ALLOW"))]
    assert {"left/image_rect", "/tf_static"} <= allowed[("topics", ("subscribe", "ALLOW"))]
    assert "~/reset" in allowed[("services", ("reply", "ALLOW"))]
