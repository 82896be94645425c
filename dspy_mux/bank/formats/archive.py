"""Members of a zip archive as JSON, read in memory; archives that are tricks are refused.

Nothing is written to disk. Inspect compresses by Zstandard, which zipfile lacks up to Python 3.13.
"""

from __future__ import annotations

import json
import stat
import zipfile
import zlib
from typing import Any

from ...errors import DataError, MissingExtra
from ...text import first_line

_ZSTANDARD = 93
_HEAD = 30  # bytes of a member's local header before its name
#: Bytes of one member, and how many times its packed size it may have if it is large.
MOST_BYTES = 2**30
MOST_RATIO = 500
_SMALL = 2**24
_MOST_MEMBERS = 5_000_000


class Archive:
    """A zip archive of JSON files.

    Attributes:
        names: its members, in the order stored.

    Raises:
        DataError: the file is not a zip archive, or one that names paths outside of it, or has
            links, encrypted members, or members larger than JSON files are.
    """

    def __init__(self, path: str):
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError as error:
            raise DataError(f"There is no file {path!r}.") from error
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise DataError(f"{path!r} is not a zip archive: {first_line(error)}.") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        try:
            self._check()
        except DataError:
            self._zip.close()
            raise
        self.names = list(self._members)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def json(self, name: str) -> Any:
        """Return a member, parsed.

        Raises:
            DataError: it cannot be read, is not as large as it says, or is not JSON.
            MissingExtra: it is compressed by Zstandard, and pyarrow is not installed.
        """
        content = self._content(self._members[name])
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name} in {self.path!r} is not JSON: {first_line(error)}.") from error

    def _check(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise DataError(f"{self.path!r} has {len(infos)} members, which no log has.")
        for info in infos:
            name = info.filename
            parts = name.replace("\\", "/").split("/")
            if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise self._refused(f"names the path {name!r} outside of it")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise self._refused(f"holds a link, {name!r}")
            if info.flag_bits & 1:
                raise self._refused(f"holds {name!r} encrypted")
            too_large = info.file_size > MOST_BYTES or (
                info.file_size > _SMALL and info.file_size > MOST_RATIO * info.compress_size
            )
            if too_large:
                raise self._refused(
                    f"would unpack {name!r} from {info.compress_size} to {info.file_size} bytes"
                )
            self._members[name] = info  # the last of a name counts, as for other readers of zip

    def _refused(self, why: str) -> DataError:
        return DataError(f"{self.path!r} {why}: it is refused.")

    def _content(self, info: zipfile.ZipInfo) -> bytes:
        try:
            if info.compress_type == _ZSTANDARD:
                content = self._unpacked(info)
            else:
                with self._zip.open(info) as member:
                    content = member.read(info.file_size + 1)  # it checks size and checksum
        except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
            raise DataError(
                f"{info.filename} in {self.path!r} cannot be read: {first_line(error)}."
            ) from error
        return content

    def _unpacked(self, info: zipfile.ZipInfo) -> bytes:
        """Return a member that is compressed by Zstandard."""
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtra(
                f"{self.path!r} is compressed by Zstandard, which needs pyarrow: "
                "pip install 'dspy-mux[parquet]', or write the log as .json "
                "(inspect log convert --to json)."
            ) from error
        with open(self.path, "rb") as file:
            file.seek(info.header_offset)
            head = file.read(_HEAD)
            name_length = int.from_bytes(head[26:28], "little")
            extra_length = int.from_bytes(head[28:30], "little")
            file.seek(info.header_offset + _HEAD + name_length + extra_length)
            packed = file.read(info.compress_size)
        try:
            with pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd") as stream:
                content: bytes = stream.read(info.file_size)
        except pyarrow.ArrowException as error:
            raise OSError(first_line(error)) from error
        if len(content) < info.file_size or zlib.crc32(content) != info.CRC:
            raise OSError("its size or its checksum differs")
        return content
