"""Figures: means over seeds, objectives, failures, adopted results; choices rest on validation alone."""

import asyncio
import math

import pytest

from actors import proposer
from actors.retrieval import retrieve
from nader.errors import SettingsError
from nader.forks import fork
from nader.graph import base_design
from nader.settings import load_settings
from nader.training import Failed, FailureKind
from nader.training.job import design_digest
from nader.training.slots import usable_gpus
from nader.workspace import Workspace
from prompts import section
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, run_campaign, tree
from tests.e2e.simulation import SimulatedBackend


class Biased(SimulatedBackend):
    """Pretends a test accuracy that would mislead whoever looked at it."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.wrong = wrong

    async def train(self, job, folder, on_progress, *, baseline=None):
        outcome = await super().train(job, folder, on_progress, baseline=baseline)
        return outcome.model_copy(
            update={"test": 1.0 - outcome.validation if self.wrong else outcome.validation}
        )


def test_the_search_never_looks_at_the_test_accuracy(tmp_path):
    for name, wrong in (("a", False), ("b", True)):
        run_campaign(
            tmp_path / name, ("search.candidates=8", "search.width=4", "synchronous=NORMAL"), Biased(wrong)
        )
    blind = [[row[:6] + row[7:] for row in tree(tmp_path / name)] for name in "ab"]
    assert blind[0] == blind[1]
    assert [row[6] for row in tree(tmp_path / "a")] != [row[6] for row in tree(tmp_path / "b")]
    best = [
        next(e for e in events(tmp_path / name) if e.type == "CampaignFinished").event.best for name in "ab"
    ]
    assert best[0] == best[1]


def test_a_candidates_figure_is_the_mean_over_its_seeds(tmp_path):
    backend = SimulatedBackend(2)
    run_campaign(tmp_path, (*SMALL, "training.seeds=[777, 888, 999]", "search.candidates=3"), backend)
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    for candidate in views.tree.candidates():
        assert len(candidate.validations) == 3 and len(set(candidate.validations)) == 3
        assert candidate.validation == pytest.approx(sum(candidate.validations) / 3, abs=1e-4)
    assert len(backend.trained) == len(set(backend.trained)) == 4 * 3


def test_a_failed_training_costs_one_candidate_and_leaves_an_experience(tmp_path):
    run_campaign(tmp_path, ("search.candidates=8", "search.width=4", "synchronous=NORMAL"), Failing())
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    failed = [c for c in views.tree.candidates() if c.failed and c.original is None]
    trained = [c for c in views.tree.candidates() if c.trained and c.round and c.original is None]
    assert failed and len(failed) + len(trained) == 8
    for candidate in failed:
        assert candidate.failure == "nan" and "not finite" in candidate.reason
        rows = [r for r in views.experience.all() if r.candidate == candidate.id]
        assert [r.category for r in rows if r.kind == "failure"][-1] == "divergence"


def test_a_failed_training_is_told_to_the_proposer_and_keeps_it_from_the_like(tmp_path, monkeypatch):
    pasts = []
    monkeypatch.setattr(proposer, "retrieve", lambda *given: pasts.append(given[2]) or retrieve(*given))
    sets = ("search.candidates=8", "search.width=4", "search.lookahead=0", "synchronous=NORMAL")
    run_campaign(tmp_path, sets, Failing())
    views, _ = folded(tmp_path)
    failed = [c for c in views.tree.candidates() if c.failed and c.round == 1 and c.original is None]
    lessons = {lesson.candidate: lesson for lesson in views.knowledge.lessons()}
    assert failed and all((lessons[c.id].outcome, lessons[c.id].gain) == ("failed", None) for c in failed)
    assert [p.gain for p in pasts[1]].count(-math.inf) == len(failed)
    ranked = [
        e for e in events(tmp_path) if e.type == "ChatRequested" and e.event.prompt == "rank_inspirations"
    ]
    with Workspace(tmp_path).reader() as reader:
        told = section(reader.blob(ranked[1].event.messages[-1].digest).decode(), "experience")
    for candidate in failed:
        assert f"- training failed: {candidate.suggestion} Lesson: " in told
    check_log(tmp_path)


class Failing(SimulatedBackend):
    """Trains the base, and lets one candidate in three diverge."""

    def __init__(self) -> None:
        super().__init__(2, failing=0.34)

    async def train(self, job, folder, on_progress, *, baseline=None):
        self._failing, kept = (0.0 if not self.trained else 0.34), self._failing
        try:
            return await super().train(job, folder, on_progress, baseline=baseline)
        finally:
            self._failing = kept


class OneSeedFails(SimulatedBackend):
    """Of every other design after the base, the training from seed 888 fails."""

    async def train(self, job, folder, on_progress, *, baseline=None):
        outcome = await super().train(job, folder, on_progress, baseline=baseline)
        unlucky = job.seed == 888 and int(design_digest(job.design), 16) % 2
        if unlucky and job.design != base_design("resnet-basic").to_text():
            return Failed(kind=FailureKind.NAN, message="the loss was not finite (pretended)")
        return outcome


def test_a_candidate_that_lacks_a_seed_has_no_figures_and_cannot_win(tmp_path):
    sets = ("search.candidates=8", "search.width=4", "synchronous=NORMAL", "training.seeds=[777, 888, 999]")
    run_campaign(tmp_path, sets, OneSeedFails(2))
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    failed = [c for c in views.tree.candidates() if c.failed and c.original is None]
    trained = [c for c in views.tree.candidates() if c.trained and c.original is None]
    assert failed and trained
    for candidate in failed:
        assert int(candidate.digest, 16) % 2 and candidate.validation is None and candidate.failure == "nan"
        assert candidate.reason == "1 of 3 seeds gave no result: the loss was not finite (pretended)"
    assert all(c.seeds == (777, 888, 999) for c in trained)
    assert views.best().id in {c.id for c in trained}


def test_a_base_that_does_not_train_ends_the_campaign_with_the_reason(tmp_path):
    ending = run_campaign(tmp_path, SMALL, SimulatedBackend(failing=1.0))
    assert (ending.kind, ending.reason) == ("finished", "base-failed")
    finished = next(e for e in events(tmp_path) if e.type == "CampaignFinished").event
    assert "not finite" in finished.detail


def test_an_objective_decides_what_is_best_and_which_parent_is_chosen(tmp_path):
    objective = "validation - 400*params_m"
    run_campaign(
        tmp_path,
        ("search.candidates=8", "search.width=4", f"search.objective={objective}", "synchronous=NORMAL"),
    )
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    finished = next(e for e in events(tmp_path) if e.type == "CampaignFinished").event
    scores = {
        c.id: c.validation - 400 * c.params / 1e6
        for c in views.tree.candidates()
        if c.trained and c.original is None
    }
    assert finished.best == max(scores, key=scores.get)
    assert views.best().id == finished.best


@pytest.mark.parametrize(
    "objective", ["accuracy", "validation -", "validation * params_m", "__import__('os')"]
)
def test_an_objective_that_cannot_be_read_is_one_sentence(tmp_path, objective):
    with pytest.raises(SettingsError, match=r"search\.objective"):
        run_campaign(tmp_path, (*SMALL, f'search.objective="{objective}"'))
    assert not (tmp_path / "nader.db").exists()


def test_a_second_run_in_the_workspace_trains_nothing_twice(tmp_path):
    run_campaign(tmp_path, SMALL, name="first")
    backend = SimulatedBackend()
    run_campaign(tmp_path, SMALL, backend, name="second")
    check_log(tmp_path, "second")
    assert backend.trained == []
    assert tree(tmp_path, "first") == tree(tmp_path, "second")
    reused = [e.event for e in events(tmp_path, "second") if e.type == "ResultReused"]
    assert reused and all(r.source.startswith("first:") for r in reused)


def test_another_recipe_seed_or_data_set_is_another_result(tmp_path):
    run_campaign(tmp_path, SMALL, name="first")
    for number, change in enumerate(("training.seeds=[888]", "training.epochs=4")):
        backend = SimulatedBackend()
        run_campaign(tmp_path, (*SMALL, change), backend, name=f"other-{number}")
        assert len(backend.trained) >= 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("search.base=resnet-basix", "neither a base block"),
        ("training.dataset=cifar11", "cifar11"),
        ("training.skeleton=digitz", "digitz"),
        ("training.recipe=digitz", "digitz"),
        ("training.max_params=100", "the limits are 0.0001 M parameters"),
        ("training.dataset=imagenet16-120", "imagenet16-120"),
        ("search.library=['none']", "there is no library 'none'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_recorded(tmp_path, change, sentence):
    from nader.errors import NaderError

    with pytest.raises(NaderError) as caught:
        run_campaign(tmp_path, (*SMALL, change))
    assert sentence.lower() in str(caught.value).lower() and "\n" not in str(caught.value)


def test_a_base_file_that_does_not_verify_is_named_with_its_problems(tmp_path):
    file = tmp_path / "blocks.txt"
    file.write_text("##cell##\n0:input\n1:output\n2:Conv3d(out_channels=C)\n3:Konv2d\n0->2->3->1\n")
    with pytest.raises(SettingsError) as caught:
        run_campaign(tmp_path / "w", (*SMALL, f"search.base={file}"))
    said = str(caught.value)
    assert f"{file} does not verify: line 4: " in said and "Conv3d" in said and "\n" not in said
    assert f"(and 1 more; `nader check {file}` shows them all)" in said
    assert load_settings(sets=[f"search.base={file}"]).search.base == str(file)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("search.objective=accuracy", "search.objective"),
        ("training.device=cuda", "torch finds no such GPU here"),
        ("training.device=tpu", "training.device = 'tpu' is not right"),
        ("training.address=head:6379", "`nader run --backend ray`"),
        ("llm.backend=openai", "needs a key in $OPENAI_API_KEY"),
    ],
)
def test_a_change_that_cannot_work_is_refused_at_a_start_a_resume_and_a_fork(
    tmp_path, monkeypatch, change, sentence
):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    if change == "training.device=cuda" and usable_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SettingsError) as started:
        run_campaign(tmp_path / "new", (*SMALL, change))
    run_campaign(tmp_path)
    before = [e.hash for e in events(tmp_path)]
    with pytest.raises(SettingsError) as resumed:
        resume_campaign(tmp_path, sets=(change,))
    with pytest.raises(SettingsError) as forked:
        asyncio.run(fork(Workspace(tmp_path), None, 20, sets=(change,)))
    for caught in (started, resumed, forked):
        assert sentence in str(caught.value)
    assert [e.hash for e in events(tmp_path)] == before


def test_experience_of_another_embedder_is_not_mixed_in(tmp_path):
    run_campaign(tmp_path, (*SMALL, "llm.embedding_dimension=64"), name="first")
    with pytest.raises(SettingsError, match=r"the experience of first has vectors of hashed \(64 numbers\)"):
        run_campaign(tmp_path, (*SMALL, "search.experience_from=['first']"), name="second")
    with Workspace(tmp_path).reader() as reader:
        assert [branch.name for branch in reader.branches()] == ["first"]
