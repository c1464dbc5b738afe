"""Messages of a recording: rosbag2 (SQLite or MCAP, zstd or not, with or without its folder) and ROS 1 bags."""

from __future__ import annotations

import struct
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.typesys import Stores, get_typestore

from subpx_ros.errors import DataError

ENDINGS = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd", ".bag")
"""Of the names of storage files."""

_MOST_EXPANSION = 100
_SMALL_BYTES = 2**30
_BLOCK_BYTES = 2**20


class BagReader:
    """An open bag. Message types are the standard ones of ROS 2 whatever definitions the bag carries."""

    def __init__(self, path: Path) -> None:
        """Raises DataError: no bag, cut off or damaged."""
        self.path = path
        self._store = get_typestore(Stores.ROS2_KILTED)
        stack = ExitStack()
        self.close = weakref.finalize(self, stack.close)
        """Closes the file; nothing can be read any more."""
        with readable(path):
            storage = _plain_storage(path, stack)
            self._of_ros1 = storage.suffix == ".bag"
            self._reader: Any = Reader1(storage) if self._of_ros1 else Reader2(storage)
            self._reader.open()
            stack.callback(self._reader.close)
            self.connections: list[Connection] = list(self._reader.connections)

    def messages(
        self, connections: Iterable[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, log time in ns and serialised message (CDR) of each with start <= log time < stop, by log time."""
        with readable(self.path):
            for connection, log_time, raw in self._reader.messages(list(connections), start, stop):
                if self._of_ros1:
                    raw = self._store.ros1_to_cdr(raw, connection.msgtype)
                yield connection, log_time, bytes(raw)

    def decode(self, raw: bytes, connection: Connection) -> Any:
        """The message, with the field names of ROS 2."""
        with readable(self.path):
            return self._store.deserialize_cdr(raw, connection.msgtype)

    def first(self, connection: Connection) -> Any:
        """Its first message. Raises DataError where there is none."""
        for _, _, raw in self.messages([connection]):
            return self.decode(raw, connection)
        raise DataError(f"{self.path} has no message on {connection.topic}, which is required: record it too")


def is_bag(path: Path) -> bool:
    """Whether the path is named as a bag, or a folder that holds one."""
    if path.is_dir():
        return (path / "metadata.yaml").exists() or bool(_storage_files(path))
    return path.name.endswith(ENDINGS)


def header_stamp(raw: bytes) -> int:
    """The stamp, ns, of a serialised message (CDR) that begins with a std_msgs/Header; nothing else is decoded."""
    if len(raw) < 12 or raw[0] != 0 or raw[1] not in (0, 1):
        raise DataError("a message is cut off or not in CDR encoding: record the bag again")
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] else ">iI", raw, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever the reading library raises about a damaged file into one DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - the parser meets arbitrary bytes and leaks struct, key and codec errors
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(
            f"{path} is not a complete rosbag2 (MCAP or SQLite, zstd or not): {cause}; "
            "record it again or repair it, for example with 'mcap recover'"
        ) from None


def _storage_files(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.name.endswith(ENDINGS))


def _plain_storage(path: Path, stack: ExitStack) -> Path:
    """What rosbags can open: the path, the one file of a folder without metadata, or an expanded copy."""
    if path.is_dir() and not (path / "metadata.yaml").exists():
        files = _storage_files(path)
        if len(files) != 1:
            raise DataError(f"{path} holds {len(files)} bag files and no metadata.yaml: name one of the files")
        path = files[0]
    if path.suffix != ".zstd":
        return path
    from backports import zstd  # of rosbags

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="subpx_bag_"))
    expanded = Path(folder) / path.stem
    most = max(_SMALL_BYTES, _MOST_EXPANSION * path.stat().st_size)
    with path.open("rb") as file, zstd.open(file, "rb") as source, expanded.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            if target.tell() + len(block) > most:
                raise DataError(f"{path} expands to more than {most >> 20} MiB, which no recording of cameras does")
            target.write(block)
    return expanded
