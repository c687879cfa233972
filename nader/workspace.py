"""A workspace: the folder that holds a log, its trainings and data; and the runs in its log."""

import difflib
import gc
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.history import OPERATOR, History
from events import Envelope, is_time, readable
from events.campaign import CampaignStarted
from events.reflection import ReflectionRequested
from events.training import EpochFinished
from nader.errors import WorkspaceError
from store import BranchInfo, Reader
from store.projections import Views

LOG_NAME = "nader.db"
LIBRARY = "library:"
"""Prefix of the branches that `nader read` writes."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\Z")
DEFAULT = Path("nader-workspace")
"""Where a campaign lives unless `--workspace` or $NADER_WORKSPACE says otherwise."""


@dataclass(frozen=True)
class Workspace:
    """Where everything of a set of campaigns lies."""

    path: Path

    @classmethod
    def at(cls, path: Path | None) -> "Workspace":
        """The folder given, else $NADER_WORKSPACE, else `nader-workspace` here."""
        return cls(path or Path(os.environ.get("NADER_WORKSPACE") or DEFAULT))

    @property
    def log(self) -> Path:
        """The one file that all state is folded from."""
        return self.path / LOG_NAME

    @property
    def trainings(self) -> Path:
        """A folder a training, named by its job."""
        return self.path / "trainings"

    @property
    def inbox(self) -> Path:
        """Prompts for a person, at `llm.backend = "inbox"`."""
        return self.path / "inbox"

    def create(self) -> None:
        """Make the folder. Raises `WorkspaceError` with the reason where that cannot be done."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".write-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.path} cannot be written: {error.strerror}; "
                "choose another with --workspace"
            ) from None

    def reader(self) -> Reader:
        """The log, opened for reading. Raises `WorkspaceError` where there is none."""
        if not self.log.exists():
            raise WorkspaceError(
                f"there is no campaign in {self.path} (no {LOG_NAME}); `nader run` starts one, "
                "--workspace names another folder"
            )
        return Reader(self.log)


def is_name(name: str) -> bool:
    """Whether a run or a library may have that name: it goes into commands, files' names and terminals."""
    return _NAME.match(name) is not None


def require_name(name: str, what: str = "run") -> None:
    """Raise `WorkspaceError` for a name that no run or library may have."""
    if not is_name(name):
        shown = name if len(name) <= 80 else f"{name[:77]}..."
        raise WorkspaceError(
            f"a {what} cannot be named {shown!r}: a name has 1 to 64 letters (a to z), digits, dots, "
            "hyphens and underscores, and begins with a letter, a digit or an underscore"
        )


def campaigns(log: Reader) -> list[BranchInfo]:
    """The runs in a log, oldest first; libraries are not among them."""
    return [b for b in log.branches() if not b.name.startswith(LIBRARY)]


def library_branch(log: Reader, name: str, at: int, hash: str, taken_in: Envelope) -> str:
    """The branch that holds a library as a run took it in: up to position `at`, where its hash was `hash`.

    That of its name, but where that is another library (or none) and one of another name has the hash: an
    import with a prefix names libraries anew, and what a run says of them stays. In a run of before the hash
    was kept, `hash` is empty: there the prefix tells, which the branch of the event `taken_in` (any of the
    run's beginning) has before the name of its run.
    """
    held = [branch.name for branch in log.branches() if branch.name.startswith(LIBRARY)]
    if not hash and taken_in.branch.endswith(taken_in.run):
        prefixed = f"{LIBRARY}{taken_in.branch.removesuffix(taken_in.run)}{name.removeprefix(LIBRARY)}"
        return prefixed if prefixed in held else name
    if at:
        for one in sorted(held, key=lambda branch: branch != name):
            if log.head(one).position >= at and log.at(one, at).hash == hash:
                return one
    return name


def attached_events(
    log: Reader, run: str, name: str, at: int, types: Iterable[str] | None = None
) -> Iterator[Envelope]:
    """The events, of the types given, of a library that a run took in up to position `at`."""
    for started in log.read(run, types=(CampaignStarted.__name__,)):
        heads = started.data()["ground"].get("library_heads", {})
        return log.read(library_branch(log, name, at, heads.get(name, ""), started), upto=at, types=types)
    return log.read(name, upto=at, types=types)


def is_reflection(log: Reader, branch: BranchInfo) -> bool:
    """Whether `nader reflect` made a branch: it begins with a person's requests to reflect."""
    if branch.parent is None:
        return False
    # The fork itself, and a change of settings where there was one, stand before the first request.
    begin = log.read(branch.name, after=branch.fork_position, upto=branch.fork_position + 3)
    return any(e.type == ReflectionRequested.__name__ and e.actor == OPERATOR for e in begin)


def find_run(log: Reader, name: str | None = None) -> BranchInfo:
    """The run (or library) of that name, or the newest run that is no reflection on another.

    The newest is the one that was begun last in this log. One that an import has brought counts from when it
    was taken up here; until then it is the newest only where all others are such too. Raises
    `WorkspaceError` with the nearest name.
    """
    for run in log.branches():
        if run.name == name:
            return run
    runs = campaigns(log)
    if not runs:
        raise WorkspaceError("this log holds no campaign yet; `nader run` starts one")
    if name is None:
        return _newest(log, [run for run in runs if not is_reflection(log, run)] or runs)
    libraries = [branch.name for branch in log.branches() if branch.name.startswith(LIBRARY)]
    names = (libraries if name.startswith(LIBRARY) else []) or [run.name for run in runs]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(names[-8:])}"
    raise WorkspaceError(f"this log holds no run {name!r}; {hint}")


def is_only_imported(log: Reader, run: BranchInfo, imports: Mapping[str, int]) -> bool:
    """Whether an import has brought all of a run."""
    return run.name in imports and log.head(run.name).position <= imports[run.name]


def _newest(log: Reader, runs: Sequence[BranchInfo]) -> BranchInfo:
    """The run that was begun, or taken up after an import, last in this log; runs come by age."""
    imports = log.imports()
    here = [run for run in runs if not is_only_imported(log, run, imports)]

    def begun(run: BranchInfo) -> float:
        after = max(run.fork_position, imports.get(run.name, 0))
        own = next(iter(log.read(run.name, after=after, upto=after + 1)), None)
        return float("inf") if own is None else own.seq  # none: a fork that was broken off

    return max(here, key=begun) if here and imports else (here or runs)[-1]


@contextmanager
def lasting() -> Iterator[None]:
    """For making many objects that all stay and form no cycles: the garbage collector stands still.

    It would look at all of them again and again, for a fifth of the time that a fold takes.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def fold(
    log: Reader,
    branch: str,
    upto: int | None = None,
    *,
    epochs: bool = True,
    watch: Callable[[Envelope], None] = lambda envelope: None,
) -> tuple[Views, History]:
    """Projections and history of a branch as of a position, from nothing but its events; `watch` sees each of
    them first.

    Without `epochs` those of trainings, nine tenths of a long log, are not looked at: how far a training has
    come is then not known, and no decision may rest on that.

    Raises `EventError` at one that this version cannot read.
    """
    views = Views(log.blob, library=partial(attached_events, log, branch))
    history = History()
    without = () if epochs or not _epochs_are_readable(log, branch, upto) else (EpochFinished.__name__,)
    with lasting():
        for envelope in readable(log.read(branch, upto=upto, without=without)):
            watch(envelope)
            views.apply(envelope)
            history.add([envelope])
    if without:
        head = log.head(branch).position
        history.head = head if upto is None else min(head, upto)
    history.acks = {ack: at for ack, at in log.acks(branch).items() if upto is None or at <= upto}
    return views, history


def _epochs_are_readable(log: Reader, branch: str, upto: int | None) -> bool:
    """Whether every epoch is of a version and a time that `readable` lets pass."""
    return all(
        1 <= version <= EpochFinished.version and is_time(first) and is_time(last)
        for version, (first, last) in log.times(branch, EpochFinished.__name__, upto).items()
    )
