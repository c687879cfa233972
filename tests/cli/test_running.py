"""A campaign in front of a person: what is shown while it runs, how it stops, what is said at the end."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from nader.campaign import Campaign
from nader.cli import running
from nader.cli.display import LiveDisplay, PlainDisplay, display_for, render
from nader.cli.milestones import milestone
from nader.cli.output import SafeConsole
from nader.cli.snapshot import Snapshot, Working, snapshot
from nader.settings import load_settings
from nader.training import Progress
from nader.workspace import Workspace
from store.projections.ledger import Totals
from store.projections.tree import Candidate, Stage
from tests.cli.conftest import Nader
from tests.conftest import REPOSITORY
from tests.e2e.campaigns import SMALL, check_log, events, folded, resume_campaign, settings
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Fault, FaultKind, Scenario


def run_it(folder: Path, *, as_json: bool = False, sets: tuple[str, ...] = SMALL) -> int:
    """A campaign with pretended trainings, as `nader run` shows it."""

    async def main() -> int:
        async with await Campaign.start(Workspace(folder), load_settings(sets=sets)) as campaign:
            return await running.run_campaign(campaign, as_json, SimulatedBackend(failing=0.3))

    return asyncio.run(main())


def test_the_end_names_tree_best_log_head_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_it(tmp_path) == 0
    out = capsys.readouterr().out
    views, history = folded(tmp_path)
    best = views.tree.best()
    assert best is not None
    for part in (
        "designed by rule-based",
        "run-1 finished: completed",
        f"{best.validation:.2f} %",
        f"test {best.test:.2f} %",
        str(tmp_path / "nader.db"),
        history.events[-1].hash,
        f"at position {history.head}",
        "nader show best",
        "nader verify",
    ):
        assert part in out, part


def test_outside_a_terminal_each_milestone_is_a_plain_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_it(tmp_path)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    views, _ = folded(tmp_path)
    for candidate in views.tree.candidates():
        if candidate.stage in (Stage.TRAINED, Stage.FAILED):
            lines = [
                line for line in out.splitlines() if f" {candidate.id} " in line and candidate.stage in line
            ]
            assert lines, candidate.id
    trained = next(line for line in out.splitlines() if " trained in " in line)
    assert "validation" in trained and "test" in trained


def test_with_json_the_result_is_alone_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    assert run_it(tmp_path, as_json=True) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert set(result) == {
        "run", "ending", "reason", "designer", "log", "base", "best", "candidates", "spent", "head",
    }  # fmt: skip
    assert result["head"]["hash"] == events(tmp_path)[-1].hash
    assert "trained in" in told.err


def test_a_campaign_whose_base_fails_leaves_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> int:
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SMALL)) as campaign:
            return await running.run_campaign(campaign, False, SimulatedBackend(failing=1.0))

    assert asyncio.run(main()) == 1
    out = capsys.readouterr().out
    assert "nader trace base" in out and "best" not in out.split("Next")[1]


CAPS = {
    "budget.money=0.02": "--budget …",
    "budget.tokens=9000": "--set budget.tokens=…",
    "budget.hours=0.0000001": "--set budget.hours=…",
    "budget.money_per_agent.modifier=0.02": "--set budget.money_per_agent.modifier=…",
    "budget.tokens_per_agent.modifier=9000": "--set budget.tokens_per_agent.modifier=…",
    "budget.hours_per_agent.modifier=0.0000001": "--set budget.hours_per_agent.modifier=…",
}


@pytest.mark.parametrize("cap", CAPS)
def test_after_a_cap_the_command_to_go_on_names_what_to_raise_and_goes_on(
    cap: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")

    async def go_on(option: str) -> int:
        change = f"budget.money={10**6}" if "--budget" in option else f"{option.split()[1][:-1]}{10**6}"
        async with await Campaign.resume(Workspace(tmp_path), None, [change]) as campaign:
            return await running.run_campaign(campaign, False, SimulatedBackend())

    with serve(Scenario(delay_s=0.01)) as server:
        sets = settings(server, "llm.prices={scripted=[5, 5]}", "llm.max_tokens=500", cap)
        assert run_it(tmp_path, sets=sets) == 0
        out = capsys.readouterr().out
        line = next(line for line in out.split("Next")[1].splitlines() if "nader resume" in line)
        assert f"nader resume run-1 {CAPS[cap]} -w" in line
        assert asyncio.run(go_on(CAPS[cap])) == 0
    assert "run-1 finished: completed" in capsys.readouterr().out


def test_a_reading_at_its_cap_names_what_to_raise(
    nader: Nader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table := tmp_path / "papers.csv").write_text("title,abstract\nGated blocks,We gate a convolution.\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")
    with serve(Scenario()) as server:
        words = ["read", table, "-w", tmp_path / "w", "--set", "llm.model=scripted"]
        words += ["--set", f"llm.base_url={server.url}"]
        told = nader(*words, "--set", "budget.tokens=100")
        assert told.status == 1 and "the same command goes on with --set budget.tokens=…" in told.out
        assert nader(*words, "--set", "budget.tokens=100000").status == 0


def test_on_a_terminal_the_live_table_shows_stages_bars_best_and_cost(tmp_path: Path) -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, width=80, height=40)
    assert isinstance(display_for(console), LiveDisplay)

    async def main() -> None:
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SMALL)) as campaign:
            with LiveDisplay(console) as display:
                campaign.observe(lambda envelope: running._later(display, envelope, campaign))
                drawing = asyncio.ensure_future(running._draw(display, campaign))
                await campaign.run(SimulatedBackend(pause=lambda rng: 0.6))
                drawing.cancel()

    asyncio.run(main())
    out = file.getvalue()
    for part in (
        "designer:",
        "rule-based",
        "data: digits",
        "trained",
        "queued",
        "training",
        "epoch",
        "questions",
        "base",
    ):
        assert part in out, part


def test_a_dumb_terminal_and_a_pipe_get_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display_for(SafeConsole(file=io.StringIO())), PlainDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display_for(SafeConsole(file=io.StringIO(), force_terminal=True)), PlainDisplay)


def drawn(shown: Snapshot, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(render(shown))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_fits_the_terminal(width: int) -> None:
    figures = {"stage": Stage.TRAINED, "test": 90.0, "params": 96094, "macs": 763104}
    base = Candidate("base", 0, 0, None, validation=91.5, **figures)
    best = Candidate("r12-10", 12, 10, "base", validation=92.5, **figures)
    detail = "epoch 199/200, loss 0.123 " + "x" * 99
    working = tuple(Working(f"r12-{n}", "r11-10", "training", detail, n / 40) for n in range(40))
    totals = Totals(chat_calls=12345, input_tokens=12_000_000, output_tokens=3_000_000, cost=123.45)
    shown = Snapshot(
        "run-1-fork-1", "gpt-4o, o3-mini", "imagenet16-120", 500, 123, working, base, best, totals, 200.0,
        99999.0, 345678.0, 3,
    )  # fmt: skip
    out = drawn(shown, width)
    assert max(map(len, out.splitlines())) <= width
    assert len(out.splitlines()) <= 24
    out = " ".join(out.split())
    for part in ("and 30 more", "of $200.00", "about 4 d 0 h left", "3 failures", "(+1.00)"):
        assert part in out, part


def test_the_estimate_waits_for_two_results_and_counts_only_this_process(tmp_path: Path) -> None:
    run_it(tmp_path)
    views, _ = folded(tmp_path)
    settings = load_settings(sets=["search.candidates=100"])
    settled = snapshot("r", views, settings, {}, elapsed=0, settled_before=0).settled
    assert settled >= 2
    assert snapshot("r", views, settings, {}, elapsed=10, settled_before=settled - 1).left is None
    left = snapshot("r", views, settings, {}, elapsed=10, settled_before=settled - 2).left
    assert left == pytest.approx(10 / 2 * (100 - settled))


def test_what_a_training_says_of_itself_is_shown_before_its_first_epoch(tmp_path: Path) -> None:
    """A worker takes seconds to start: the table must not say that nothing happens."""
    run_it(tmp_path)
    log = events(tmp_path)
    first = next(e for e in log if e.type == "TrainingRequested")
    from nader.workspace import fold

    with Workspace(tmp_path).reader() as reader:
        views, _ = fold(reader, "run-1", first.position)
        said = {first.data()["job"]: Progress(stage="starting")}
        shown = snapshot("r", views, load_settings(), said, elapsed=1, settled_before=0)
    row = next(w for w in shown.working if w.candidate == first.correlation)
    assert (row.stage, row.detail, row.fraction) == ("training", "starting", 0.0)


def test_every_milestone_is_told_once_and_progress_is_not(tmp_path: Path) -> None:
    run_it(tmp_path)
    views, _ = folded(tmp_path)
    told = {e.type for e in events(tmp_path) if milestone(e, views) is not None}
    assert {"BaseDesigned", "ProposalMade", "DesignReady", "CandidateTrained"} <= told
    assert not told & {"EpochFinished", "ChatCompleted", "InspirationRecorded"}


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nader.cli", *words, "-w", str(folder)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wait_for(folder: Path, type_name: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (folder / "nader.db").exists() and type_name in {e.type for e in events_or_none(folder)}:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {type_name} within {seconds} s")


def events_or_none(folder: Path) -> list[object]:
    try:
        return list(events(folder))
    except Exception:  # not yet there
        return []


def test_a_running_campaign_can_be_read_is_not_written_twice_and_stops_in_order(
    tmp_path: Path, nader: Nader
) -> None:
    process = start(tmp_path, "run", "--candidates", "1", "--set", "training.slots=1")
    try:
        wait_for(tmp_path, "TrainingStarted")
        second = nader("run", "-w", tmp_path)
        assert second.status == 2
        assert f"process {process.pid}" in second.err and len(second.err.splitlines()) == 1
        assert nader("tree", "-w", tmp_path).status == 0
        assert nader("runs", "-w", tmp_path, "--json").json["writer"]["pid"] == process.pid
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "Stopping in order" in out and "nader resume run-1" in out and "Traceback" not in out
    assert events(tmp_path)[-1].type == "CampaignPaused"
    assert resume_campaign(tmp_path).kind == "finished"
    check_log(tmp_path)


def test_a_full_disk_is_one_sentence_and_what_was_acknowledged_stays_readable(
    tmp_path: Path, nader: Nader
) -> None:
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-m", "nader.cli", "run", "--candidates", "2", "-w", str(tmp_path)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)), timeout=240,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "there is no room left to write it" in done.stderr and "Traceback" not in done.stderr
    assert nader("verify", "-w", tmp_path).status == 0
    assert nader("tree", "-w", tmp_path).status == 0


def test_a_finished_run_says_so_again_and_goes_on_if_there_is_room_for_more(tmp_path: Path) -> None:
    run_it(tmp_path)

    async def again(sets: tuple[str, ...]) -> int:
        async with await Campaign.resume(Workspace(tmp_path), None, sets) as campaign:
            return await running.run_campaign(campaign, False, SimulatedBackend())

    head = events(tmp_path)[-1].position
    assert asyncio.run(again(())) == 0
    assert events(tmp_path)[-1].position == head
    assert asyncio.run(again(("search.candidates=7",))) == 0
    assert events(tmp_path)[-1].position > head


EXHAUSTED = {
    "a campaign that knows nothing": (
        ("search.shipped_inspirations=false",),
        {},
        "it knows no inspiration: search.shipped_inspirations is off",
    ),
    "vectors that never came": (
        ("llm.embedder=openai", "llm.embedding_model=scripted", "llm.embedding_dimension=64"),
        {"faults": (Fault(kind=FaultKind.WRONG_DIMENSION, endpoint="embeddings", every=1),)},
        "none of its 96 inspirations has a vector of scripted (64 numbers)",
    ),
    "a model that never answers": (
        (),
        {"faults": (Fault(kind=FaultKind.REFUSAL, every=1),)},
        "nothing new; proposals of which no design came: 30 (the last: the model gave no usable answer",
    ),
    "a model without ideas": (
        ("search.reader=own-ideas",),
        {"task_answers": {"propose_freely": ("<proposal>Use GELU.</proposal>",) * 9}},
        "the model had no idea that was not tried yet",
    ),
}


@pytest.mark.parametrize("why", EXHAUSTED)
def test_an_exhausted_campaign_says_why(
    why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-anything")
    sets, script, said = EXHAUSTED[why]
    with serve(Scenario(**script)) as server:
        run_it(tmp_path, sets=settings(server, "llm.retries=1", *sets))
    out = " ".join(capsys.readouterr().out.split())
    assert "run-1 finished: exhausted" in out and said in out
