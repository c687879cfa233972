"""What a person's words mean in a run."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from actors.history import History
from nader.errors import WorkspaceError
from nader.positions import PositionError, find_candidate, find_position, position_of
from nader.workspace import Workspace, fold
from store import Reader
from store.projections import Views
from tests.e2e.campaigns import run_campaign


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, Views, History]]:
    folder = tmp_path_factory.mktemp("run")
    run_campaign(folder)
    with Workspace(folder).reader() as reader:
        views, history = fold(reader, "run-1")
        yield reader, views, history


def position(run: tuple[Reader, Views, History], words: str) -> int:
    reader, views, history = run
    return find_position(words, reader, "run-1", views, history)


def last(history: History, candidate: str, *types: str) -> int:
    return [e for e in history.events if e.correlation == candidate and (not types or e.type in types)][
        -1
    ].position


def test_numbers_and_head(run: tuple[Reader, Views, History]) -> None:
    assert position(run, "17") == 17
    assert position(run, " head ") == run[2].head


@pytest.mark.parametrize("words", ["17", "head", "r1-1", "r1-1:proposed", "best"])
def test_a_position_in_a_run_that_is_not_folded_is_the_same(
    run: tuple[Reader, Views, History], words: str
) -> None:
    assert position_of(words, run[0], "run-1") == position(run, words)


def test_a_number_a_time_and_the_head_are_found_without_a_fold(
    run: tuple[Reader, Views, History], monkeypatch: pytest.MonkeyPatch
) -> None:
    def folded(*_: object, **__: object) -> None:
        raise AssertionError("the whole run was folded")

    monkeypatch.setattr("nader.positions.fold", folded)
    today = datetime.fromtimestamp(run[2].at(run[2].head).time).strftime("%Y-%m-%d")
    assert [position_of(words, run[0], "run-1") for words in ("17", "head", today)] == [
        17, run[2].head, run[2].head,
    ]  # fmt: skip
    for words in ("0", "1000000", "9" * 30):
        with pytest.raises(PositionError):
            position_of(words, run[0], "run-1")


def test_a_candidate_is_its_last_event(run: tuple[Reader, Views, History]) -> None:
    assert position(run, "r1-1") == last(run[2], "r1-1")
    best = run[1].tree.best()
    assert best is not None and position(run, "best") == last(run[2], best.id)


@pytest.mark.parametrize(
    ("stage", "type_name"),
    [
        ("proposed", "ProposalMade"),
        ("designed", "DesignReady"),
        ("queued", "TrainingRequested"),
        ("trained", "CandidateTrained"),
        ("closed", "CandidateClosed"),
    ],
)
def test_a_stage_is_the_event_that_marks_it(
    run: tuple[Reader, Views, History], stage: str, type_name: str
) -> None:
    candidate = next(c.id for c in run[1].tree.candidates() if c.trained and c.original is None and c.parent)
    assert position(run, f"{candidate}:{stage}") == last(run[2], candidate, type_name)


def test_the_base_is_proposed_and_designed_at_once(run: tuple[Reader, Views, History]) -> None:
    assert position(run, "base:proposed") == position(run, "base:designed") == 2


def test_a_time_is_the_last_event_by_then(run: tuple[Reader, Views, History]) -> None:
    log = list(run[0].read("run-1"))
    middle = log[len(log) // 2]
    exact = datetime.fromtimestamp(middle.time, UTC).isoformat()
    found = log[position(run, exact) - 1]
    assert found.time <= middle.time + 1e-6 and found.position >= middle.position - 1


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%H:%M:%S", "%H:%M", "%Y-%m-%d"])
def test_a_time_lasts_as_long_as_it_leaves_open(run: tuple[Reader, Views, History], form: str) -> None:
    """The time that `nader log` prints beside an event has that event in it, as a beginning and as an end."""
    log = list(run[0].read("run-1"))
    for event in log[:: len(log) // 5]:
        words = datetime.fromtimestamp(event.time).strftime(form)
        same = [e.position for e in log if datetime.fromtimestamp(e.time).strftime(form) == words]
        reader, views, history = run
        first = find_position(words, reader, "run-1", views, history, first=True)
        assert (first, position(run, words)) == (same[0], same[-1])


def test_a_time_to_begin_from_may_lie_before_the_run(run: tuple[Reader, Views, History]) -> None:
    reader, views, history = run
    assert find_position("2001-01-01", reader, "run-1", views, history, first=True) == 1
    with pytest.raises(PositionError, match="nothing has happened"):
        after = datetime.fromtimestamp(history.at(history.head).time + 1e-3).isoformat()
        find_position(after, reader, "run-1", views, history, first=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("0", "has positions 1 to"),
        ("1000000", "has positions 1 to"),
        ("-1", "is no position"),
        ("", "is no position"),
        ("r1-1:trainde", "did you mean 'trained'"),
        ("r1-1:xyz", "stages are proposed, designed"),
        ("base:closedd", "did you mean 'closed'"),
        ("2000-01-01", "had not begun by then"),
        ("2100-01-01", "still to come"),
        ("2100-01-01T10:00", "still to come"),
        ("2026-13-45", "is no time"),
        ("25:99", "is no time"),
        ("\x1b[31m", "is no position"),
    ],
)
def test_other_words_are_a_sentence(run: tuple[Reader, Views, History], words: str, said: str) -> None:
    with pytest.raises(PositionError, match=said):
        position(run, words)


def test_an_unknown_candidate_is_answered_with_the_nearest(run: tuple[Reader, Views, History]) -> None:
    assert find_candidate(run[1], "base").id == "base"
    with pytest.raises(WorkspaceError, match="did you mean r1-"):
        find_candidate(run[1], "r1-11")
    with pytest.raises(WorkspaceError, match="there are base, r1-1"):
        find_candidate(run[1], "zzz")
    with pytest.raises(WorkspaceError, match="none is the best"):
        find_candidate(run[1], "best", upto=3)
