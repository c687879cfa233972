"""`kill -9` of a real campaign in every phase: after `resume` nothing acknowledged is lost and nothing
finished is done again.
"""

import os
import signal
import subprocess
import sys

import pytest

from store import FaultPoint
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import SMALL, check_log, events, folded, tree

PHASES = {
    "an LLM request is open": "--kill ChatRequested:7",
    "a draft has been rejected or accepted": "--kill DraftAccepted:2",
    "a design is ready and not yet trained": "--kill DesignReady:2",
    "a training is under way": "--kill EpochFinished:4",
    "a training has just been recorded": "--kill TrainingCompleted:2",
    "a reflection is under way": "--kill ReflectionRequested:1",
    "a round opens": "--kill RoundOpened:2",
}


def drive(verb, folder, *arguments, fault="", sets=SMALL, real=False):
    """Run the driver; returns (exit status, acknowledged (position, hash) pairs)."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment.pop("NADER_FAULT", None)
    if fault:
        environment["NADER_FAULT"] = fault
    command = [sys.executable, "-m", "tests.e2e.driver", verb, str(folder), *arguments]
    if verb == "start":
        command += [piece for pair in sets for piece in ("--set", pair)]
    if real:
        command.append("--real")
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=REPOSITORY, timeout=280
    )
    acknowledged = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode, [(int(position), hash) for position, hash in acknowledged]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert drive("start", folder)[0] == 0
    return tree(folder)


def check_resumed(folder, acknowledged, undisturbed):
    by_position = {e.position: e.hash for e in events(folder)}
    assert all(by_position.get(position) == hash for position, hash in acknowledged), (
        "an acknowledged event is lost"
    )
    finished_before = {
        e.event.job
        for e in events(folder)
        if e.type == "TrainingCompleted" and (e.position, e.hash) in set(acknowledged)
    }
    status, _ = drive("resume", folder)
    assert status == 0
    check_log(folder)
    assert tree(folder) == undisturbed
    last = max((position for position, _ in acknowledged), default=0)
    again = [e.event.job for e in events(folder) if e.type == "TrainingStarted" and e.position > last]
    assert not finished_before & set(again), "a finished training was run again"


@pytest.mark.parametrize("phase", PHASES)
def test_a_campaign_killed_in_this_phase_ends_as_if_it_had_not_been(tmp_path, undisturbed, phase):
    status, acknowledged = drive("start", tmp_path, *PHASES[phase].split())
    assert status == -signal.SIGKILL
    check_resumed(tmp_path, acknowledged, undisturbed)


REACHED = [p for p in FaultPoint if p not in (FaultPoint.DURING_FORK, FaultPoint.DURING_CHECKPOINT)]
"""Fault points that a small campaign comes to; the others have their tests beside the store and the forks."""


@pytest.mark.parametrize("point", REACHED)
def test_a_campaign_killed_at_a_fault_point_ends_as_if_it_had_not_been(tmp_path, undisturbed, point):
    status, acknowledged = drive("start", tmp_path, fault=f"{point}:9")
    assert status == -signal.SIGKILL
    check_resumed(tmp_path, acknowledged, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 21))
@pytest.mark.parametrize("point", REACHED)
def test_twenty_kills_at_each_fault_point(tmp_path, undisturbed, point, number):
    step = 1 if point is FaultPoint.AFTER_EFFECT_BEFORE_RECORD else 2  # there are some thirty effects
    status, acknowledged = drive("start", tmp_path, fault=f"{point}:{number * step}")
    assert status == -signal.SIGKILL
    check_resumed(tmp_path, acknowledged, undisturbed)


def test_killed_again_and_again_it_still_ends(tmp_path, undisturbed):
    _, acknowledged = drive("start", tmp_path, fault="between-commit-and-publish:5")
    for number in range(6, 40, 8):
        status, more = drive("resume", tmp_path, fault=f"after-append:{number}")
        acknowledged += more
        if status == 0:
            break
    check_resumed(tmp_path, acknowledged, undisturbed)


REAL = (
    "search.candidates=2", "search.width=2", "training.slots=1", "training.epochs=3", "synchronous=NORMAL",
    "training.max_params=20000",
)  # fmt: skip


@pytest.mark.parametrize("kill", ["EpochFinished:2", "TrainingCompleted:1"])
def test_real_trainings_survive_a_kill_of_the_campaign(tmp_path, kill):
    status, _acknowledged = drive("start", tmp_path, "--kill", kill, sets=REAL, real=True)
    assert status == -signal.SIGKILL
    status, _ = drive("resume", tmp_path, real=True)
    assert status == 0
    check_log(tmp_path)
    views, _ = folded(tmp_path)
    assert len([c for c in views.tree.candidates() if c.trained]) == 3
    completed = [e.event.job for e in events(tmp_path) if e.type == "TrainingCompleted"]
    assert len(completed) == len(set(completed)) == 3


def test_a_training_finished_but_not_recorded_is_adopted_not_repeated(tmp_path):
    # The first effect of the campaign is the embedding of its knowledge; the training of the base comes
    # after answers.
    status, _ = drive("start", tmp_path, "--kill", "TrainingStarted:1", sets=REAL, real=True)
    assert status == -signal.SIGKILL
    number = len([e for e in events(tmp_path) if e.type in ("ChatRequested", "EmbeddingRequested")])
    for _ in range(number + 8):
        status, _ = drive("resume", tmp_path, fault="after-effect-before-record:1", real=True)
        done = list((tmp_path / "trainings").glob("*/result.json"))
        if done or status == 0:
            break
    assert status == -signal.SIGKILL and len(done) == 1
    job = done[0].parent.name
    assert not [e for e in events(tmp_path) if e.type == "TrainingCompleted" and e.event.job == job]
    epochs = len([e for e in events(tmp_path) if e.type == "EpochFinished" and e.event.job == job])
    status, _ = drive("resume", tmp_path, real=True)
    assert status == 0
    completed = [e for e in events(tmp_path) if e.type == "TrainingCompleted" and e.event.job == job]
    assert len(completed) == 1
    assert len([e for e in events(tmp_path) if e.type == "EpochFinished" and e.event.job == job]) == epochs
    check_log(tmp_path)
