"""A full disk or data that are gone cost one candidate; where they stay away the campaign pauses instead, and
`resume` trains what could not be trained.
"""

import pytest

from nader.training import Failed, FailureKind, Trained
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, run_campaign, tree
from tests.e2e.simulation import SimulatedBackend

FULL = Failed(
    kind=FailureKind.DISK_FULL, message="checkpoint.safetensors could not be written: no space left."
)
GONE = Failed(kind=FailureKind.DATA_MISSING, message="The image folder /data is not there.")
NO_ROOM = Failed(
    kind=FailureKind.NO_ROOM, message="The Ray cluster had no room for a slot (1 CPU) within 300 s."
)
WRONG = Failed(kind=FailureKind.NAN, message="The loss became NaN.")


class Failing(SimulatedBackend):
    """Fails the trainings that are numbered so, from 0 for the base's."""

    def __init__(self, fails, slots=1):
        super().__init__(slots)
        self._fails, self.calls = fails, 0

    async def train(self, job, folder, on_progress, *, baseline=None):
        number, self.calls = self.calls, self.calls + 1
        outcome = await super().train(job, folder, on_progress, baseline=baseline)
        assert isinstance(outcome, Trained)
        return self._fails.get(number, outcome)


def failures(folder):
    return [e.event.kind for e in events(folder) if e.type == "TrainingFailed"]


@pytest.mark.parametrize("failure", [FULL, GONE, NO_ROOM])
def test_the_bases_own_training_pauses_the_campaign_and_is_trained_at_resume(tmp_path, failure):
    backend = Failing({0: failure})
    ending = run_campaign(tmp_path / "a", SMALL, backend)
    assert ending.kind == "paused"
    assert ending.reason.startswith(f"the training of the base cannot be done: {failure.message[:-1]}; ")
    assert "`nader resume` trains it again" in ending.reason
    assert backend.calls == 1, "what waits for the slot is not begun"
    assert failures(tmp_path / "a") == []
    again = resume_campaign(tmp_path / "a", backend=Failing({0: failure}))
    assert again == ending, "nothing has changed, and nothing is lost"
    assert resume_campaign(tmp_path / "a").reason == "completed"
    check_log(tmp_path / "a")
    run_campaign(tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_one_costs_its_candidate_and_the_second_in_a_row_pauses(tmp_path):
    backend = Failing({1: FULL, 2: GONE})
    ending = run_campaign(tmp_path, SMALL, backend)
    assert ending.kind == "paused" and "put the data back" in ending.reason
    assert failures(tmp_path) == ["disk-full"] and backend.calls == 3
    again = resume_campaign(tmp_path, backend=Failing({0: FULL}))
    assert again.kind == "paused", "the log tells that the one before it failed so too"
    assert resume_campaign(tmp_path).reason == "completed"
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert len([c for c in views.tree.candidates() if c.failed and c.original is None]) == 1


def test_two_slots_at_once_count_as_in_a_row(tmp_path):
    ending = run_campaign(tmp_path, SMALL, Failing(dict.fromkeys(range(1, 9), FULL), slots=2))
    assert ending.kind == "paused" and failures(tmp_path) == ["disk-full"]


def test_a_training_that_finishes_between_them_breaks_the_row(tmp_path):
    ending = run_campaign(tmp_path, SMALL, Failing({1: FULL, 3: FULL}))
    assert ending.reason == "completed"
    assert failures(tmp_path) == ["disk-full", "disk-full"]


def test_a_networks_own_failure_does_not_break_the_row(tmp_path):
    ending = run_campaign(tmp_path, SMALL, Failing({1: FULL, 2: WRONG, 3: FULL}))
    assert ending.kind == "paused" and failures(tmp_path) == ["disk-full", "nan"]


def test_a_failure_of_the_machine_teaches_nothing_about_the_design(tmp_path):
    assert run_campaign(tmp_path, SMALL, Failing({1: FULL, 2: WRONG})).kind == "finished"
    log = events(tmp_path)
    kinds = {e.event.candidate: e.event.kind for e in log if e.type == "CandidateFailed"}
    assert sorted(kinds.values()) == ["disk-full", "nan"]
    full, nan = sorted(kinds, key=kinds.__getitem__)
    taught = {e.event.candidate: e.event.category for e in log if e.type == "ExperienceRecorded"}
    assert taught[nan] == "divergence" and full not in taught
    assert {full, nan} <= {e.event.candidate for e in log if e.type == "CandidateClosed"}
