"""Arrays of a scene_info npz without executing anything in it.

These files hold arrays of Python objects (texts, tuples, small matrices), which NumPy stores as pickles and reads only
with `allow_pickle=True`, that is by running whatever the file says. Here plain arrays are read without pickles, and the
others by an unpickler that can build arrays, numbers, texts, tuples and lists, and refuses every other name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from subpx_ros.errors import DataError

_MAX_BYTES = 2 * 2**30
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}


class _ArraysOnly(pickle.Unpickler):
    """Finds NumPy's own constructors of arrays and numbers, and `codecs.encode` to Latin-1 for their bytes."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            if module.endswith("multiarray"):
                return getattr((getattr(np, "_core", None) or np.core).multiarray, name)
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array of numbers and texts needs")


def read_scene_arrays(path: Path) -> dict[str, Any]:
    """Name to array of an npz file.

    Raises:
        DataError: no npz, damaged, or a pickle that asks for anything else than arrays, numbers and texts.
    """
    if not path.is_file():
        raise DataError(f"{path} is needed but is not there")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if sum(member.file_size for member in members) > _MAX_BYTES:
                raise DataError(f"{path}: more than {_MAX_BYTES >> 30} GiB unpacked, which no scene has")
            return {member.filename[:-4]: _read_array(archive.read(member)) for member in members}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged archives and pickles raise whatever they lead their readers to
        raise DataError(f"{path} is no scene_info npz that can be read: {' '.join(str(error).split())}") from None


def _read_array(data: bytes) -> Any:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"npy version {version} is not known")
    _, _, dtype = read_header[version](stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(data), allow_pickle=False)
    array = _ArraysOnly(stream, encoding="latin1").load()
    if not isinstance(array, np.ndarray):
        raise pickle.UnpicklingError(f"an array is required; its pickle holds {type(array).__name__}")
    return array


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding[:20]} are not expected")
    return text.encode("latin1")
