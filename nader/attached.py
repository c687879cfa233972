"""The libraries that a run uses: whether each is still what it was when the run took it in."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from actors.divergence import Difference, causation_chain
from actors.history import History
from events import Envelope, named_blobs
from events.campaign import CampaignStarted
from events.reading import KnowledgeIndexed, LibraryAttached
from nader.workspace import library_branch
from store import ChainReport, CorruptedError, Reader, StoreError


@dataclass(frozen=True)
class AttachedLibrary:
    """A library as a run uses it."""

    name: str
    """Its branch in this file."""
    at: int
    """The position of its stream up to which it is used."""
    recorded: str
    """The hash of its event there, as the run's first event says; empty in runs of before that was kept."""
    chain: ChainReport
    """Its own hash chain, up to there."""

    @property
    def ok(self) -> bool:
        """Whether its chain is whole up to there, and ends in the recorded hash where there is one."""
        there = self.chain.ok and self.chain.head.position == self.at
        return there and self.recorded in ("", self.chain.head.hash)


def attached_libraries(log: Reader, history: History) -> tuple[list[AttachedLibrary], list[Difference]]:
    """The libraries of a run, and what is wrong with them.

    The run's own chain holds the hash that each had, so a library that was changed since, with all its hashes
    made anew, is another. Cost model: a library's chain is checked up to where it is used, and of its content
    the vectors are read, which are all that a campaign reads of it.
    """
    found, differences = [], []
    for e in history.events:
        if e.type != LibraryAttached.__name__:
            continue
        attached, cause = e.event, history.at(e.causation or 0)
        assert isinstance(attached, LibraryAttached)
        started = cause.event if cause is not None else None
        heads = started.ground.library_heads if isinstance(started, CampaignStarted) else {}
        recorded, at = heads.get(attached.library, ""), attached.at
        name = library_branch(log, attached.library, at, recorded, e)
        chain = log.verify_chain(name, at)
        one = AttachedLibrary(name, at, recorded, chain)
        found.append(one)
        if not one.ok:
            differences.append(_another(e, one, history.at))
        used = log.read(name, upto=at, types=(KnowledgeIndexed.__name__,))
        differences += _lost_of_library(log, e, used, history.at)
    return found, differences


def _another(e: Envelope, library: AttachedLibrary, at: Callable[[int], Envelope | None]) -> Difference:
    """That the library is not the one that the run took in."""
    head = library.chain.head
    said = library.chain.detail or f"{head.hash} at position {head.position} of {library.name}"
    recorded = library.recorded or f"a whole chain of {library.at} events"
    return Difference(
        e.position, e.actor, e.type, "changed", "$.library", recorded, said, causation_chain(e, at)
    )


def _lost_of_library(
    log: Reader, e: Envelope, used: Iterable[Envelope], at: Callable[[int], Envelope | None]
) -> Iterator[Difference]:
    for event, path, digest, kind, error in lost_blobs(log, used):
        where = f"$.library at {event.position} {path}"
        yield Difference(e.position, e.actor, e.type, kind, where, digest, error, causation_chain(e, at))


def lost_blobs(
    log: Reader, events: Iterable[Envelope]
) -> Iterator[tuple[Envelope, str, str, Literal["changed", "missing"], str]]:
    """(event, path, digest, kind, error) of every content that events name and that is not there, or is
    another; each told once.
    """
    seen: set[str] = set()
    for event in events:
        for path, digest in named_blobs(event):
            if digest in seen:
                continue
            seen.add(digest)
            try:
                log.blob(digest)
            except StoreError as error:
                yield (
                    event,
                    path,
                    digest,
                    "changed" if isinstance(error, CorruptedError) else "missing",
                    str(error),
                )
