"""What the log alone answers: why, how, and where two runs part."""

import asyncio
import shutil
from pathlib import Path

import pytest

from nader.audit import Diff, chain, diff, shared_position, trace, why
from nader.forks import fork
from nader.portable import export_log, import_log
from nader.workspace import Workspace, fold
from store import Log
from tests.e2e.campaigns import SMALL, events, folded, resume_campaign, run_campaign
from tests.e2e.simulation import SimulatedBackend

ENDS = ("CandidateTrained", "CandidateFailed")


def compared(one: tuple[Path, str], other: tuple[Path, str]) -> Diff:
    with Workspace(one[0]).reader() as a, Workspace(other[0]).reader() as b:
        return diff((a, b), (one[1], other[1]), (fold(a, one[1]), fold(b, other[1])))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    run_campaign(folder)
    return folder


def test_the_same_campaign_run_twice_makes_the_same_decisions(campaign: Path, tmp_path: Path) -> None:
    run_campaign(tmp_path, backend=SimulatedBackend(pause=lambda rng: rng.random() / 20, timing=3))
    found = compared((campaign, "run-1"), (tmp_path, "run-1"))
    assert found.shared == 0, "other times and ids: no history in common"
    assert found.first is None
    assert [side.settings for side in found.sides] == [{}, {}]
    assert len(found.same_designs) == len({c.digest for c in found.sides[0].candidates if c.digest})


def test_another_seed_shows_in_the_settings_and_in_the_first_decision(campaign: Path, tmp_path: Path) -> None:
    run_campaign(tmp_path, [*SMALL, "seed=1"])
    found = compared((campaign, "run-1"), (tmp_path, "run-1"))
    assert [side.settings for side in found.sides] == [{"seed": 0}, {"seed": 1}]
    assert found.first is not None and found.first.values[0] != found.first.values[1]
    log = events(campaign)
    assert log[found.first.positions[0] - 1].type == found.first.type


def test_forks_of_forks_part_where_the_lineages_do(campaign: Path, tmp_path: Path) -> None:
    shutil.copytree(campaign, tmp_path / "w")
    place = Workspace(tmp_path / "w")
    for parent, at, name in (("run-1", 120, "a"), ("run-1", 140, "b"), ("a", 122, "c"), ("b", 110, "d")):
        if parent == "a":
            resume_campaign(place.path, "a")
        asyncio.run(fork(place, parent, at, name=name))
    with place.reader() as log:
        shared = {
            (one, other): shared_position((log, log), (one, other))
            for one, other in (("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d"), ("a", "a"))
        }
        head = log.head("a").position
    assert shared == {
        ("a", "b"): 120, ("a", "c"): 122, ("b", "c"): 120, ("b", "d"): 110, ("c", "d"): 110, ("a", "a"): head,
    }  # fmt: skip


def test_a_copied_log_shares_all_of_its_history(campaign: Path, tmp_path: Path) -> None:
    shutil.copytree(campaign, tmp_path / "w")
    assert compared((campaign, "run-1"), (tmp_path / "w", "run-1")).shared == events(campaign)[-1].position


def test_a_history_that_was_imported_under_another_name_is_known_again(
    campaign: Path, tmp_path: Path
) -> None:
    shutil.copytree(campaign, tmp_path / "w")
    place = Workspace(tmp_path / "w")
    asyncio.run(fork(place, "run-1", 120, name="a"))
    with place.reader() as log:
        export_log(log, ["run-1", "a"], tmp_path / "all.zst")

    async def bring_in() -> None:
        async with Log.open(place.log) as log:
            await import_log(log, tmp_path / "all.zst", "col-")

    asyncio.run(bring_in())
    asyncio.run(fork(place, "col-run-1", 130, name="b"))
    with place.reader() as log:
        head, end = log.head("run-1").position, log.head("a").position
        pairs = {("run-1", "col-run-1"): head, ("a", "col-a"): end, ("run-1", "b"): 130, ("col-a", "b"): 120}
        assert {pair: shared_position((log, log), pair) for pair in pairs} == pairs
    found = compared((place.path, "run-1"), (place.path, "col-run-1"))
    assert [(side.events, side.candidates) for side in found.sides] == [(0, ()), (0, ())]


def test_every_event_since_the_parting_counts_epochs_too_and_so_does_every_result(
    campaign: Path, tmp_path: Path
) -> None:
    """The fork leaves before a design that is there already is trained: each trains it for itself."""
    shutil.copytree(campaign, tmp_path / "w")
    place = Workspace(tmp_path / "w")
    queued = next(e for e in events(campaign) if e.type == "DesignReady" and e.correlation != "base")
    asyncio.run(fork(place, "run-1", queued.position, name="a", sets=["training.hopeless=true"]))
    resume_campaign(place.path, "a")
    with place.reader() as log:
        heads = [log.head(name).position for name in ("run-1", "a")]
        folds = [fold(log, name, epochs=False) for name in ("run-1", "a")]
        found = diff((log, log), ("run-1", "a"), (folds[0], folds[1]))
    assert [side.events for side in found.sides] == [head - queued.position for head in heads]
    for side in found.sides:
        assert queued.correlation in [candidate.id for candidate in side.candidates]
        trained = {e.correlation for e in events(place.path, side.run)[queued.position :] if e.type in ENDS}
        assert trained == {c.id for c in side.candidates if c.trained or c.failed}
    assert queued.correlation not in [one for one, _ in found.same_designs], "designed before the parting"


def test_every_events_causes_lead_to_the_campaigns_start(campaign: Path) -> None:
    _, history = folded(campaign)
    for event in history.events:
        causes = list(chain(event, history))
        assert causes[0] is event and causes[-1].position == 1
        assert [c.position for c in causes] == sorted({c.position for c in causes}, reverse=True)


def test_why_names_what_the_proposer_saw(campaign: Path) -> None:
    views, history = folded(campaign)
    for candidate in views.tree.candidates():
        found = why(views, history, candidate)
        if candidate.parent is not None:
            assert found.ranked is not None and found.parent_chosen is not None
            assert candidate.inspiration in found.ranked.data()["ranking"]
            assert found.parent_chosen.data()["parent"] == candidate.parent == found.ancestors[0].id
            assert found.inspiration is not None and found.inspiration.id == candidate.inspiration


def test_a_trace_holds_every_event_about_the_candidate_once(campaign: Path) -> None:
    with Workspace(campaign).reader() as log:
        for candidate in ("base", "r1-1"):
            moments = trace(log, "run-1", candidate)
            about = [e for e in events(campaign) if e.correlation == candidate]
            assert sum(moment.repeated for moment in moments) == len(about)
            assert [m.since for m in moments] == sorted(m.since for m in moments)
