"""Writing runs, with all they stand on, into one file."""

import base64
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

from events import GENESIS, Envelope, EventError, digests, named_blobs, readable
from nader import __version__
from nader.portable.form import FORMAT, VERSION, Branch, Contents, PortableError
from nader.workspace import library_branch
from store.errors import OperationalError
from store.lineage import BranchInfo, Head
from store.reader import Reader


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
        heads: dict[str, str] = {}
        for envelope in log.read(name, upto=position, types=["CampaignStarted", "LibraryAttached"]):
            data = envelope.data()
            if envelope.type == "CampaignStarted":
                heads = data["ground"].get("library_heads", {})
                continue
            library, at = data["library"], data["at"]
            waiting.append((library_branch(log, library, at, heads.get(library, ""), envelope), at))
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
        for envelope in readable(log.read(branch.name, branch.fork_position, branch.head.position)):
            _require_whole(log, envelope, branch.name)
            for digest, data in _blobs(log, envelope.payload, written):
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


def _require_whole(log: Reader, envelope: Envelope, name: str) -> None:
    """Raise PortableError for what the import would refuse: an event that does not read, a lost blob."""
    where = f"the event at position {envelope.position} of {name}"
    try:
        _ = envelope.event
    except EventError as error:
        raise PortableError(f"{where} is of no use: {error}") from None
    for path, digest in named_blobs(envelope):
        try:
            log.blob(digest)
        except OperationalError:
            raise PortableError(
                f"the log has lost a blob that {where} names ({path} {digest[:12]}…)"
            ) from None


def _blobs(log: Reader, text: str, written: set[str]) -> Iterator[tuple[str, bytes]]:
    """The blobs that a text names, and those that they name, each once in a file."""
    for digest in digests(text):
        if digest in written:
            continue
        try:
            data = log.blob(digest)
        except OperationalError:  # a digest of something else: of a design, a prompt, an input
            continue
        written.add(digest)
        yield from _blobs(log, data.decode("latin-1"), written)
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
