"""`kill -9` of a real campaign in every phase: after `resume` nothing acknowledged is lost and nothing
finished is done again.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from nader.graph import apply_edit, base_design
from store import FaultPoint
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import SMALL, check_log, events, tree

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
    command = command_of(verb, folder, *arguments, sets=sets, real=real)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=REPOSITORY, timeout=280
    )
    acknowledged = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode, [(int(position), hash) for position, hash, _ in acknowledged]


def command_of(verb, folder, *arguments, sets=SMALL, real=False):
    """The driver's command line."""
    command = [sys.executable, "-m", "tests.e2e.driver", verb, str(folder), *arguments]
    command += [piece for pair in sets if verb == "start" for piece in ("--set", pair)]
    return [*command, "--real"] if real else command


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


REACHED = [point for point in FaultPoint if point is not FaultPoint.DURING_FORK]
"""Fault points that a campaign comes to while it runs."""


def drive_to(point, folder, count):
    """Start a campaign and kill it the so-manieth time it comes to a point; a small one would come to no
    checkpoint, so it makes one after every commit.
    """
    more = ["--checkpoints"] if point is FaultPoint.DURING_CHECKPOINT else []
    return drive("start", folder, *more, fault=f"{point}:{count}")


@pytest.mark.parametrize("point", REACHED)
def test_a_campaign_killed_at_a_fault_point_ends_as_if_it_had_not_been(tmp_path, undisturbed, point):
    status, acknowledged = drive_to(point, tmp_path, 9)
    assert status == -signal.SIGKILL
    check_resumed(tmp_path, acknowledged, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 21))
@pytest.mark.parametrize("point", REACHED)
def test_twenty_kills_at_each_fault_point(tmp_path, undisturbed, point, number):
    step = 1 if point is FaultPoint.AFTER_EFFECT_BEFORE_RECORD else 2  # there are some thirty effects
    status, acknowledged = drive_to(point, tmp_path, number * step)
    assert status == -signal.SIGKILL
    check_resumed(tmp_path, acknowledged, undisturbed)


def killed_in_a_fork(folder, at, undisturbed):
    """Of a campaign that ran to its end, a fork is killed while it is made, then made again and resumed."""
    before = events(folder, "run-1")
    status, _ = drive("fork", folder, "--at", str(at), fault="during-fork:1")
    assert status == -signal.SIGKILL
    assert events(folder, "run-1") == before
    assert drive("fork", folder, "--at", str(at))[0] == 0
    assert drive("resume", folder)[0] == 0
    for run in ("run-1", "mine"):
        check_log(folder, run)
        assert tree(folder, run) == undisturbed
    assert events(folder, "run-1") == before


def test_a_campaign_whose_fork_is_killed_while_it_is_made_is_forked_again(tmp_path, undisturbed):
    assert drive("start", tmp_path)[0] == 0
    killed_in_a_fork(tmp_path, 60, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_twenty_kills_of_a_fork_that_is_being_made(tmp_path, undisturbed, number):
    assert drive("start", tmp_path)[0] == 0
    killed_in_a_fork(tmp_path, 20 + 10 * number, undisturbed)


def test_killed_again_and_again_it_still_ends(tmp_path, undisturbed):
    _, acknowledged = drive("start", tmp_path, fault="between-commit-and-publish:5")
    for number in range(6, 40, 8):
        status, more = drive("resume", tmp_path, fault=f"after-append:{number}")
        acknowledged += more
        if status == 0:
            break
    check_resumed(tmp_path, acknowledged, undisturbed)


REAL = (
    "search.candidates=2", "search.width=2", "training.slots=1", "synchronous=NORMAL",
    "training.max_params=20000",
)  # fmt: skip


@pytest.fixture(scope="module")
def ten_epochs(tmp_path_factory):
    """Settings of real trainings of ten epochs; weights and tree of the campaign that was never killed.

    The base drops branches at random, so that torch's random state counts too.
    """
    folder = tmp_path_factory.mktemp("ten-epochs")
    base = base_design("resnet-basic")
    dropping = replace(base, cell=apply_edit(base.cell, "stochastic-depth").block)
    (folder / "base.txt").write_text(dropping.to_text())
    (folder / "recipe.toml").write_text('deviates_from = "digits"\nepochs = 10\ncheckpoint_every = 2\n')
    sets = (
        *REAL, f"search.base={folder / 'base.txt'}", f"training.recipe={folder / 'recipe.toml'}",
    )  # fmt: skip
    assert drive("start", folder / "whole", sets=sets, real=True)[0] == 0
    return sets, weights(folder / "whole"), tree(folder / "whole")


def weights(folder):
    """SHA-256 of the final weights of each training, by job."""
    files = (folder / "trainings").glob("*/weights.safetensors")
    return {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def kill_at_random(verb, folder, sets, draw):
    """Start the driver and kill it some moments after a random epoch; whether it was still running."""
    process = subprocess.Popen(
        command_of(verb, folder, sets=sets, real=True), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with process:
        left = draw.randrange(1, 4)
        for line in process.stdout:
            left -= line.split()[-1] == "EpochFinished"
            if not left:
                break
        time.sleep(draw.random() * 0.1)
        process.kill()
    return process.returncode == -signal.SIGKILL


def check_bit_equal(folder, ten_epochs, kills, seed):
    """Kill a campaign that often, let it end, and compare it with the one that was never killed."""
    sets, whole, whole_tree = ten_epochs
    draw = random.Random(seed)
    killed = [kill_at_random("resume" if n else "start", folder, sets, draw) for n in range(kills)]
    assert all(killed), "it ended before it was killed so often"
    assert drive("resume", folder, real=True)[0] == 0
    check_log(folder)
    assert len(whole) == 3 and weights(folder) == whole
    assert tree(folder) == whole_tree
    completed = [e.event.job for e in events(folder) if e.type == "TrainingCompleted"]
    assert len(completed) == len(set(completed)) == 3, "each is trained to its end once"
    started = [e.event.first_epoch for e in events(folder) if e.type == "TrainingStarted"]
    assert max(started) > 2, "a training went on from its checkpoint"


@pytest.mark.timeout(300)
def test_real_trainings_of_a_campaign_killed_at_random_moments_end_bit_equal(tmp_path, ten_epochs):
    check_bit_equal(tmp_path, ten_epochs, kills=2, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [4, 10])
def test_a_campaign_killed_at_ten_random_moments_of_ten_epochs_ends_bit_equal(tmp_path, ten_epochs, seed):
    check_bit_equal(tmp_path, ten_epochs, kills=10, seed=seed)


SHORT = (*REAL, "training.epochs=3")


def test_a_training_finished_but_not_recorded_is_adopted_not_repeated(tmp_path):
    # The first effect of the campaign is the embedding of its knowledge; the training of the base comes
    # after answers.
    status, _ = drive("start", tmp_path, "--kill", "TrainingStarted:1", sets=SHORT, real=True)
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
