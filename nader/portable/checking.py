"""Checking all of a file before anything of it is written: form, hash chains, blobs, counts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from events import GENESIS, Envelope, EventError, chain_hash, is_time, known_versions, named_blobs
from nader.assembly import agents, readers
from nader.portable.form import (
    Branch,
    Contents,
    PortableError,
    blob_bytes,
    naming,
    read_branches,
    read_header,
    read_line,
    read_lines,
)
from nader.settings import CampaignSettings
from store.lineage import Head

_TEXT, _MAYBE_TEXT = (str,), (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    "position": (int,), "id": _TEXT, "time": (float,), "actor": _TEXT, "type": _TEXT, "version": (int,),
    "causation": (int, type(None)), "correlation": _MAYBE_TEXT, "effect_key": _MAYBE_TEXT,
    "input_digest": _MAYBE_TEXT, "payload": _TEXT,
}  # fmt: skip


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
        self._blobs: set[str] = set()
        """Those that came so far; a blob stands before the first event that names it."""
        self._handled: dict[str, set[str]] = {}
        """The types that the agents of a name handle: a campaign's reader and a library's share theirs."""
        for agent in (*agents(CampaignSettings()), *readers()):
            self._handled.setdefault(agent.name, set()).update(agent.handled)
        self._types: dict[tuple[str, int], str] = {}
        """Of the events that some agent handles."""
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
                f"it holds {str(row['type'])[:80]} version {row['version']}, which this nader does not know: "
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
        self._require_whole(row, name, head)
        self.heads[name] = Head(position, expected)
        if any(row["type"] in handled for handled in self._handled.values()):
            self._types[name, position] = row["type"]
        if position in self.wanted.get(name, ()):
            self.hashes[name, position] = expected

    def _require_storable(self, row: dict[str, Any], name: str) -> None:
        """What the log would refuse is refused here, before anything is written."""
        where = f"the event at position {row['position']} of {name}"
        for key, kinds in _KINDS.items():
            if not isinstance(row[key], kinds) or isinstance(row[key], bool):
                raise PortableError(f"{where} has a {key} of a wrong kind")
        if row["causation"] is not None and not 1 <= row["causation"] < row["position"]:
            raise PortableError(f"{where} names a cause that does not come before it")
        if not is_time(row["time"]):
            raise PortableError(f"{where} has a time that is none")
        key = row["effect_key"]
        if key is not None:
            if any(
                self._effects.get(above, {}).get(key, upto + 1) <= upto for above, upto in self._history(name)
            ):
                raise PortableError(f"{where} repeats an effect of the history")
            self._effects.setdefault(name, {})[key] = row["position"]

    def _require_whole(self, row: dict[str, Any], name: str, before: Head) -> None:
        """The event reads, and the blobs that it names are there."""
        where = f"the event at position {row['position']} of {name}"
        fields = {key: row[key] for key in (*_KINDS, "hash")}
        envelope = Envelope(**fields, seq=0, branch=name, run=self.branches[name].run, prev_hash=before.hash)
        try:
            _ = envelope.event
        except EventError as error:
            raise PortableError(f"{where} is of no use: {error}") from None
        for path, digest in named_blobs(envelope):
            if digest not in self._blobs:
                raise PortableError(
                    f"{where} names a blob that the file does not hold ({path} {digest[:64]!r})"
                )

    def ack(self, name: object, actor: object, cause: object, position: object) -> None:
        """An acknowledgement says that an agent has finished with a cause that it handles; it counts from
        where it stands.
        """
        if not isinstance(name, str) or name not in self.branches:
            raise PortableError("it holds an acknowledgement of a branch that it does not tell of")
        head = self.heads.get(name) or self.start(self.branches[name])
        where = f"an acknowledgement after position {head.position} of {name}"
        if type(position) is not int or position != head.position:
            raise PortableError(f"{where} is out of its place")
        handled = self._handled.get(actor) if isinstance(actor, str) else None
        kind = self._type_of(name, cause) if type(cause) is int and 1 <= cause <= position else None
        if handled is None or kind not in handled:
            raise PortableError(f"{where} is of a cause that no such agent handles")

    def _type_of(self, name: str, position: int) -> str | None:
        """The type of an event of a branch's history, if some agent handles it."""
        return self._types.get((self._owner(name, position), position))

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
        self._blobs.add(line["blob"])
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
    with read_lines(path) as lines, naming(path):
        first = next(lines, b"")
        header = read_header(first)
        branches = read_branches(header)
        asked = {name: set(positions) for name, positions in (wanted or {}).items() if name in branches}
        asks = {
            name: {p for p in positions if p > branches[name].fork_position}
            for name, positions in asked.items()
        }
        checker = _Checker(branches, asks)
        total = hashlib.sha256(first)
        ended = False
        for line in lines:
            kind, value = read_line(line)
            if ended:
                raise PortableError("it goes on after its last line")
            if kind == "end":
                checker.finish(value["end"], total.hexdigest())
                ended = True
            elif kind == "event":
                checker.event(value["event"])
            elif kind == "blob":
                checker.blob(value)
            else:
                checker.ack(*value["ack"])
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
