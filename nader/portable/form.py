"""The form of a portable log: its header, its lines, and how a file of it is read."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from nader.errors import NaderError
from store.lineage import Head

FORMAT = "nader-log"
VERSION = 1
LONGEST_LINE = 256 << 20
"""Bytes of one line that are read: a blob of a hundred megabytes fits, an endless line does not."""


class PortableError(NaderError):
    """A file of a log that cannot be written or is not fit to be imported; nothing was changed."""


@dataclass(frozen=True)
class Branch:
    """A branch as the file holds it: its own events, those from `fork_position` + 1 on."""

    name: str
    run: str
    parent: str | None
    fork_position: int
    head: Head

    @property
    def events(self) -> int:
        """Events of its own."""
        return self.head.position - self.fork_position


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    branches: tuple[Branch, ...]
    events: int
    blobs: int
    acks: int
    nader_version: str


def blob_bytes(line: dict[str, Any]) -> bytes:
    """The bytes of a blob's line."""
    return line["text"].encode("utf-8") if "text" in line else base64.b64decode(line["base64"], validate=True)


def read_header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
        named = header["format"] == FORMAT
    except (ValueError, KeyError, TypeError):
        named = False
    if not named:
        raise PortableError("it is no file of `nader export-log`")
    if header["version"] != VERSION:
        raise PortableError(
            f"it has format {header['version']}, and this nader reads format {VERSION}: upgrade nader"
        )
    return dict(header)


def read_branches(header: dict[str, Any]) -> dict[str, Branch]:
    found: dict[str, Branch] = {}
    for row in header["branches"]:
        if row["parent"] is not None and row["parent"] not in found:
            raise PortableError(f"the parent of {row['name']} is missing")
        position, hash = row["head"]
        found[row["name"]] = Branch(
            row["name"], row["run"], row["parent"], row["fork_position"], Head(position, hash)
        )
    return found


@contextmanager
def read_lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a file, unpacked as they are read."""
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise PortableError(f"there is no file {path}") from None
    except OSError as error:
        raise PortableError(f"{path} cannot be read: {(error.strerror or '').lower()}") from None
    with raw:
        stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw), 1 << 20)
        yield iter(lambda: stream.readline(LONGEST_LINE), b"")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in whatever is wrong with it."""
    try:
        yield
    except PortableError as error:
        raise PortableError(f"{path} cannot be imported: {error}") from None
    except (zstandard.ZstdError, OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise PortableError(
            f"{path} cannot be imported: it is damaged ({type(error).__name__}: {error})"
        ) from None
