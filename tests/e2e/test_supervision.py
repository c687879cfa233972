"""A handler that raises costs one candidate, never the campaign; the log says what happened."""

import asyncio

import pytest

from actors.modifier import Modifier
from actors.proposer import _Verdict
from actors.reflector import Reflector
from actors.runtime import Runtime, RuntimeFault
from actors.trainer import Trainer
from nader.campaign import Campaign
from nader.settings import load_settings
from nader.workspace import Workspace
from store.projections.tree import Tree
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, run_campaign, verified
from tests.e2e.simulation import SimulatedBackend


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    original = Runtime.__init__

    def quick(self, *arguments, **options):
        original(self, *arguments, **{**options, "backoff": lambda attempt: 0.0})

    monkeypatch.setattr(Runtime, "__init__", quick)


def failing(monkeypatch, cls, name, wrong, times=10**6):
    """Let a handler raise for one candidate, so many times."""
    original = getattr(cls, name)
    left = [times]

    async def handler(self, ctx, event):
        if getattr(event, "candidate", None) == wrong and left[0] > 0:
            left[0] -= 1
            raise ZeroDivisionError("something nobody thought of")
        await original(self, ctx, event)

    handler.handled_type = original.handled_type
    monkeypatch.setattr(cls, name, handler)


@pytest.mark.parametrize(
    ("cls", "name", "outcome"),
    [
        (Modifier, "on_proposal", "abandoned"),
        (Trainer, "on_design", "failed"),
        (Reflector, "on_settled", "failed"),
    ],
)
def test_a_handler_that_keeps_raising_is_given_up_and_the_campaign_goes_on(
    tmp_path, monkeypatch, cls, name, outcome
):
    failing(monkeypatch, cls, name, "r1-2")
    ending = run_campaign(tmp_path)
    assert ending.reason == "completed"
    failures = [e.event for e in events(tmp_path) if e.type == "HandlerFailed"]
    assert [f.attempt for f in failures] == [1, 2, 3] and [f.final for f in failures] == [False, False, True]
    assert all(f.error == "ZeroDivisionError: something nobody thought of" for f in failures)
    assert "something nobody thought of" in failures[0].traceback
    views, _ = folded(tmp_path)
    assert views.tree.candidate("r1-2").outcome == outcome
    check_log(tmp_path)
    assert verified(tmp_path).failed == 1, "its record is taken as it is, and the report says so"


def test_a_round_that_is_given_up_leaves_no_candidate_without_an_end(tmp_path, monkeypatch):
    """What was proposed in it is trained, reflected upon and closed, and the round is whole only then."""
    add = _Verdict.add

    async def raising(self, proposal, answer):
        if proposal.round == 2 and proposal.index == 2:
            raise ZeroDivisionError("something nobody thought of")
        await add(self, proposal, answer)

    monkeypatch.setattr(_Verdict, "add", raising)
    failing(monkeypatch, Modifier, "on_proposal", "r2-3")
    ending = run_campaign(tmp_path, (*SMALL, "search.candidates=8"))
    assert ending.reason == "completed"
    views, _ = folded(tmp_path)
    given_up = next(r for r in views.tree.rounds() if r.round == 2)
    assert given_up.designed is not None and given_up.designed.parent == "" and given_up.closed
    members = [c for c in views.tree.candidates() if c.round == 2]
    assert [(c.trained, c.outcome) for c in members if c.id == "r2-3"] == [(False, "abandoned")]
    known = [c for c in members if c.outcome is None]
    assert all(views.tree.by_digest(c.digest, before=c.place) is not None for c in known), "and not trained"
    members = [c for c in members if c not in known]
    assert any(c.trained for c in members) and all(c.outcome is not None for c in members)
    closed = next(e for e in events(tmp_path) if e.type == "RoundClosed" and e.event.round == 2)
    assert all(c.positions["CandidateClosed"] < closed.position for c in members)
    check_log(tmp_path)


def test_a_handler_that_raises_once_is_run_again_and_nothing_is_recorded_twice(tmp_path, monkeypatch):
    failing(monkeypatch, Modifier, "on_proposal", "r1-2", times=1)
    run_campaign(tmp_path / "a")
    monkeypatch.undo()
    run_campaign(tmp_path / "b")
    check_log(tmp_path / "a")

    def counts(folder):
        types = [
            e.type
            for e in events(folder)
            if e.type not in ("HandlerFailed", "TrainingStarted", "EpochFinished")
        ]
        return {type: types.count(type) for type in set(types)}

    assert counts(tmp_path / "a") == counts(tmp_path / "b")


class Exploding(SimulatedBackend):
    """Raises in place of an outcome, as no back end should."""

    async def train(self, job, folder, on_progress, *, baseline=None):
        if self.trained:
            raise RuntimeError("the back end itself is broken")
        return await super().train(job, folder, on_progress, baseline=baseline)


def test_an_effector_that_raises_ends_its_request_with_a_typed_failure(tmp_path):
    run_campaign(tmp_path, SMALL, Exploding())
    check_log(tmp_path)
    failed = [e.event for e in events(tmp_path) if e.type == "TrainingFailed"]
    assert failed and all("the back end itself is broken" in f.message for f in failed)


def test_an_agent_that_answers_nothing_stops_the_campaign_with_its_name(tmp_path, monkeypatch):
    async def silent(self, ctx, event):
        return None

    silent.handled_type = "ProposalMade"
    monkeypatch.setattr(Modifier, "on_proposal", silent)
    with pytest.raises(RuntimeFault, match=r"modifier handled ProposalMade at .* and recorded no answer"):
        run_campaign(tmp_path)


def test_a_campaign_in_which_nobody_can_do_anything_says_what_it_waits_for(tmp_path, monkeypatch):
    monkeypatch.setattr(Modifier, "handled", {})
    with pytest.raises(RuntimeFault, match=r"stands still.*open requests:.*ProposalMade"):
        run_campaign(tmp_path)


def test_changed_code_in_an_open_handler_stops_at_the_difference_and_says_where(tmp_path, monkeypatch):
    from actors.divergence import Diverged

    async def main():
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SMALL)) as campaign:
            campaign.observe(
                lambda e: campaign.pause("here", now=True) if e.type == "DraftAccepted" else None
            )
            await campaign.run(SimulatedBackend())

    asyncio.run(main())
    original = Modifier._record

    async def changed(self, task, role, start, attempt, draft, checked):
        await original(self, task, role, start, attempt + 1, draft, checked)

    monkeypatch.setattr(Modifier, "_record", changed)

    async def again():
        async with await Campaign.resume(Workspace(tmp_path)) as campaign:
            await campaign.run(SimulatedBackend())

    before = len(events(tmp_path))
    with pytest.raises(Diverged, match="modifier's DraftAccepted is due and is not in the log"):
        asyncio.run(again())
    assert len(events(tmp_path)) - before <= 30, "nothing much is written over a difference"


def test_an_event_that_the_state_cannot_take_in_ends_the_process_and_nothing_more_is_decided(
    tmp_path, monkeypatch
):
    def broken(self, envelope):
        raise KeyError("something nobody thought of")

    monkeypatch.setattr(Tree, "on_DesignReady", broken)
    with pytest.raises(RuntimeFault, match=r"cannot take in the DesignReady at position \d+ \(KeyError: "):
        # One proposal at a time, so that no other agent's event can be in the same commit.
        run_campaign(tmp_path, (*SMALL, "search.width=1", "search.lookahead=0"))
    monkeypatch.undo()
    last = events(tmp_path)
    first = next(e.position for e in last if e.type == "DesignReady")
    assert {e.actor for e in last if e.position > first} <= {"modifier"}, "what was committed with it"
    assert resume_campaign(tmp_path).kind == "finished", "a program that knows better goes on with it"
    check_log(tmp_path)
