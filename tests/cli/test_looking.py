"""Commands that show a run: for people in 80 columns, for programs with stable keys."""

import asyncio
import itertools
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from events import Envelope
from nader.cli.tree import pareto_front
from nader.forks import fork
from nader.workspace import Workspace
from store.projections.tree import Candidate, Stage
from tests.cli.conftest import Nader
from tests.e2e.campaigns import SMALL, events, folded, run_campaign

CANDIDATE_KEYS = {
    "id", "parent", "round", "index", "status", "outcome", "best", "digest", "original", "width",
    "parameters", "macs", "validation", "validations", "test", "seeds", "loss", "seconds", "latency_ms",
    "peak_memory", "inspiration", "suggestion", "paper", "reason", "failure",
}  # fmt: skip
EVENT_KEYS = {
    "position", "id", "time", "run", "branch", "actor", "type", "version", "candidate", "causation",
    "effect_key", "input_digest", "hash", "event",
}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["tree", "run-1"],
        ["tree", "-O", "validation - 0.1*params_m"],
        ["runs"],
        ["show", "best"],
        ["show", "base"],
        ["trace", "best"],
        ["why", "best"],
        ["log"],
        ["log", "run-1", "-c", "r1-1", "-t", "DraftAccepted", "--full"],
        ["settings"],
        ["doctor"],
        ["diff", "run-1", "other"],
        ["cost"],
        ["verify"],
        ["rebuild"],
    ],
)
def test_what_is_shown_fits_80_columns(
    nader: Nader, finished: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
    said = nader(*words, *([] if words == ["settings"] else ["-w", finished]))
    assert said.status == 0 or words == ["doctor"], said.err
    assert said.err == ""
    assert "\x1b[" in said.out
    assert max(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in said.out.splitlines()) <= 80


def test_the_tree_as_json_has_every_candidate_with_stable_keys(nader: Nader, finished: Path) -> None:
    told = nader("tree", "run-1", "--json", "-w", finished).json
    assert set(told) == {"run", "position", "designer", "objective", "best", "candidates"}
    assert told["designer"] == "rule-based"
    views, _ = folded(finished, "run-1")
    assert [row["id"] for row in told["candidates"]] == [c.id for c in views.tree.candidates()]
    for row in told["candidates"]:
        assert set(row) == CANDIDATE_KEYS | {"objective", "pareto"}
    best = next(row for row in told["candidates"] if row["best"])
    assert best["id"] == told["best"]
    assert best["validation"] == max(row["validation"] or 0 for row in told["candidates"])


def test_the_tree_names_the_designer_and_marks_the_best(nader: Nader, finished: Path) -> None:
    out = nader("tree", "run-1", "-w", finished).out
    assert "designed by rule-based" in out and out.count("★ best") == 1


def test_the_tree_can_be_seen_as_of_an_earlier_position(nader: Nader, finished: Path) -> None:
    first = nader("tree", "run-1", "--at", "r1-1:proposed", "--json", "-w", finished).json
    assert "r2-1" not in {row["id"] for row in first["candidates"]}
    assert all(row["validation"] is None for row in first["candidates"] if row["id"].startswith("r1"))
    last = nader("tree", "run-1", "--json", "-w", finished).json
    assert first["position"] < last["position"]


def test_runs_are_listed_with_state_best_and_head(nader: Nader, finished: Path, parting: int) -> None:
    told = nader("runs", "--json", "-w", finished).json
    assert [row["name"] for row in told["runs"]] == ["run-1", "other"]
    fork = told["runs"][1]
    assert (fork["parent"], fork["fork_position"]) == ("run-1", parting)
    assert all(len(row["head"]) == 64 and row["state"] == "finished (completed)" for row in told["runs"])
    assert told["writer"] is None
    assert f"fork of run-1 at {parting}" in nader("runs", "-w", finished).out


def test_an_imported_run_was_begun_where_it_was_begun(nader: Nader, finished: Path, tmp_path: Path) -> None:
    nader("export-log", "run-1", "-o", tmp_path / "run.zst", "-w", finished)
    nader("import-log", tmp_path / "run.zst", "-w", tmp_path)
    (run,) = nader("runs", "--json", "-w", tmp_path).json["runs"]
    assert run["imported"] and run["created"] == events(finished, "run-1")[0].time
    out = nader("runs", "-w", tmp_path).out
    assert "imported" in out and "imported" not in nader("runs", "-w", finished).out


def test_a_candidate_is_shown_with_design_drafts_and_lessons(nader: Nader, finished: Path) -> None:
    told = nader("show", "best", "-r", "run-1", "--json", "-w", finished).json
    assert set(told) >= CANDIDATE_KEYS | {
        "run",
        "position",
        "design",
        "drafts",
        "experiences",
        "lessons",
        "spent",
    }
    assert told["design"].count("##") == 6
    assert [draft["role"] for draft in told["drafts"] if draft["problems"] is None] == [
        "cell",
        "stem",
        "downsample",
    ]
    out = nader("show", "best", "-r", "run-1", "-w", finished).out
    assert "Design" in out and "Drafts" in out and told["paper"][:20] in out


def test_a_failed_candidate_says_why(nader: Nader, finished: Path) -> None:
    rows = nader("tree", "run-1", "--json", "-w", finished).json["candidates"]
    failed = next(row for row in rows if row["failure"])
    assert failed["status"] == "failed" and failed["failure"] == "nan"
    assert "the loss was not finite" in nader("show", failed["id"], "-r", "run-1", "-w", finished).out


def test_a_trace_is_a_timeline_with_epochs_drawn_together(nader: Nader, finished: Path) -> None:
    told = nader("trace", "best", "-r", "run-1", "--json", "-w", finished).json
    moments = told["moments"]
    assert [m["position"] for m in moments] == sorted(m["position"] for m in moments)
    assert moments[0]["type"] == "ProposalMade" and moments[0]["since"] == 0
    epochs = [m for m in moments if m["type"] == "EpochFinished"]
    assert [m["repeated"] for m in epochs] == [3]
    assert moments[-1]["type"] == "CandidateClosed"
    assert "EpochFinished (×3)" in nader("trace", "best", "-r", "run-1", "-w", finished).out


def test_why_leads_from_the_proposal_to_the_campaigns_start_and_names_the_paper(
    nader: Nader, finished: Path
) -> None:
    told = nader("why", "best", "-r", "run-1", "--json", "-w", finished).json
    chain = told["chain"]
    assert chain[0]["type"] == "ProposalMade" and chain[-1]["type"] == "CampaignStarted"
    for effect, cause in itertools.pairwise(chain[:-1]):
        assert effect["causation"] == cause["position"]
    assert told["ancestors"][-1]["id"] == "base"
    assert told["candidate"]["best"] and not told["ancestors"][-1]["best"]
    assert told["inspiration"]["title"] and told["inspiration"]["ref"]
    assert told["inspiration"]["title"] in nader("why", "best", "-r", "run-1", "-w", finished).out


def test_why_the_base_is_there_is_the_campaigns_start(nader: Nader, finished: Path) -> None:
    told = nader("why", "base", "-r", "run-1", "--json", "-w", finished).json
    assert [event["type"] for event in told["chain"]] == ["BaseDesigned", "CampaignStarted"]


def test_why_says_that_a_candidate_failed_and_what_a_duplicate_is(
    nader: Nader, finished: Path, tmp_path: Path
) -> None:
    views, _ = folded(finished, "run-1")
    failed = next(c for c in views.tree.candidates() if c.failed)
    said = nader("why", failed.id, "-r", "run-1", "-w", finished).out
    assert f"{failed.id}  failed: {failed.failure}" in said and failed.reason in " ".join(said.split())
    run, twice, original = duplicate_in(tmp_path)
    first = nader("why", twice, "-r", run, "-w", tmp_path).out.splitlines()[0]
    assert first.startswith(f"{twice}  same as {original}") and "validation" not in first
    assert nader("show", twice, "-r", run, "-w", tmp_path).out.startswith(f"{twice}  same as {original}")


def test_diff_says_what_became_of_each_candidate(nader: Nader, tmp_path: Path) -> None:
    run, twice, original = duplicate_in(tmp_path)
    asyncio.run(fork(Workspace(tmp_path), run, 3, name="other"))
    out = nader("diff", run, "other", "-w", tmp_path).out
    row = next(line for line in out.splitlines() if line.split()[:1] == [twice])
    assert f"same as {original}" in row and "validation" not in row


def duplicate_in(folder: Path) -> tuple[str, str, str]:
    """Run campaigns until an idea leads to a design that is there already: run, its id, the original's."""
    for seed in range(30):
        run = f"seed-{seed}"
        run_campaign(folder, (*SMALL, "search.candidates=6", f"seed={seed}"), name=run)
        for candidate in folded(folder, run)[0].tree.candidates():
            if candidate.original is not None:
                return run, candidate.id, candidate.original
    raise AssertionError("none of the campaigns made a design twice")


def test_the_log_is_filtered_by_actor_type_candidate_and_range(nader: Nader, finished: Path) -> None:
    where = ["run-1", "--json", "-w", finished]
    everything = nader("log", "--epochs", *where).lines
    assert [event["position"] for event in everything] == list(range(1, len(everything) + 1))
    assert set(everything[0]) == EVENT_KEYS
    assert "EpochFinished" not in {event["type"] for event in nader("log", *where).lines}
    assert {e["actor"] for e in nader("log", "-a", "proposer", "-a", "director", *where).lines} == {
        "proposer",
        "director",
    }
    assert {e["type"] for e in nader("log", "-t", "EpochFinished", *where).lines} == {"EpochFinished"}
    assert {e["candidate"] for e in nader("log", "-c", "best", *where).lines} == {
        nader("tree", "run-1", "--json", "-w", finished).json["best"]
    }
    ranged = nader("log", "--from", "5", "--to", "r1-1:proposed", "--epochs", *where).lines
    assert ranged[0]["position"] == 5 and ranged[-1]["type"] == "ProposalMade"


def test_the_log_in_full_shows_prompts_and_answers_as_they_were(nader: Nader, finished: Path) -> None:
    asked = [
        "log",
        "run-1",
        "--type",
        "ChatRequested",
        "--type",
        "ChatCompleted",
        "-c",
        "best",
        "--full",
        "-w",
        finished,
    ]
    out = nader(*asked).out
    assert "messages [system]" in out and "answer" in out and "##" in out
    told = nader(*asked, "--json").lines
    request = next(event for event in told if event["type"] == "ChatRequested")
    assert request["blobs"][request["event"]["messages"][0]["digest"]]


def test_a_followed_log_ends_at_the_position_that_is_named(nader: Nader, finished: Path) -> None:
    assert (
        len(nader("log", "run-1", "--follow", "--epochs", "--to", "20", "--json", "-w", finished).lines) == 20
    )


def test_diff_tells_where_runs_part_and_what_each_found(nader: Nader, finished: Path, parting: int) -> None:
    told = nader("diff", "run-1", "other", "--json", "-w", finished).json
    assert told["shared"] == parting
    one, other = told["runs"]
    assert one["settings"]["seed"] == 2 and other["settings"]["seed"] == 5
    assert one["best"]["validation"] and other["best"]["validation"]
    assert one["candidates"] and other["candidates"]
    assert told["first_decision"] is None or told["first_decision"]["positions"][0] > parting
    out = nader("diff", "run-1", "other", "-w", finished).out
    assert f"share their history up to position {parting}" in out and "search.strategy" in out


def test_the_cost_is_told_by_agent_and_by_candidate_and_adds_up(nader: Nader, finished: Path) -> None:
    told = nader("cost", "run-1", "--json", "-w", finished).json
    assert told["designer"] == "rule-based" and told["open"] == []
    for key in ("chat_calls", "trainings", "train_seconds"):
        assert sum(row[key] for row in told["agents"].values()) == pytest.approx(told["total"][key])
    asked = nader("log", "run-1", "-t", "ChatCompleted", "--json", "-w", finished).lines
    assert told["total"]["chat_calls"] == len(asked)
    best = nader("tree", "run-1", "--json", "-w", finished).json["best"]
    assert told["candidates"][best]["trainings"] == 1


def test_a_run_does_not_differ_from_itself(nader: Nader, finished: Path) -> None:
    told = nader("diff", "run-1", "run-1", "--json", "-w", finished).json
    assert told["first_decision"] is None and told["runs"][0]["events"] == 0


def test_the_same_run_in_two_logs_is_compared_by_hashes(
    nader: Nader, finished: Path, workspace: Path, parting: int
) -> None:
    told = nader("diff", "run-1", "other", "--other", workspace, "--json", "-w", finished).json
    assert told["shared"] == parting


def test_an_export_is_a_network_that_runs_with_torch_alone(
    nader: Nader, finished: Path, tmp_path: Path
) -> None:
    import subprocess
    import sys

    told = nader("export", "best", "-r", "run-1", "-o", tmp_path / "out", "--json", "-w", finished).json
    assert [Path(file).name for file in told["files"]] == ["blocks.txt", "model.py"]
    source = (tmp_path / "out" / "model.py").read_text()
    assert "nader" not in [
        line.split()[1] for line in source.splitlines() if line.startswith(("import", "from"))
    ]
    done = subprocess.run(
        [sys.executable, "-I", "model.py"], cwd=tmp_path / "out", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert nader("check", tmp_path / "out" / "blocks.txt", "-s", "digits").status == 0


def test_the_pareto_front_holds_what_no_other_beats() -> None:
    def made(name: str, validation: float, params: int, latency: float | None = 1.0) -> Candidate:
        return Candidate(
            name, 1, 1, "base", stage=Stage.TRAINED, validation=validation, params=params, macs=params,
            latency_ms=latency, peak_memory=1,
        )  # fmt: skip

    several = [
        made("a", 90, 100),
        made("b", 91, 100),
        made("c", 80, 50),
        made("d", 79, 60),
        made("e", 91, 100),
    ]
    assert [c.id for c in pareto_front(several)] == ["b", "c", "e"]
    assert [c.id for c in pareto_front([made("a", 90, 100, None), made("b", 89, 100, 0.5)])] == ["a"]
    assert pareto_front([]) == []


def test_the_legend_of_the_pareto_front_names_what_is_compared(
    nader: Nader, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tree", "run-1", "-O", "validation", "-w", finished)
    assert "as good in validation, params, MACs, ms and MB, and better in one" in nader(*words).out
    data = Envelope.data
    monkeypatch.setattr(Envelope, "data", lambda e: {**data(e), "device": "cpu, 1 threads"})
    assert "as good in validation, params, MACs and ms, and better in one" in nader(*words).out


def test_hostile_text_in_a_log_reaches_no_terminal(nader: Nader, tmp_path: Path) -> None:
    """A model's answer, a suggestion and a paper that try to take the terminal over."""
    import asyncio

    from actors.runtime import external
    from events.development import DesignAbandoned
    from events.research import ProposalMade
    from store import Log
    from tests.e2e.campaigns import run_campaign

    run_campaign(tmp_path / "w")
    evil = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/] \x9b31m\u202etxt.exe"
    proposal = ProposalMade(
        candidate="r99-1",
        round=99,
        index=1,
        parent="base",
        inspiration=evil,
        suggestion=evil,
        paper=evil,
        visible=0,
    )
    gone = DesignAbandoned(candidate="r99-1", category=evil, reason=evil, attempts=1)

    async def write() -> None:
        async with Log.open(tmp_path / "w" / "nader.db") as log:
            await log.append("run-1", [external(proposal, about="r99-1"), external(gone, about="r99-1")])

    asyncio.run(write())
    lines = (
        "tree|show r99-1|trace r99-1|why r99-1|log|log --full|tree --json|log --json|runs|diff run-1 run-1"
    )
    for words in (line.split() for line in lines.split("|")):
        said = nader(*words, "-w", tmp_path / "w")
        assert said.status == 0, said.err
        assert not set(said.out) & set("\x1b\x07\x9b\u202e"), words
        if words[0] in ("tree", "log", "show"):
            assert "[bold red]boo[/]" in (
                json.dumps(said.json) if words == ["tree", "--json"] else said.out
            ), words


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_list_that_is_wider_than_the_terminal_leaves_columns_out_and_cuts_no_figure(
    nader: Nader, finished: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    where = ("tree", "run-1", "--objective", "validation", "-w", finished)
    best = nader(*where, "--json").json["best"]
    monkeypatch.setenv("COLUMNS", "200")
    whole = next(line.split() for line in nader(*where).out.splitlines() if line.startswith(f" {best} "))
    monkeypatch.setenv("COLUMNS", str(width))
    out = nader(*where).out
    narrow = next(line.split() for line in out.splitlines() if line.startswith(f" {best} "))
    assert narrow == whole[: len(narrow)] and ("no room here for" in out) == (len(narrow) < len(whole))
    assert len(narrow) < len(whole) or width == 100
