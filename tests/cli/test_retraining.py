"""`nader retrain`: what it trains, what it adopts instead, and how it shows figures that are not there."""

from pathlib import Path

import pytest

from nader.settings import load_settings
from nader.training import Failed, FailureKind, Trained, TrainingJob, get_recipe
from tests.cli.conftest import Nader
from tests.e2e.campaigns import SMALL, events, run_campaign
from tests.e2e.simulation import SimulatedBackend


class Recording(SimulatedBackend):
    """Keeps its jobs; a seed of 3 fails, and there is no validation part where `parts` says so."""

    def __init__(self, parts: bool = True) -> None:
        super().__init__()
        self.jobs: list[TrainingJob] = []
        self._parts = parts
        self.kept: dict[str, Trained | Failed] | None = None
        """What each folder holds, once that is to be adopted."""

    async def train(self, job, folder, on_progress, *, baseline=None):
        if self.kept is not None and job.digest in self.kept:
            return self.kept[job.digest].model_copy(update={"adopted": True})
        self.jobs.append(job)
        outcome = await super().train(job, folder, on_progress, baseline=baseline)
        if job.seed == 3:
            return Failed(kind=FailureKind.NAN, message="The loss was not finite.")
        if self.kept is not None:
            self.kept[job.digest] = outcome
        return outcome if self._parts else outcome.model_copy(update={"validation": None, "test": None})


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Stands in for the workers."""
    made = Recording()
    monkeypatch.setattr("nader.retraining.training_backend", lambda settings: made)
    return made


def test_a_training_of_the_campaigns_own_is_adopted_not_repeated(
    nader: Nader, workspace: Path, backend: Recording
) -> None:
    best = nader("show", "best", "-r", "run-1", "--json", "-w", workspace).json
    words = ["retrain", best["id"], "-r", "run-1", "-w", workspace]
    told = nader(*words, "--seeds", "777,888", "--json").json
    assert [job.seed for job in backend.jobs] == [888]
    source = next(
        e for e in events(workspace, "run-1")
        if e.type == "TrainingCompleted" and e.correlation == best["id"]
    )  # fmt: skip
    assert told["adopted"] == [f"run-1:{source.position}", ""] and told["jobs"][0] == source.event.job
    assert (told["validation"][0], told["test"][0]) == (best["validation"], best["test"])
    assert f"adopted from run-1:{source.position}" in nader(*words, "--seeds", "777").out
    assert len(backend.jobs) == 1, "with nothing left to train, no back end is asked"


def test_one_digest_names_a_job_wherever_it_is_asked_for(
    nader: Nader, workspace: Path, backend: Recording
) -> None:
    nader("retrain", "best", "-r", "run-1", "--seeds", "888", "-w", workspace)
    (job,) = backend.jobs
    asked = {e.event.job for e in events(workspace, "run-1") if e.type == "TrainingRequested"}
    assert job.model_copy(update={"seed": 777}).digest in asked


def test_the_rule_for_hopeless_candidates_makes_no_other_result(tmp_path: Path) -> None:
    run_campaign(tmp_path, SMALL, name="first")
    backend = SimulatedBackend()
    run_campaign(tmp_path, (*SMALL, "training.hopeless=true"), backend, name="second")
    assert backend.trained == []


def test_the_default_recipe_is_the_campaigns_with_its_epochs(
    nader: Nader, tmp_path: Path, backend: Recording
) -> None:
    run_campaign(tmp_path, (*SMALL, "training.epochs=3"))
    told = nader("retrain", "best", "--seeds", "888", "--json", "-w", tmp_path).json
    assert told["recipe"] == "digits-3-epochs" and backend.jobs[0].recipe.epochs == 3
    nader("retrain", "best", "--seeds", "888", "--recipe", "digits", "-w", tmp_path)
    assert backend.jobs[1].recipe == get_recipe("digits")
    assert load_settings().training.recipe == "digits"


def test_the_data_that_is_trained_on_is_the_data_that_is_recorded(
    nader: Nader, workspace: Path, backend: Recording
) -> None:
    nader("retrain", "best", "--seeds", "5,6", "-w", workspace)
    assert [job.data for job in backend.jobs] == ["digits: by hash, version 1"] * 2


def test_a_data_set_without_a_part_gives_no_figure_for_it_not_a_zero(
    nader: Nader, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nader.retraining.training_backend", lambda settings: Recording(parts=False))
    words = ["retrain", "best", "-r", "run-1", "--seeds", "1,2", "-w", workspace]
    told = nader(*words, "--json").json
    assert told["validation"] == told["test"] == [None, None]
    out = nader(*words).out
    assert "0.00" not in out and any(line.split()[:3] == ["mean", "-", "-"] for line in out.splitlines())
    assert "seeds 1, 2: test -" in nader("show", "best", "-r", "run-1", "-w", workspace).out
    log = nader("log", "run-1", "-w", workspace).out
    assert "test -, - over 2 seeds" in log


def test_a_mean_that_lacks_a_seed_says_so(nader: Nader, workspace: Path, backend: Recording) -> None:
    told = nader("retrain", "best", "-r", "run-1", "--seeds", "1,2,3", "-w", workspace)
    assert told.status == 1 and "mean of 2 of 3 seeds" in told.out
    assert "seed 3: The loss was not finite." in told.out
    assert "seeds 1, 2 (1 more failed): test" in nader("show", "best", "-r", "run-1", "-w", workspace).out
    assert "over 2 seeds, 1 failed" in nader("log", "run-1", "-w", workspace).out


def test_figures_that_are_recorded_are_not_recorded_again_and_new_ones_are(
    nader: Nader, workspace: Path, backend: Recording
) -> None:
    def recorded() -> list[tuple[int, ...]]:
        log = events(workspace, "run-1")
        return [e.event.seeds for e in log if e.type == "RetrainingRecorded"]

    words = ["retrain", "best", "-r", "run-1", "-w", workspace, "--seeds"]
    first = nader(*words, "777", "--json").json
    assert nader(*words, "777", "--json").json == first
    assert recorded() == [(777,)], "adopted from the campaign both times"
    backend.kept = {}
    nader(*words, "5")
    again = nader(*words, "5", "--json").json
    assert again["adopted"] == ["folder"] and recorded() == [(777,), (5,)]
    nader(*words, "5,6")
    assert recorded() == [(777,), (5,), (5, 6)], "one of them is new"
    assert nader("verify", "run-1", "-w", workspace).status == 0


def test_the_cost_tells_what_was_retrained_apart(nader: Nader, workspace: Path, backend: Recording) -> None:
    before = nader("cost", "run-1", "--json", "-w", workspace).json
    assert before["retrained"] == {}
    told = nader("retrain", "best", "-r", "run-1", "--seeds", "777,1,2,3", "--json", "-w", workspace).json
    assert told["adopted"][0] and told["adopted"][1:] == ["", ""] and len(told["failures"]) == 1
    after = nader("cost", "run-1", "--json", "-w", workspace).json
    spent = sum(told["seconds"][1:])
    assert after["retrained"] == {told["candidate"]: {"trainings": 2, "seconds": spent, "failures": 1}}
    assert after["total"] == before["total"] and after["candidates"] == before["candidates"]
    assert nader("cost", "run-1", "--at", before["position"], "--json", "-w", workspace).json == before
    out = " ".join(nader("cost", "run-1", "-w", workspace).out.split())
    assert (
        f"nader retrain {told['candidate']}: 2 trainings, " in out
        and "1 more failed; in no sum above." in out
    )
