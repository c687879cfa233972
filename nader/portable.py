"""One file that holds whole runs: JSON lines in zstd, readable without NADER (`zstdcat FILE | head`),
checked on import.

The file, line by line: a header with the format and the branches; for each branch its events, each after
the blobs it names and before the acknowledgements that count from it; a last line with the counts and the
SHA-256 of all lines above.

Import reads the file twice: once to check all of it (form, chain, blobs, counts), and only then to write.
A branch that the log holds already must agree with the file event for event, as far as both go; then only
what is missing is added. So an import that was cut short is run again, and a newer export of a run brings
the older one up to date.
"""

import base64
import hashlib
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from events import GENESIS, Ack, Envelope, Pending, chain_hash, known_versions
from nader import __version__
from nader.errors import NaderError
from store.errors import OperationalError
from store.lineage import BranchInfo, Head
from store.log import Log
from store.reader import Reader

FORMAT = "nader-log"
VERSION = 1
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_LONGEST_LINE = 256 << 20
"""Bytes of one line that are read: a blob of a hundred megabytes fits, an endless line does not."""
_FIELDS = (
    "actor", "type", "version", "payload", "causation", "correlation", "effect_key", "input_digest", "id",
    "time",
)  # fmt: skip
_TEXT, _MAYBE_TEXT = (str,), (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "position": (int,), "id": _TEXT, "time": (float, int), "actor": _TEXT, "type": _TEXT, "version": (int,),
    "causation": (int, type(None)), "correlation": _MAYBE_TEXT, "effect_key": _MAYBE_TEXT,
    "input_digest": _MAYBE_TEXT, "payload": _TEXT,
}  # fmt: skip
_EVENTS_AN_APPEND = 500


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


@dataclass(frozen=True)
class Imported:
    """What an import did to one branch."""

    name: str
    added: int
    there: int
    """Events that the log held already."""
    head: Head


# --- Export
# -----------------------------------------------------------------------------------------------------------


def export_log(log: Reader, names: Sequence[str], path: Path) -> Contents:
    """Write the branches `names`, with all that they stand on, into a new file.

    What they stand on: the history they share with a parent, and the libraries they read, each as far as
    it is needed. A branch that is being written is exported as it stands now. Raises PortableError if the
    file exists or cannot be written.
    """
    if path.exists():
        raise PortableError(f"{path} is there already; choose another file")
    branches = list(_closure(log, names))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as raw, zstandard.ZstdCompressor(level=9).stream_writer(raw) as packed:
            contents = _write(log, branches, packed)
        part.rename(path)
    except OSError as error:
        raise PortableError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None
    finally:
        part.unlink(missing_ok=True)
    return contents


def _closure(log: Reader, names: Sequence[str]) -> Iterator[Branch]:
    """The branches to write, parents first, each up to the last position that is needed."""
    infos = {info.name: info for info in log.branches()}
    upto: dict[str, int] = {}
    waiting = [(name, log.head(name).position) for name in names]
    while waiting:
        name, position = waiting.pop()
        if position <= upto.get(name, -1):
            continue
        upto[name] = position
        info = infos[name]
        if info.parent is not None:
            waiting.append((info.parent, info.fork_position))
        for envelope in log.read(name, upto=position, types=["LibraryAttached"]):
            attached = envelope.data()
            waiting.append((attached["library"], attached["at"]))
    for info in infos.values():
        if info.name in upto:
            position = max(upto[info.name], info.fork_position)
            yield Branch(info.name, info.run, info.parent, info.fork_position, _head_at(log, info, position))


def _head_at(log: Reader, info: BranchInfo, position: int) -> Head:
    return Head(position, log.at(info.name, position).hash if position else GENESIS)


def _write(log: Reader, branches: Sequence[Branch], packed: Any) -> Contents:
    total, counts = hashlib.sha256(), defaultdict[str, int](int)

    def put(value: dict[str, Any]) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        total.update(line)
        counts[next(iter(value))] += 1
        packed.write(line)

    put(
        {
            "format": FORMAT,
            "version": VERSION,
            "nader": __version__,
            "branches": [_described(b) for b in branches],
        }
    )
    written: set[str] = set()
    for branch in branches:
        acks = _own_acks(log, branch)
        for actor, cause in acks.pop(branch.fork_position, ()):
            put({"ack": [branch.name, actor, cause, branch.fork_position]})
        for envelope in log.read(branch.name, branch.fork_position, branch.head.position):
            for digest, data in _blobs(log, envelope.payload.encode(), written):
                put({"blob": digest, **_packed(data)})
            put({"event": _row(envelope, branch.name)})
            for actor, cause in acks.get(envelope.position, ()):
                put({"ack": [branch.name, actor, cause, envelope.position]})
    end = {name: counts[name] for name in ("event", "blob", "ack")} | {"sha256": total.hexdigest()}
    put({"end": end})
    return Contents(tuple(branches), counts["event"], counts["blob"], counts["ack"], __version__)


def _described(branch: Branch) -> dict[str, Any]:
    return {
        "name": branch.name,
        "run": branch.run,
        "parent": branch.parent,
        "fork_position": branch.fork_position,
        "head": list(branch.head),
    }


def _own_acks(log: Reader, branch: Branch) -> dict[int, list[tuple[str, int]]]:
    """(actor, cause) of the branch's own acknowledgements, by the position they count from."""
    own: dict[int, list[tuple[str, int]]] = defaultdict(list)
    inherited = {}
    if branch.parent is not None:
        inherited = log.acks(branch.parent)
    for (actor, cause), position in sorted(log.acks(branch.name).items()):
        shared = inherited.get((actor, cause)) == position and position <= branch.fork_position
        if not shared and branch.fork_position <= position <= branch.head.position:
            own[position].append((actor, cause))
    return own


def _blobs(log: Reader, text: bytes, written: set[str]) -> Iterator[tuple[str, bytes]]:
    """The blobs that a text names, and those that they name, each once in a file."""
    for digest in dict.fromkeys(match.decode() for match in _DIGEST.findall(text)):
        if digest in written:
            continue
        try:
            data = log.blob(digest)
        except OperationalError:  # a digest of something else: of a design, a prompt, an input
            continue
        written.add(digest)
        yield from _blobs(log, data, written)
        yield digest, data


def _packed(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _row(envelope: Envelope, branch: str) -> dict[str, Any]:
    names = ("position", "id", "time", "actor", "type", "version", "causation", "correlation", "effect_key",
             "input_digest", "payload", "hash")  # fmt: skip
    return {"branch": branch} | {name: getattr(envelope, name) for name in names}


# --- Check
# ------------------------------------------------------------------------------------------------------------


@dataclass
class _Checker:
    """Goes through the lines of a file and compares all that can be compared."""

    branches: dict[str, Branch]
    wanted: dict[str, set[int]]
    """Positions whose hashes are asked for, by branch."""
    hashes: dict[tuple[str, int], str] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"event": 0, "blob": 0, "ack": 0})

    def __post_init__(self) -> None:
        self._known = set(known_versions())
        self._effects: dict[str, dict[str, int]] = {}
        for branch in self.branches.values():
            if branch.parent is not None:
                owner = self._owner(branch.parent, branch.fork_position)
                self.wanted.setdefault(owner, set()).add(branch.fork_position)

    def event(self, row: dict[str, Any]) -> None:
        name, position = row["branch"], row["position"]
        branch = self.branches[name]
        head = self.heads.get(name) or self.start(branch)
        if position != head.position + 1:
            raise PortableError(
                f"position {head.position + 1} of {name} is missing: the next event is {position}"
            )
        if (row["type"], row["version"]) not in self._known:
            raise PortableError(
                f"it holds {row['type']} version {row['version']}, which this nader does not know: "
                "a newer one wrote it; upgrade nader to import it"
            )
        expected = chain_hash(
            head.hash, position, row["id"], branch.run, row["time"], row["actor"], row["type"],
            row["version"],
            row["causation"], row["correlation"], row["effect_key"], row["input_digest"], row["payload"],
        )  # fmt: skip
        if expected != row["hash"]:
            raise PortableError(
                f"the event at position {position} of {name} was changed, or one before it was"
            )
        self._require_storable(row, name)
        self.heads[name] = Head(position, expected)
        if position in self.wanted.get(name, ()):
            self.hashes[name, position] = expected

    def _require_storable(self, row: dict[str, Any], name: str) -> None:
        """What the log would refuse is refused here, before anything is written."""
        where = f"the event at position {row['position']} of {name}"
        for key, kinds in _KINDS.items():
            if not isinstance(row[key], kinds) or isinstance(row[key], bool):
                raise PortableError(f"{where} has a {key} of a wrong kind")
        if not 0 <= row["version"] < 2**31 or not 0 <= (row["causation"] or 0) < row["position"]:
            raise PortableError(f"{where} names a cause that does not come before it")
        key = row["effect_key"]
        if key is not None:
            if any(
                self._effects.get(above, {}).get(key, upto + 1) <= upto for above, upto in self._history(name)
            ):
                raise PortableError(f"{where} repeats an effect of the history")
            self._effects.setdefault(name, {})[key] = row["position"]

    def _history(self, name: str) -> Iterator[tuple[str, int]]:
        """A branch and those it descends from, each with the last position that belongs to the history."""
        branch: Branch | None = self.branches[name]
        upto = 2**62
        while branch is not None:
            yield branch.name, upto
            upto = min(upto, branch.fork_position)
            branch = self.branches.get(branch.parent or "")

    def start(self, branch: Branch) -> Head:
        """Where a branch's own events begin: the hash they follow."""
        if not branch.fork_position or branch.parent is None:
            return Head(0, GENESIS)
        return Head(branch.fork_position, self.hash_at(branch.parent, branch.fork_position))

    def _owner(self, name: str, position: int) -> str:
        """The branch whose own events hold a position of a branch's history."""
        branch = self.branches[name]
        if branch.parent is None or position > branch.fork_position:
            return name
        return self._owner(branch.parent, position)

    def hash_at(self, name: str, position: int) -> str:
        """The hash at a position of a branch's history, as far as it was asked for."""
        if position == 0:
            return GENESIS
        try:
            return self.hashes[self._owner(name, position), position]
        except KeyError:
            raise PortableError(
                f"position {position} of {name}, which another branch stands on, is missing"
            ) from None

    def blob(self, line: dict[str, Any]) -> None:
        if hashlib.sha256(blob_bytes(line)).hexdigest() != line["blob"]:
            raise PortableError(f"the blob {line['blob'][:12]}… was changed")

    def finish(self, end: dict[str, Any], total: str) -> None:
        if end != {**self.counts, "sha256": total}:
            raise PortableError(
                "its last line does not agree with the lines above it: some were changed, added or taken out"
            )
        for branch in self.branches.values():
            if branch.events and self.heads.get(branch.name) != branch.head:
                raise PortableError(f"{branch.name} does not end as the header says")


def check_file(
    path: Path, wanted: dict[str, set[int]] | None = None
) -> tuple[Contents, dict[tuple[str, int], str]]:
    """Check a whole file and say what it holds, with the hashes at the `wanted` positions (branch →
    positions).

    Raises PortableError that names the first thing that is wrong.
    """
    with _lines(path) as lines, _complaining(path):
        first = next(lines, b"")
        header = _header(first)
        branches = _branches(header)
        asked = {name: set(positions) for name, positions in (wanted or {}).items() if name in branches}
        asks = {
            name: {p for p in positions if p > branches[name].fork_position}
            for name, positions in asked.items()
        }
        checker = _Checker(branches, asks)
        total = hashlib.sha256(first)
        ended = False
        for line in lines:
            value = json.loads(line)
            kind = next(iter(value))
            if ended:
                raise PortableError("it goes on after its last line")
            if kind == "end":
                checker.finish(value["end"], total.hexdigest())
                ended = True
            elif kind == "event":
                checker.event(value["event"])
            elif kind == "blob":
                checker.blob(value)
            elif kind != "ack" or value["ack"][0] not in branches:
                raise PortableError(f"it holds a line of a kind that is not known: {kind!r}")
            if not ended:
                checker.counts[kind] += 1
            total.update(line)
        if not ended:
            raise PortableError("it is cut off: its last line is missing")
    counts = checker.counts
    contents = Contents(
        tuple(branches.values()), counts["event"], counts["blob"], counts["ack"], str(header.get("nader", ""))
    )
    return contents, checker.hashes


def blob_bytes(line: dict[str, Any]) -> bytes:
    """The bytes of a blob's line."""
    return line["text"].encode("utf-8") if "text" in line else base64.b64decode(line["base64"], validate=True)


def _header(line: bytes) -> dict[str, Any]:
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


def _branches(header: dict[str, Any]) -> dict[str, Branch]:
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
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a file, unpacked as they are read."""
    try:
        raw = path.open("rb")
    except FileNotFoundError:
        raise PortableError(f"there is no file {path}") from None
    except OSError as error:
        raise PortableError(f"{path} cannot be read: {(error.strerror or '').lower()}") from None
    with raw:
        stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw), 1 << 20)
        yield iter(lambda: stream.readline(_LONGEST_LINE), b"")


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    """Name the file in whatever is wrong with it."""
    try:
        yield
    except PortableError as error:
        raise PortableError(f"{path} cannot be imported: {error}") from None
    except (zstandard.ZstdError, OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise PortableError(
            f"{path} cannot be imported: it is damaged ({type(error).__name__}: {error})"
        ) from None


# --- Import
# -----------------------------------------------------------------------------------------------------------


async def import_log(log: Log, path: Path, prefix: str = "") -> list[Imported]:
    """Add the branches of a file to a log: all of it is checked first, and nothing that is there is changed.

    Args:
        prefix: put before the names of runs (not of libraries, which are referred to by name), for a run
        whose name is taken.

    Raises PortableError, before anything is written, if the file is not whole or a branch of the log
    differs from it.
    """
    infos = {info.name: info for info in log.branches()}
    heads = {name: log.head(name) for name in infos}
    positions = {_original(name, prefix): {head.position} for name, head in heads.items()}
    contents, hashes = check_file(path, positions)
    there = {
        branch.name: _agreement(log, branch, renamed(branch.name, prefix), infos, hashes)
        for branch in contents.branches
    }
    await _Importer(log, contents.branches, prefix, there, set(infos)).run(path)
    return [
        Imported(
            renamed(branch.name, prefix),
            max(0, branch.head.position - there[branch.name]),
            there[branch.name] - branch.fork_position,
            log.head(renamed(branch.name, prefix)),
        )
        for branch in contents.branches
    ]


def renamed(name: str, prefix: str) -> str:
    """The name a branch of a file gets in the log."""
    return name if name.startswith("library:") else f"{prefix}{name}"


def _original(name: str, prefix: str) -> str:
    return name if name.startswith("library:") else name.removeprefix(prefix)


def _agreement(
    log: Log, branch: Branch, name: str, infos: dict[str, BranchInfo], hashes: dict[tuple[str, int], str]
) -> int:
    """The position up to which the log holds the branch already; PortableError if the two differ."""
    info = infos.get(name)
    if info is None:
        return branch.fork_position
    head = log.head(name)
    same = info.run == branch.run and info.fork_position == branch.fork_position
    if same and head.position > branch.head.position:
        same = log.at(name, branch.head.position).hash == branch.head.hash if branch.head.position else True
    elif same and head.position > branch.fork_position:
        same = hashes.get((branch.name, head.position)) == head.hash
    if not same:
        raise PortableError(
            f"the log has another {name!r} than the file: import it under other names with --prefix, "
            "or into another workspace"
        )
    return head.position


@dataclass
class _Importer:
    """Writes the lines of a checked file into the log, in their order."""

    log: Log
    branches: Sequence[Branch]
    prefix: str
    there: dict[str, int]
    """The position up to which the log holds each branch already."""
    known: set[str]
    """Branches that the log has."""
    _branch: str = ""
    _pendings: list[Pending] = field(default_factory=list)
    _acks: list[Ack] = field(default_factory=list)
    _blobs: dict[str, bytes] = field(default_factory=dict)
    _fresh: dict[str, bytes] = field(default_factory=dict)
    """Blobs read since the last event: they go with the next one."""

    async def run(self, path: Path) -> None:
        """Write all of it; what was written before an error stays, and a second import goes on from there."""
        with _lines(path) as lines, _complaining(path):
            next(lines)
            for line in lines:
                value = json.loads(line)
                if "blob" in value:
                    self._fresh[value["blob"]] = blob_bytes(value)
                elif "event" in value:
                    await self._event(value["event"])
                elif "ack" in value:
                    await self._ack(*value["ack"])
        await self._turn_to(None)

    async def _event(self, row: dict[str, Any]) -> None:
        if row["branch"] != self._branch:
            await self._turn_to(row["branch"])
        if row["position"] > self.there[self._branch]:
            if self._acks or len(self._pendings) >= _EVENTS_AN_APPEND:
                await self._hand_over()
            self._pendings.append(Pending(**{name: row[name] for name in _FIELDS}))
            self._blobs |= self._fresh
        self._fresh = {}

    async def _ack(self, branch: str, actor: str, cause: int, position: int) -> None:
        """An acknowledgement counts from the end of the append that it is handed over with."""
        if branch != self._branch:
            await self._turn_to(branch)
        new = renamed(branch, self.prefix) not in self.known
        if position > self.there[branch] or (new and position == self.there[branch]):
            self._acks.append(Ack(actor, cause))

    async def _hand_over(self) -> None:
        """One append at a time: were a later one written after one that failed, it would take its place."""
        if self._pendings or self._acks:
            name = renamed(self._branch, self.prefix)
            pendings, acks, blobs = self._pendings, self._acks, self._blobs
            self._pendings, self._acks, self._blobs = [], [], {}
            await self.log.append(name, pendings, acks=acks, blobs=blobs)

    async def _turn_to(self, name: str | None) -> None:
        """Finish a branch and begin the next; branches without events of their own are made on the way."""
        await self._hand_over()
        self._branch = name or ""
        for branch in self.branches:
            made = renamed(branch.name, self.prefix)
            if made not in {info.name for info in self.log.branches()}:
                parent = None if branch.parent is None else renamed(branch.parent, self.prefix)
                await self.log.create_branch(
                    made, branch.run, parent, branch.fork_position if parent else None
                )
            if branch.name == name:
                break
