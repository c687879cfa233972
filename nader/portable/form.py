"""The form of a portable log: its header, its lines, and how a file of it is read."""

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from nader.errors import NaderError
from nader.workspace import LIBRARY, is_name
from store.lineage import MASK, Head

FORMAT = "nader-log"
VERSION = 2
"""Of the form, and of what the hashes in it are made over (`store.schema.FORMAT`)."""
LONGEST_LINE = 256 << 20
"""Bytes of one line that are read: a blob of a hundred megabytes fits, an endless line does not."""
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_ZSTD = zstandard.MAGIC_NUMBER.to_bytes(4, "little")


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
        cut = "" if line.endswith(b"\n") else ", or it was cut off in its first line"
        raise PortableError(f"it is no file of `nader export-log`{cut}")
    if header["version"] != VERSION:
        remedy = "it is of before the first release" if header["version"] == 1 else "upgrade nader"
        raise PortableError(
            f"it has format {header['version']}, and this nader reads format {VERSION}: {remedy}"
        )
    return dict(header)


def read_branches(header: dict[str, Any]) -> dict[str, Branch]:
    """The branches that the header tells of, each after the one it descends from."""
    found: dict[str, Branch] = {}
    for row in header["branches"]:
        name, parent, fork_position = row["name"], row["parent"], row["fork_position"]
        head = Head(*row["head"])
        for given in (name, row["run"]):
            if not isinstance(given, str) or not is_name(given.removeprefix(LIBRARY)):
                raise PortableError(f"no run or library may be named {_shown(given)}")
        if name in found:
            raise PortableError(f"it tells of {name} twice")
        if parent is not None and parent not in found:
            raise PortableError(f"the parent of {name} is missing")
        if not _is_position(fork_position) or not _is_position(head.position) or not _is_hash(head.hash):
            raise PortableError(f"it does not say where {name} begins and ends")
        if fork_position > head.position or (parent is None and fork_position):
            raise PortableError(f"{name} begins after its own end, or leaves no parent")
        found[name] = Branch(name, row["run"], parent, fork_position, head)
    return found


def read_line(line: bytes) -> tuple[str, dict[str, Any]]:
    """A line below the header: its kind, and all of it."""
    if not line.endswith(b"\n"):
        raise PortableError("it was cut off: its last line is not whole")
    value = json.loads(line)
    kind = next(iter(value), "") if isinstance(value, dict) else ""
    if kind not in ("event", "blob", "ack", "end"):
        raise PortableError(f"it holds a line of a kind that is not known: {_shown(kind)}")
    return kind, value


def _is_position(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MASK


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.match(value) is not None


def _shown(value: object) -> str:
    return repr(value)[:80]


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
        if raw.read(len(_ZSTD)) != _ZSTD:
            raise PortableError(f"{path} cannot be imported: it is no file of `nader export-log`")
        raw.seek(0)
        stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw), 1 << 20)
        yield iter(lambda: stream.readline(LONGEST_LINE), b"")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in whatever is wrong with it."""
    try:
        yield
    except PortableError as error:
        raise PortableError(f"{path} cannot be imported: {error}") from None
    except RecursionError:
        raise PortableError(f"{path} cannot be imported: it is nested without end") from None
    except (zstandard.ZstdError, OSError, ValueError, KeyError, TypeError) as error:
        raise PortableError(
            f"{path} cannot be imported: it is damaged ({type(error).__name__}: {error})"
        ) from None
