"""Forks: from any event, with other settings; the parent stays as it was, byte for byte."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from nader.errors import SettingsError, WorkspaceError
from nader.forks import fork
from nader.portable import export_log, import_log
from nader.proof import rebuild
from nader.workspace import Workspace
from store import Log
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import check_log, events, folded, resume_campaign, run_campaign, tree, verified
from tests.e2e.reading import paper
from tests.e2e.simulation import SimulatedBackend


def forked(folder, at, run=None, **options):
    return asyncio.run(fork(Workspace(folder), run, at, **options))


def rows(folder, run="run-1"):
    with sqlite3.connect(folder / "nader.db") as connection:
        (number,) = connection.execute("SELECT id FROM branches WHERE name = ?", (run,)).fetchone()
        return connection.execute(
            "SELECT * FROM events WHERE place >> 40 = ? ORDER BY place", (number,)
        ).fetchall()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run_campaign(folder)
    return folder


@pytest.fixture
def workspace(finished, tmp_path):
    with sqlite3.connect(finished / "nader.db") as source, sqlite3.connect(tmp_path / "nader.db") as copy:
        source.backup(copy)
    return tmp_path


def sampled(finished, count):
    head = events(finished)[-1].position
    return [max(2, head * n // count) for n in range(1, count)]


@pytest.mark.parametrize("nth", range(6))
def test_a_fork_without_changes_finds_the_same_tree_from_any_position(workspace, nth):
    before, found = rows(workspace), tree(workspace, "run-1")
    at = sampled(workspace, 7)[nth]
    name = forked(workspace, at)
    resume_campaign(workspace, name)
    check_log(workspace, name)
    assert tree(workspace, name) == found
    assert rows(workspace) == before, "the parent is not touched"


@pytest.mark.slow
def test_a_fork_from_every_position_finds_the_same_tree(finished, tmp_path):
    head = events(finished)[-1].position
    for at in range(1, head + 1, 3):
        folder = tmp_path / str(at)
        folder.mkdir()
        with sqlite3.connect(finished / "nader.db") as source, sqlite3.connect(folder / "nader.db") as copy:
            source.backup(copy)
        name = forked(folder, at)
        resume_campaign(folder, name)
        check_log(folder, name)
        assert tree(folder, name) == tree(finished, "run-1")


def test_a_fork_of_a_fork_inside_an_open_request(workspace):
    request = next(
        e for e in events(workspace) if e.type == "ChatRequested" and e.event.prompt == "modify_cell"
    )
    first = forked(workspace, request.position)
    resume_campaign(workspace, first)
    second = forked(workspace, events(workspace, first)[-1].position - 5, run=first, name="grandchild")
    resume_campaign(workspace, second)
    check_log(workspace, second)
    assert tree(workspace, second) == tree(workspace, "run-1")
    with Workspace(workspace).reader() as reader:
        for run in ("run-1", first, second):
            assert rebuild(reader, run, samples=20).ok


def test_a_fork_goes_its_own_way_with_other_settings(workspace):
    opened = next(e for e in events(workspace) if e.type == "RoundClosed")
    name = forked(workspace, opened.position, sets=("seed=99", "search.candidates=7"), name="other-seed")
    resume_campaign(workspace, name)
    check_log(workspace, name)
    views, _ = folded(workspace, name)
    assert len([c for c in views.tree.candidates() if c.round and c.original is None and c.trained]) == 7
    shared = {c.id for c in views.tree.candidates(opened.position)}
    mine = {row[0]: row for row in tree(workspace, name)}
    theirs = {row[0]: row for row in tree(workspace, "run-1")}
    assert all(mine[c][3] == theirs[c][3] for c in shared), "the shared past is the same"
    assert set(mine) != set(theirs) or any(mine[c][3] != theirs[c][3] for c in set(mine) - shared)
    changed = next(e for e in events(workspace, name) if e.type == "SettingsChanged")
    assert changed.event.changes == {"seed": 99, "search.candidates": 7}


def test_an_open_request_is_cancelled_on_demand_and_the_log_says_so(workspace):
    request = next(e for e in events(workspace) if e.type == "TrainingRequested" and e.correlation != "base")
    name = forked(workspace, request.position, cancel=True)
    resume_campaign(workspace, name)
    check_log(workspace, name)
    log = events(workspace, name)
    assert next(e for e in log if e.type == "Forked").event.open_requests == "cancel"
    cancelled = [e for e in log if e.type == "TrainingCancelled"]
    assert request.position in [e.causation for e in cancelled]
    views, _ = folded(workspace, name)
    assert views.tree.candidate(request.correlation).failure == "cancelled"


@pytest.mark.parametrize("prompt", ["", "rank_inspirations"])
def test_a_fork_that_cancels_while_the_base_trains_still_has_a_base(tmp_path, prompt):
    workspace = tmp_path
    run_campaign(workspace, backend=SimulatedBackend(pause=lambda rng: 0.3))
    log = events(workspace)
    trained = next(e for e in log if e.type == "TrainingCompleted")
    asked = next(e for e in log if e.type == "TrainingRequested" and e.correlation == "base")
    if prompt:
        asked = next(e for e in log if e.type == "ChatRequested" and e.event.prompt == prompt)
    assert trained.position > asked.position, "the base is being trained"
    name = forked(workspace, asked.position, cancel=True)
    assert resume_campaign(workspace, name).reason == "completed"
    check_log(workspace, name)
    views, _ = folded(workspace, name)
    assert (
        views.tree.candidate("base").validation
        == folded(workspace, "run-1")[0].tree.candidate("base").validation
    )
    cancelled = [e.type for e in events(workspace, name) if e.type.endswith("Cancelled")]
    assert "TrainingCancelled" not in cancelled and ("ChatCancelled" in cancelled) == bool(prompt)


def test_with_reuse_recorded_answers_are_taken_and_marked(workspace):
    answers = [e for e in events(workspace) if e.type == "ChatCompleted"]
    name = forked(workspace, 5, reuse=True)
    resume_campaign(workspace, name)
    check_log(workspace, name)
    own = [e.event for e in events(workspace, name) if e.type == "ChatCompleted"]
    assert len(own) == len(answers)
    assert all(answer.reused.startswith("run-1:") for answer in own)
    assert tree(workspace, name) == tree(workspace, "run-1")


def test_with_reuse_vectors_are_taken_too_and_cost_nothing(workspace):
    vectors = [e for e in events(workspace) if e.type == "EmbeddingCompleted"]
    name = forked(workspace, 5, reuse=True)
    resume_campaign(workspace, name)
    check_log(workspace, name)
    own = [e.event for e in events(workspace, name)[5:] if e.type == "EmbeddingCompleted"]
    assert len(own) == len(vectors) and all(v.reused.startswith("run-1:") for v in own)
    assert {v.vectors for v in own} == {e.event.vectors for e in vectors}
    assert folded(workspace, name)[0].ledger.totals().embedding_calls == 0


@pytest.mark.parametrize("kind", ["ChatRequested", "EmbeddingRequested"])
def test_with_reuse_the_request_that_is_open_at_the_fork_is_not_paid_for_again(workspace, kind):
    request = [e for e in events(workspace) if e.type == kind][1]
    answer = next(e for e in events(workspace) if e.causation == request.position and "Completed" in e.type)
    assert answer.position > request.position
    name = forked(workspace, request.position, reuse=True)
    resume_campaign(workspace, name)
    check_log(workspace, name)
    taken = [e for e in events(workspace, name) if e.causation == request.position and "Completed" in e.type]
    assert [e.event.reused for e in taken] == [f"run-1:{answer.position}"]


def test_an_imported_fork_takes_the_answers_of_its_own_parent_whatever_that_is_called_here(
    workspace, tmp_path
):
    opened = next(e.position for e in events(workspace) if e.type == "RoundOpened")
    branch = forked(workspace, opened, reuse=True)
    resume_campaign(workspace, branch)
    with Workspace(workspace).reader() as reader:
        export_log(reader, [branch], tmp_path / "file")
    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.create()

    async def brought():
        async with Log.open(elsewhere.log, create=True) as log:
            await import_log(log, tmp_path / "file", "their-")

    asyncio.run(brought())
    there = f"their-{branch}"
    head = events(elsewhere.path, there)[-1].position
    resume_campaign(elsewhere.path, there, sets=("search.candidates=6",))
    check_log(elsewhere.path, there)
    later = [e for e in events(elsewhere.path, there) if e.position > head and e.type == "ChatCompleted"]
    taken = [e.event.reused for e in later if e.event.reused]
    assert later and all(source.startswith("run-1:") for source in taken)
    for parent in ("their-run-1", there):
        made_here = forked(elsewhere.path, opened, run=parent, reuse=True)
        resume_campaign(elsewhere.path, made_here)
        check_log(elsewhere.path, made_here)


def test_without_reuse_nothing_is_taken(workspace):
    name = forked(workspace, 5)
    resume_campaign(workspace, name)
    ends = [e.event for e in events(workspace, name) if e.type in ("ChatCompleted", "EmbeddingCompleted")]
    assert ends and not any(end.reused for end in ends)


def test_trainings_of_the_parents_future_are_reused_not_repeated(workspace):
    name = forked(workspace, 5)
    resume_campaign(workspace, name)
    own = events(workspace, name)[5:]
    assert not [e for e in own if e.type == "TrainingCompleted"]
    reused = [e.event for e in own if e.type == "ResultReused"]
    assert len(reused) >= 6 and all(r.source.startswith("run-1:") for r in reused)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"at": 0}, WorkspaceError, "it cannot be forked at 0"),
        ({"at": 10**6}, WorkspaceError, "run-1 has events 1 to"),
        ({"at": 9, "run": "run-2"}, WorkspaceError, "holds no run 'run-2'; did you mean 'run-1'?"),
        ({"at": 9, "name": "run-1"}, WorkspaceError, "holds a run named 'run-1' already"),
        ({"at": 9, "sets": ("search.widht=3",)}, SettingsError, "did you mean 'search.width'?"),
        ({"at": 9, "sets": ("training.dataset=cifar10",)}, SettingsError, "training.dataset is fixed once"),
    ],
)
def test_a_fork_that_cannot_be_made_is_one_sentence_and_leaves_nothing(workspace, options, error, sentence):
    before = rows(workspace)
    with pytest.raises(error) as caught:
        forked(workspace, **options)
    assert sentence in str(caught.value)
    assert rows(workspace) == before
    with Workspace(workspace).reader() as reader:
        assert len(reader.branches()) == 1


BEGINNINGS = {
    "a campaign": "Campaign.start(workspace, load_settings(sets=SMALL), 'mine')",
    "a fork": "fork(workspace, 'run-1', 40, name='mine', sets=('seed=5',))",
    "a reflection": "rederive(workspace, 'run-1')",
    "a library": "read(workspace, str(workspace.path / 'papers'), 'mine', load_settings(), 5)",
}
NAMES = {"a reflection": "run-1-reflect-1", "a library": "library:mine"}
FIRST = {
    "a campaign": ["CampaignStarted"],
    "a fork": ["Forked", "SettingsChanged"],
    "a reflection": ["Forked", "ReflectionRequested"],
    "a library": ["ReadingStarted"],
}


def killed(folder, what, fault):
    """Begin a branch in a process that is killed at a fault point; the types of the branch's events, None
    where there is no branch.
    """
    (folder / "papers").mkdir(exist_ok=True)
    (folder / "papers" / "one.txt").write_text(paper(), encoding="utf-8")
    code = (
        "import asyncio, sys; from pathlib import Path; from nader.campaign import Campaign; "
        "from nader.forks import fork; from nader.library import read; "
        "from nader.reflection import rederive; from nader.settings import load_settings; "
        "from nader.workspace import Workspace; "
        "from tests.e2e.campaigns import SMALL; workspace = Workspace(Path(sys.argv[1])); "
        f"asyncio.run({BEGINNINGS[what]})"
    )
    environment = {**os.environ, "NADER_FAULT": fault, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, cwd=REPOSITORY, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    name = NAMES.get(what, "mine")
    with Workspace(folder).reader() as reader:
        own = [b for b in reader.branches() if b.name == name]
        return [e.type for b in own for e in reader.read(b.name, after=b.fork_position)] if own else None


@pytest.mark.parametrize("what", BEGINNINGS)
def test_a_branch_and_what_it_begins_with_are_made_together_or_not_at_all(workspace, what):
    before = rows(workspace)
    assert killed(workspace, what, "during-fork:1") is None
    made = killed(workspace, what, "between-commit-and-publish:1")
    assert list(dict.fromkeys(made)) == FIRST[what]
    assert rows(workspace) == before
    assert verified(workspace, NAMES.get(what, "mine")).ok


@pytest.mark.parametrize("fault", ["during-fork:1", "between-commit-and-publish:1"])
def test_a_fork_killed_while_it_is_made_is_made_again(workspace, fault):
    if killed(workspace, "a fork", fault) is None:
        assert forked(workspace, 40, run="run-1", name="mine", sets=("seed=5",)) == "mine"
    resume_campaign(workspace, "mine")
    check_log(workspace, "mine")
    assert folded(workspace, "mine")[0].status.settings()["seed"] == 5


def test_a_fork_that_was_broken_off_does_not_resume_as_if_it_were_whole(workspace):
    from store import Log

    async def half():
        log = await Log.open(workspace / "nader.db")
        await log.create_branch("half", run="run-1", parent="run-1", position=30)
        await log.close()

    asyncio.run(half())
    with pytest.raises(WorkspaceError, match="was broken off while it was made"):
        resume_campaign(workspace, "half")


def test_verify_holds_on_every_branch(workspace):
    forked(workspace, 25, sets=("seed=4",), name="a")
    resume_campaign(workspace, "a")
    for run in ("run-1", "a"):
        assert verified(workspace, run).ok
