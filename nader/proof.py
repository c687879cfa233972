"""Proofs about a log: that it is whole, that it is what the code does, that its state is a fold of it."""

import gc
import time
from dataclasses import dataclass

from actors.divergence import Difference, first_difference
from actors.replay import replay
from nader.assembly import agents, readers
from nader.settings import validated
from nader.workspace import LIBRARY, find_run, fold
from store import ChainReport, Reader
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


async def verify(log: Reader, run: str | None = None) -> VerifyReport:
    """Check the hash chain, then run every agent handler again from the log and compare.

    Needs no model, key, network, GPU or data set. What it shows: that no event was changed, left out or put
    in (short of a cut-off tail), and that the agents of this version decide as recorded.
    """
    began = time.perf_counter()
    branch = find_run(log, run).name
    chain = log.verify_chain(branch)
    if not chain.ok:
        return VerifyReport(branch, chain.events, 0, 0, 0, chain, (), time.perf_counter() - began)
    views, history = fold(log, branch, epochs=False)
    settings = validated(views.status.settings(), where="the log's settings")
    acting = readers() if branch.startswith(LIBRARY) else agents(settings)
    gc.freeze()  # a replay makes little that lasts; what the fold has made need not be looked at any more
    try:
        result = await replay(history, views, log, acting)
    finally:
        gc.unfreeze()
    return VerifyReport(
        branch,
        history.head,
        result.handlers,
        result.unfinished,
        result.failed,
        chain,
        tuple(result.differences),
        time.perf_counter() - began,
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
    partial = Views(log.blob, library=lambda name, at: log.read(name, upto=at))
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
