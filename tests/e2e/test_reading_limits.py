"""Readings within limits that hold, through servers that fail: nothing lost, nothing spent unseen."""

import json

import pytest

from actors.librarian import NO_VECTORS
from nader.errors import SettingsError
from nader.library import ReadingError, look_up, plan
from nader.settings import load_settings
from nader.workspace import Workspace, find_run, fold
from tests.cli.conftest import Nader, nader  # noqa: F401
from tests.e2e.campaigns import verified
from tests.e2e.reading import library_events, paper, read_library
from tests.servers.openai_server import serve
from tests.servers.scenario import Fault, FaultKind, Scenario

FIRST = "We add a squeeze-and-excitation gate before the output of every residual block. "
SECOND = "We use a dilated convolution in the block to see more of the image at once. "
EMBEDDER = ("llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64")


@pytest.fixture
def papers(tmp_path):
    """A folder of two papers."""
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "one.txt").write_text(paper(FIRST, title="A First Study of Network Blocks"))
    (folder / "two.txt").write_text(paper(SECOND, title="A Second Study of Network Blocks"))
    return folder


def settings(server, *more):
    return (
        "llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted", "llm.backoff_s=0.01",
        "llm.retries=1", *more,
    )  # fmt: skip


def planned(folder, source, sets, name="papers"):
    return plan(Workspace(folder), str(source), name, load_settings(sets=sets), 50)


def library_views(folder, name="papers"):
    with Workspace(folder).reader() as reader:
        return fold(reader, f"library:{name}")[0]


# ---- papers that got no answer


def test_papers_that_got_no_answer_are_counted_and_read_the_next_time(tmp_path, papers):
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, every=1),))) as server:
        sets = settings(server, "llm.outage_after=0")
        report = read_library(tmp_path / "w", papers, sets=sets)
        assert (report.papers, report.finished, report.relevant) == (2, 0, 0)
        assert report.unanswered == {"no answer (server-error)": 2} and not report.whole
        known = planned(tmp_path / "w", papers, sets)
        assert (known.known, known.calls) == (0, 4)
    with serve(Scenario()) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server))
        assert (report.papers, report.finished, report.relevant, report.entered) == (2, 2, 2, 2)
        assert report.unanswered == {} and report.whole
        before = server.stats()["chat"]
        assert read_library(tmp_path / "w", papers, sets=settings(server)).whole
        assert server.stats()["chat"] == before, "what is done is not done again"
    assert verified(tmp_path / "w", "library:papers").ok


def test_papers_whose_inspirations_got_no_vectors_are_read_the_next_time(tmp_path, papers):
    fault = Fault(kind=FaultKind.UNAVAILABLE, endpoint="embeddings", every=1)
    with serve(Scenario(faults=(fault,))) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server, *EMBEDDER))
        assert report.unanswered == {NO_VECTORS: 2} and report.entered == 0
    with serve(Scenario()) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server, *EMBEDDER))
    assert report.whole and report.entered == 2


def test_an_outage_pauses_a_reading_and_the_same_command_goes_on(tmp_path, papers):
    for number in range(6):
        (papers / f"more-{number}.txt").write_text(paper(title=f"Study Number {number} of Network Blocks"))
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, every=1),))) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server))
    assert report.ending.kind == "paused" and report.ending.reason.startswith("outage: 3 calls in a row")
    assert sum(report.unanswered.values()) <= 2 and report.finished == 0 and not report.whole
    with serve(Scenario()) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server))
        assert report.whole and report.finished == report.relevant == 8
        before = server.stats()["chat"]
        assert read_library(tmp_path / "w", papers, sets=settings(server)).whole
        assert server.stats()["chat"] == before, "nothing is left for a third command"
    assert verified(tmp_path / "w", "library:papers").ok


def test_the_command_says_what_is_owed_and_leaves_with_1(nader: Nader, tmp_path, papers):  # noqa: F811
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, every=1),))) as server:
        sets = [w for pair in settings(server, "llm.outage_after=0") for w in ("--set", pair)]
        said = nader("read", papers, "-w", tmp_path / "w", *sets)
    assert said.status == 1
    owed = "2 papers got no answer or no text: 2 no answer (server-error); the same command asks again"
    assert owed in said.out
    assert "1/2" in said.err and "2/2" in said.err
    with serve(Scenario()) as server:
        sets = [w for pair in settings(server, "llm.prices={scripted=[1.0, 2.0]}") for w in ("--set", pair)]
        said = nader("read", papers, "-w", tmp_path / "w", *sets)
        assert said.status == 0 and "4 questions" in said.out and "$" in said.out
        cost = nader("cost", "library:papers", "-w", tmp_path / "w", "--json").json
        stats = server.stats()
    assert cost["total"]["input_tokens"] == stats["prompt_tokens"]
    assert cost["total"]["cost"] == pytest.approx(
        (stats["prompt_tokens"] + 2 * stats["completion_tokens"]) / 1e6
    )
    assert nader("cost", "library:papers", "-w", tmp_path / "w").status == 0


# ---- what is checked before it begins


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("budget.money=1",), "what scripted may cost, and its price is not known"),
        (("llm.models={reader='gone'}",), "lists no model 'gone'"),
        (("budget.money=1", "llm.prices={scripted=[1.0, 1.0]}", "llm.embedder=openai",
          "llm.embedding_model=dear"), "what dear may cost, and its price is not known"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_is_recorded(tmp_path, papers, more, sentence):
    with (
        serve(Scenario()) as server,
        pytest.raises(SettingsError, match=sentence),
    ):
        read_library(tmp_path / "w", papers, sets=settings(server, *more))
    assert not (tmp_path / "w" / "nader.db").exists()


def test_an_endpoint_that_is_nowhere_named_is_said_before_anything_is_recorded(tmp_path, papers, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(SettingsError, match=r"llm\.embedder = 'openai' needs a key"):
        read_library(tmp_path / "w", papers, sets=EMBEDDER)


def test_a_source_without_papers_makes_no_library(tmp_path):
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(ReadingError, match=r"none\.json.* offers no papers"):
        read_library(tmp_path / "w", tmp_path / "none.json")
    assert not (tmp_path / "w" / "nader.db").exists()


# ---- the estimate


def test_the_estimate_is_of_the_papers_left_at_the_readers_own_price(tmp_path, papers):
    prices = "llm.prices={scripted=[1000.0, 1000.0], small=[10.0, 20.0]}"
    with serve(Scenario(models=("scripted", "small"))) as server:
        dear = planned(tmp_path / "w", papers, settings(server, prices))
        cheap = planned(tmp_path / "w", papers, settings(server, prices, "llm.models={reader='small'}"))
        assert dear.calls == cheap.calls == 4 and dear.tokens == cheap.tokens > 12_000
        assert dear.money == pytest.approx(dear.tokens / 1000)
        assert dear.tokens / 1e6 * 10 < cheap.money < dear.tokens / 1e6 * 20
        assert planned(tmp_path / "w", papers, settings(server)).money is None
        (papers / "two.txt").rename(tmp_path / "two.txt")
        report = read_library(tmp_path / "w", papers, sets=settings(server, prices))
        assert 0 < report.spent.cost <= dear.money / 2, "one paper of two, its section not at its longest"
        (tmp_path / "two.txt").rename(papers / "two.txt")
        left = planned(tmp_path / "w", papers, settings(server, prices))
    assert (left.papers, left.known, left.calls) == (2, 1, 2)
    assert left.money == pytest.approx(dear.money / 2, rel=0.05)


def test_the_estimate_counts_the_vectors_of_an_endpoint(tmp_path, papers):
    prices = "llm.prices={scripted=[0.0, 0.0], embedding=[5.0, 0.0]}"
    embedder = (*EMBEDDER, "llm.embedding_model=embedding")
    with serve(Scenario()) as server:
        found = planned(tmp_path / "w", papers, settings(server, prices, *embedder))
        source = long_list(tmp_path / "list.json", 600)
        listed = planned(tmp_path / "w", source, settings(server, prices, *embedder))
    assert found.calls == 6 and found.money > 0
    assert (listed.calls, listed.inspirations) == (3, 600)
    assert listed.money == pytest.approx(listed.tokens * 5 / 1e6) and listed.tokens > 600


def test_a_source_is_looked_up_once_for_the_estimate_and_the_reading(
    nader: Nader, tmp_path, papers, monkeypatch  # noqa: F811
):  # fmt: skip
    from nader import offer

    calls = []
    found = offer.parse_source
    monkeypatch.setattr(offer, "parse_source", lambda *a, **k: calls.append(1) or found(*a, **k))
    assert nader("read", papers, "-w", tmp_path / "w").status == 0
    assert len(calls) == 1
    given = look_up(Workspace(tmp_path), str(papers), "x", 1)
    assert len(given.papers) == 1


# ---- time


def test_the_cap_on_hours_holds_for_a_reading_and_more_hours_go_on(tmp_path, papers):
    with serve(Scenario(delay_s=0.5)) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server, f"budget.hours={0.3 / 3600}"))
        assert report.ending.kind == "paused" and "hours of running" in report.ending.reason
        assert not report.whole
        report = read_library(tmp_path / "w", papers, sets=settings(server, "budget.hours=1"))
    assert report.whole


# ---- lists with vectors from an endpoint


def long_list(path, number):
    """A list of so many inspirations that have no word in common."""
    texts = [" ".join(f"w{n}{letter}" for letter in "abcdef") for n in range(number)]
    entries = [{"id": n, "paper_id": 1, "inspiration": text} for n, text in enumerate(texts, 1)]
    path.write_text(json.dumps(entries))
    return path


def imported(folder, source, server, *more):
    sets = ("llm.backend=rule-based", *settings(server)[1:], *EMBEDDER, *more)
    return read_library(folder, source, "list", sets=sets, filtered=False)


def test_the_vectors_of_a_list_go_through_the_log_in_batches(tmp_path):
    source = long_list(tmp_path / "list.json", 600)
    fault = Fault(kind=FaultKind.RATE_LIMITED, endpoint="embeddings", at=(2,))
    with serve(Scenario(faults=(fault,))) as server:
        report = imported(tmp_path / "w", source, server, "llm.prices={scripted=[3.0, 0.0]}")
        stats = server.stats()
    assert report.whole and report.entered == 600
    log = library_events(tmp_path / "w", "list")
    asked = [e.event.count for e in log if e.type == "EmbeddingRequested"]
    assert asked == [256, 256, 88]
    assert [e.event.error for e in log if e.type == "EmbeddingAttempted"] == ["rate-limited"]
    total = library_views(tmp_path / "w", "list").ledger.totals()
    assert total.input_tokens == stats["embedding_tokens"] > 0 and total.embedding_calls == 3
    assert total.cost == report.spent.cost == pytest.approx(stats["embedding_tokens"] * 3 / 1e6)
    views = library_views_open(tmp_path / "w")
    assert len(views.knowledge.matrix()[0]) == 600


def library_views_open(folder, name="list"):
    """State of a library; the reader stays open, because vectors are read when they are asked for."""
    reader = Workspace(folder).reader()
    return fold(reader, find_run(reader, f"library:{name}").name)[0]


def test_a_cap_holds_for_the_vectors_of_a_list_and_more_goes_on_with_what_was_paid_for(tmp_path):
    source = long_list(tmp_path / "list.json", 600)
    with serve(Scenario()) as server:
        report = imported(tmp_path / "w", source, server, "budget.tokens=11500")
        paid = server.stats()["embedding_tokens"]
        assert report.ending.kind == "paused" and report.ending.reason.startswith("budget:")
        assert 0 < paid <= 11_500 and report.entered == 0 and not report.whole
        done = [e for e in library_events(tmp_path / "w", "list") if e.type == "EmbeddingCompleted"]
        assert 1 <= len(done) < 3
        report = imported(tmp_path / "w", source, server, "budget.tokens=1000000")
        stats = server.stats()
    assert report.whole and report.entered == 600
    assert stats["embeddings"] == 3, "no batch was asked for twice"


def test_a_list_without_vectors_enters_nothing_and_goes_on_when_they_come(tmp_path):
    source = long_list(tmp_path / "list.json", 300)
    fault = Fault(kind=FaultKind.SERVER_ERROR, endpoint="embeddings", every=1)
    nothing = "gave no vectors, so nothing of the list was entered"
    with serve(Scenario(faults=(fault,))) as server, pytest.raises(ReadingError, match=nothing):
        imported(tmp_path / "w", source, server)
    types = {e.type for e in library_events(tmp_path / "w", "list")}
    assert types == {"ReadingStarted", "EmbeddingRequested", "EmbeddingAttempted", "EmbeddingFailed"}
    with serve(Scenario()) as server:
        assert imported(tmp_path / "w", source, server).entered == 300


def test_the_vectors_of_what_papers_gave_go_through_the_log(tmp_path, papers):
    with serve(Scenario()) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server, *EMBEDDER))
        stats = server.stats()
    spent = stats["prompt_tokens"] + stats["completion_tokens"] + stats["embedding_tokens"]
    assert report.spent.input_tokens + report.spent.output_tokens == spent
    assert report.spent.embedding_calls == stats["embeddings"] == 2


# ---- a refusal costs nothing


def test_a_refusal_that_took_nothing_is_no_call_of_unknown_price(tmp_path, papers):
    with serve(Scenario(faults=(Fault(kind=FaultKind.NO_MODEL, every=1),))) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server))
        assert report.ending.kind == "paused" and report.ending.reason.startswith("no-such-model")
    with serve(Scenario(faults=(Fault(kind=FaultKind.UNAVAILABLE, every=1),))) as server:
        report = read_library(tmp_path / "w", papers, sets=settings(server, "llm.outage_after=0"))
    total = library_views(tmp_path / "w").ledger.totals()
    assert (total.chat_failures, total.unknown_price_calls, total.cost) == (2, 0, 0.0)
