"""Adding the runs of a checked file to a log, without changing anything that is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from events import Ack, Pending
from nader.portable.checking import check_file
from nader.portable.form import Branch, PortableError, blob_bytes, naming, read_line, read_lines
from nader.workspace import LIBRARY, require_name
from store.lineage import BranchInfo, Head
from store.log import Log

_FIELDS = (
    "actor", "type", "version", "payload", "causation", "correlation", "effect_key", "input_digest", "id",
    "time",
)  # fmt: skip
_EVENTS_AN_APPEND = 500


@dataclass(frozen=True)
class Imported:
    """What an import did to one branch."""

    name: str
    added: int
    there: int
    """Events that the log held already."""
    head: Head


async def import_log(log: Log, path: Path, prefix: str = "") -> list[Imported]:
    """Add the branches of a file to a log: all of it is checked first, and nothing that is there is changed.

    Args:
        prefix: put before the names of runs and libraries, for a name that is taken. A run finds its
        libraries by their hashes.

    Raises PortableError, before anything is written, if the file is not whole or a branch of the log
    differs from it; WorkspaceError if a name would not do with the prefix.
    """
    infos = {info.name: info for info in log.branches()}
    heads = {name: log.head(name) for name in infos}
    positions = {_original(name, prefix): {head.position} for name, head in heads.items()}
    contents, hashes = check_file(path, positions)
    for branch in contents.branches:
        name = renamed(branch.name, prefix)
        library = branch.name.startswith(LIBRARY)
        require_name(name.removeprefix(LIBRARY) if library else name, "library" if library else "run")
    there = {
        branch.name: _agreement(log, branch, renamed(branch.name, prefix), infos, hashes)
        for branch in contents.branches
    }
    await log.note_imports(_brought(log, contents.branches, prefix, heads))
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


def _brought(log: Log, branches: Sequence[Branch], prefix: str, heads: Mapping[str, Head]) -> dict[str, int]:
    """How far the import brings branches that are not the log's own: new ones, and those that an import has
    brought and nobody took up here.
    """
    before, brought = log.imports(), {}
    for branch in branches:
        name = renamed(branch.name, prefix)
        if name not in heads or heads[name].position <= before.get(name, -1):
            brought[name] = max(before.get(name, 0), branch.head.position)
    return brought


def renamed(name: str, prefix: str) -> str:
    """The name a branch of a file gets in the log."""
    library, bare = name.startswith(LIBRARY), name.removeprefix(LIBRARY)
    return f"{LIBRARY if library else ''}{prefix}{bare}"


def _original(name: str, prefix: str) -> str:
    """The name in the file of a branch of the log, if it is one of the file's."""
    library, bare = name.startswith(LIBRARY), name.removeprefix(LIBRARY)
    return f"{LIBRARY if library else ''}{bare.removeprefix(prefix)}"


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
        with read_lines(path) as lines, naming(path):
            next(lines, b"")
            for line in lines:
                kind, value = read_line(line)
                if kind == "blob":
                    self._fresh[value["blob"]] = blob_bytes(value)
                elif kind == "event":
                    await self._event(value["event"])
                elif kind == "ack":
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
            pendings, acks, blobs = self._pendings, self._acks, self._blobs
            self._pendings, self._acks, self._blobs = [], [], {}
            if await self._make(self._branch, pendings, acks, blobs) is None:
                name = renamed(self._branch, self.prefix)
                await self.log.append(name, pendings, acks=acks, blobs=blobs)

    async def _make(
        self,
        name: str,
        first: Sequence[Pending] = (),
        acks: Sequence[Ack] = (),
        blobs: Mapping[str, bytes] | None = None,
    ) -> BranchInfo | None:
        """Make a branch together with its first events; None where the log has it."""
        made = renamed(name, self.prefix)
        if made in {info.name for info in self.log.branches()}:
            return None
        (branch,) = (branch for branch in self.branches if branch.name == name)
        parent, position = None, None
        if branch.parent is not None:
            parent, position = renamed(branch.parent, self.prefix), branch.fork_position
        return await self.log.create_branch(
            made, branch.run, parent, position, first=first, acks=acks, blobs=blobs
        )

    async def _turn_to(self, name: str | None) -> None:
        """Finish a branch and begin the next; branches without events of their own are made on the way."""
        await self._hand_over()
        self._branch = name or ""
        for branch in self.branches:
            if branch.name == name:
                break
            await self._make(branch.name)
