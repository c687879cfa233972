"""What the tests of whole campaigns share: running one, and what must be true of any log."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from actors.history import History
from actors.runtime import Ending
from events import Envelope, event_types
from nader.campaign import Campaign
from nader.proof import VerifyReport, verify
from nader.settings import load_settings
from nader.workspace import Workspace, find_run, fold
from store.projections import Views
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import ScriptedServer

SMALL = ("search.candidates=5", "search.width=3", "synchronous=NORMAL")
"""A campaign that a simulated back end runs in a second."""


def settings(server: ScriptedServer, *more: str) -> tuple[str, ...]:
    """`SMALL`, answered by a scripted server; `more` is set over it."""
    return (
        *SMALL, "llm.backend=openai", "llm.model=scripted", f"llm.base_url={server.url}",
        "llm.backoff_s=0.01", *more,
    )  # fmt: skip


def run_campaign(
    folder: Path,
    sets: Sequence[str] = SMALL,
    backend: SimulatedBackend | None = None,
    name: str | None = None,
) -> Ending:
    """Run a campaign with simulated trainings to its end."""

    async def main() -> Ending:
        async with await Campaign.start(Workspace(folder), load_settings(sets=sets), name) as campaign:
            return await campaign.run(backend or SimulatedBackend())

    return asyncio.run(main())


def resume_campaign(
    folder: Path, run: str | None = None, backend: SimulatedBackend | None = None, sets: Sequence[str] = ()
) -> Ending:
    """Take a campaign up again, to its end."""

    async def main() -> Ending:
        async with await Campaign.resume(Workspace(folder), run, sets) as campaign:
            return await campaign.run(backend or SimulatedBackend())

    return asyncio.run(main())


def folded(folder: Path, run: str | None = None) -> tuple[Views, History]:
    """State and history of a run; the reader stays open, because vectors are read when they are asked for."""
    reader = Workspace(folder).reader()
    return fold(reader, find_run(reader, run).name)


def events(folder: Path, run: str | None = None) -> list[Envelope]:
    """Every event of a run's lineage."""
    with Workspace(folder).reader() as reader:
        return list(reader.read(find_run(reader, run).name))


def verified(folder: Path, run: str | None = None) -> VerifyReport:
    """What `nader verify` says of a run."""
    with Workspace(folder).reader() as reader:
        return asyncio.run(verify(reader, run))


def tree(folder: Path, run: str | None = None) -> list[tuple[object, ...]]:
    """The tree as it must come out whatever the timing: ids, edges, digests, verdicts, accuracies."""
    views, _ = folded(folder, run)
    return [
        (c.id, c.parent, c.inspiration, c.digest, c.original, c.validation, c.test, c.outcome)
        for c in views.tree.candidates()
    ]


def check_log(folder: Path, run: str | None = None) -> None:
    """What must be true of the log of a finished campaign, whatever happened to its processes."""
    log = events(folder, run)
    assert [e.position for e in log] == list(range(1, len(log) + 1))
    types = event_types()
    answers: dict[int, int] = {}
    by_position = {e.position: e for e in log}
    for envelope in log:
        request = by_position.get(envelope.causation or 0)
        if request is not None and envelope.type in types[request.type].terminal:
            answers[request.position] = answers.get(request.position, 0) + 1
    requests = [e.position for e in log if types[e.type].terminal and e.type != "CampaignStarted"]
    assert [p for p in requests if answers.get(p, 0) != 1] == [], (
        "every request has exactly one terminal event"
    )
    report = verified(folder, run)
    assert report.chain.ok, report.chain
    assert report.differences == (), report.differences[0].sentence()
    assert report.unfinished == 0
