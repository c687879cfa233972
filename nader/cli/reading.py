"""Opening a run to look at it: its log, its folded state, and the position it is looked at from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.history import History
from nader.positions import find_candidate, find_position
from nader.workspace import Workspace, find_run, fold
from store import BranchInfo, Reader
from store.projections import Views
from store.projections.tree import Candidate


@dataclass(frozen=True)
class Run:
    """One run, folded, as of a position."""

    workspace: Workspace
    log: Reader
    info: BranchInfo
    views: Views
    history: History
    upto: int | None
    """None: as of its newest event."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def position(self) -> int:
        """The position it is looked at from."""
        return self.history.head if self.upto is None else self.upto

    def candidate(self, name: str) -> Candidate:
        """A candidate by name, or `best`; raises WorkspaceError with the nearest names."""
        return find_candidate(self.views, name, self.upto)


@contextmanager
def open_run(workspace: Path, run: str | None = None, at: str | None = None) -> Iterator[Run]:
    """The run of that name (or the newest), as of `at`. Needs no lock: it may be running elsewhere."""
    place = Workspace.at(workspace)
    with place.reader() as log:
        info = find_run(log, run)
        views, history = fold(log, info.name)
        upto = find_position(at, log, info.name, views, history) if at else None
        yield Run(place, log, info, views, history, upto)
