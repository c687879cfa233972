"""Proofs about a log: that it is whole, that it is what the code does, that its state is a fold of it."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from actors.actor import Agent
from actors.divergence import Difference, causation_chain, first_difference
from actors.history import History
from actors.replay import replay
from events import Envelope, EventError
from events.campaign import CampaignStarted, SettingsChanged
from events.training import EpochFinished
from nader.assembly import agents, readers
from nader.attached import AttachedLibrary, attached_libraries, lost_blobs
from nader.errors import NaderError, WorkspaceError
from nader.repeats import wrong_repeats
from nader.settings import validated
from nader.structure import Structure
from nader.workspace import LIBRARY, attached_events, find_run, fold
from store import (
    BranchInfo,
    ChainReport,
    IntegrityError,
    NoSuchBranchError,
    Reader,
    StoreError,
)
from store.projections import Views


@dataclass(frozen=True)
class VerifyReport:
    """What `nader verify` found."""

    run: str
    events: int
    handlers: int
    unfinished: int
    failed: int
    chain: ChainReport
    differences: tuple[Difference, ...]
    seconds: float
    libraries: tuple[AttachedLibrary, ...] = ()
    """Those that the run uses; one that is another than the run took in is among the differences."""

    @property
    def ok(self) -> bool:
        """The chain is whole and no handling differs."""
        return self.chain.ok and not self.differences


@dataclass(frozen=True)
class RebuildReport:
    """What `nader rebuild` found."""

    run: str
    events: int
    positions: tuple[int, ...]
    """Where the state asked as of a position was compared with a fold of only the events up to it."""
    mismatches: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Every state agreed."""
        return not self.mismatches


_FROZEN_AT_MOST = 10_000
_frozen = 0
"""Events whose replay has kept the garbage collector away since it last looked at everything."""


@contextmanager
def _still(events: int) -> Iterator[None]:
    """A replay makes little that lasts: the collector need not look again at what the fold has made.

    What was frozen counts as old, and the collector hardly ever comes back to it by itself: who verifies
    many logs in one process would keep the garbage of all. So it is called now and then.
    """
    global _frozen
    if _frozen > _FROZEN_AT_MOST:
        gc.collect()
        _frozen = 0
    _frozen += events
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def verify(log: Reader, run: str | None = None) -> VerifyReport:
    """Check the hash chain, hold every event to what may stand where it stands (`nader.structure`), run every
    agent handler again from the log and compare, and read all content that events name.

    Needs no model, key, network, GPU or data set. What it shows: that no event was changed, left out or put
    in (short of a cut-off tail), also where the chain was made anew, but for facts of the world that nothing
    else in the log speaks of; that the agents of this version decide as recorded; and that the libraries it
    uses are those that it took in.
    """
    began = time.perf_counter()
    branch = find_run(log, run).name
    chain = log.verify_chain(branch)
    if not chain.ok:
        return VerifyReport(branch, chain.events, 0, 0, 0, chain, (), time.perf_counter() - began)
    acting = _acting(log, branch)
    structure = Structure(_Elsewhere(log), acting)
    try:
        views, history = fold(log, branch, epochs=False, watch=structure.see)
    except (EventError, StoreError, NaderError):
        raise
    except Exception as error:  # no log of ours has what a projection cannot take in
        found = (*structure.finish(), _unfoldable(structure.newest, error))
        return VerifyReport(branch, chain.events, 0, 0, 0, chain, found, time.perf_counter() - began)
    structure.see_epochs(log.plain(branch, EpochFinished.__name__))
    with _still(len(history.events)):
        result = await replay(history, views, log, acting)
    libraries, of_libraries = attached_libraries(log, history)
    differences = [
        *of_libraries, *wrong_repeats(log, history), *structure.finish(), *lost_content(log, history),
        *result.differences,
    ]  # fmt: skip
    differences.sort(key=lambda difference: difference.position)
    return VerifyReport(
        branch,
        history.head,
        result.handlers,
        result.unfinished,
        result.failed,
        chain,
        tuple(differences),
        time.perf_counter() - began,
        tuple(libraries),
    )


class _Elsewhere:
    """The rest of the file, for what a history refers to."""

    def __init__(self, log: Reader) -> None:
        self._log = log

    def branches(self) -> list[BranchInfo]:
        return self._log.branches()

    def find(self, branch: str, position: int) -> Envelope | None:
        try:
            return self._log.at(branch, position)
        except (NoSuchBranchError, IntegrityError):
            return None

    def blob(self, digest: str) -> bytes:
        return self._log.blob(digest)


def _acting(log: Reader, branch: str) -> list[Agent]:
    """The agents that have made a history, with as much room as its settings ever gave them."""
    if branch.startswith(LIBRARY):
        return [*readers()]
    types = (CampaignStarted.__name__, SettingsChanged.__name__)
    chosen = [e.event.settings for e in log.read(branch, types=types)]  # type: ignore[attr-defined]
    settings = [validated(values, where="the log's settings") for values in chosen]
    if not settings:
        raise WorkspaceError(f"{branch} holds no campaign: its first event is not there")
    return agents(max(settings, key=lambda one: one.modifier.concurrency))


def lost_content(log: Reader, history: History) -> list[Difference]:
    """Every text or vector that an event names and that is not there, or is another; each told once."""
    return [
        Difference(e.position, e.actor, e.type, kind, path, digest, error, causation_chain(e, history.at))
        for e, path, digest, kind, error in lost_blobs(log, history.events)
    ]


def _unfoldable(event: Envelope | None, error: Exception) -> Difference:
    position, actor, kind = (event.position, event.actor, event.type) if event else (0, "", "")
    text = f"{type(error).__name__}: {error}"
    return Difference(
        position, actor, kind, "changed", "$", "an event that contradicts those before it", text
    )


def rebuild(log: Reader, run: str | None = None, samples: int = 8) -> RebuildReport:
    """Fold the log from zero, and compare its state as of several positions with folds of only the events up
    to them.
    """
    began = time.perf_counter()
    branch = find_run(log, run).name
    whole, history = fold(log, branch)
    positions = sorted({max(1, history.head * n // samples) for n in range(1, samples + 1)})
    mismatches = []
    partial = Views(log.blob, library=lambda name, at: attached_events(log, branch, name, at))
    remaining = list(positions)
    for envelope in log.read(branch):
        partial.apply(envelope)
        if remaining and envelope.position == remaining[0]:
            remaining.pop(0)
            difference = first_difference(whole.state(envelope.position), partial.state())
            if difference is not None:
                mismatches.append(f"at position {envelope.position}, {difference.path} differs")
    return RebuildReport(
        branch, history.head, tuple(positions), tuple(mismatches), time.perf_counter() - began
    )
