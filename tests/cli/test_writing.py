"""Commands that change a workspace: forks, imports, retrainings, libraries, answers; and proofs of what
they left."""

import asyncio
import json
import os
import re
import sqlite3
from pathlib import Path

import pytest

from nader.llm.types import ChatRequest
from prompts import Message
from tests.cli.conftest import Nader
from tests.e2e.campaigns import SMALL, resume_campaign, run_campaign
from tests.e2e.forging import Edit, Forgery
from tests.e2e.simulation import SimulatedBackend
from tests.servers.openai_server import serve
from tests.servers.scenario import Scenario


def test_a_fork_leaves_its_parent_as_it_was_and_can_be_resumed(nader: Nader, workspace: Path) -> None:
    before = nader("log", "run-1", "--epochs", "--json", "-w", workspace).out
    words = ["fork", "run-1", "--at", "r2-1:proposed", "--seed", "7", "--name", "mine", "--json"]
    told = nader(*words, "-w", workspace).json
    assert told["name"] == "mine" and told["parent"] == "run-1"
    assert nader("log", "run-1", "--epochs", "--json", "-w", workspace).out == before
    assert resume_campaign(workspace, "mine", SimulatedBackend()).kind == "finished"
    assert nader("verify", "mine", "-w", workspace).status == 0
    assert nader("diff", "run-1", "mine", "--json", "-w", workspace).json["shared"] == told["position"]


@pytest.mark.parametrize("more", [[], ["--seed", "7", "--model", "m"], ["--reuse"]])
def test_a_fork_at_a_number_folds_nothing(
    nader: Nader, workspace: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """Its time must not grow with the history."""

    def folded(*_: object, **__: object) -> None:
        raise AssertionError("the run was folded")

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    for module in ("nader.positions", "nader.forks", "nader.workspace", "nader.cli.reading"):
        monkeypatch.setattr(f"{module}.fold", folded)
    told = nader("fork", "run-1", "--at", "9", "--name", "quick", *more, "-w", workspace)
    assert told.status == 0 and "quick shares run-1 up to position 9" in told.out


def test_a_fork_that_is_not_named_gets_the_next_free_name(nader: Nader, workspace: Path) -> None:
    out = nader("fork", "run-1", "--at", "head", "-w", workspace).out
    assert (
        "run-1-fork-1 shares run-1 up to position" in out
        and f"nader resume run-1-fork-1 -w {workspace}" in out
    )


def test_verify_names_a_byte_that_was_changed_and_a_tail_that_was_cut_off(
    nader: Nader, workspace: Path
) -> None:
    head = nader("verify", "run-1", "--json", "-w", workspace).json["head"]["hash"]
    assert nader("verify", "run-1", "--head", head[:16], "-w", workspace).status == 0
    cut = nader("verify", "run-1", "--head", "0" * 16, "-w", workspace)
    assert cut.status == 1 and "the log was cut off or rewritten" in cut.out and "not verified" in cut.out
    log = sqlite3.connect(workspace / "nader.db")
    log.execute("DROP TRIGGER events_are_never_changed")
    log.execute("UPDATE events SET payload = replace(payload, 'base', 'bass') WHERE type = 'ProposalMade'")
    log.commit()
    log.close()
    told = nader("verify", "run-1", "--json", "-w", workspace)
    assert told.status == 1 and told.json["ok"] is False
    assert told.json["chain"]["broken"] == "changed"
    first = next(e for e in nader("log", "run-1", "-t", "ProposalMade", "--json", "-w", workspace).lines)
    assert told.json["chain"]["position"] == first["position"]
    assert "it was changed" in nader("verify", "run-1", "-w", workspace).out


def test_a_head_that_was_kept_before_the_run_went_on_still_proves_it(nader: Nader, workspace: Path) -> None:
    lines = nader("log", "run-1", "--epochs", "--json", "-w", workspace).lines
    then, end = lines[9], lines[-1]["position"]
    told = nader("verify", "run-1", "--head", then["hash"], "-w", workspace)
    assert told.status == 0 and f"stands at position 10; {end - 10} events came after it" in told.out
    told = nader("verify", "run-1", "--head", then["hash"], "--json", "-w", workspace)
    assert told.json["ok"] and told.json["head"]["expected_position"] == 10
    elsewhere = nader("verify", "other", "--head", lines[-1]["hash"], "-w", workspace)
    assert elsewhere.status == 1 and "or it is another's" in elsewhere.out


@pytest.mark.parametrize("words", [["fork", "run-1", "--at", "9"], ["reflect", "run-1"], ["run"]])
def test_a_model_that_is_named_is_asked_or_the_command_is_refused(
    nader: Nader, workspace: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    before = len(nader("runs", "--json", "-w", workspace).json["runs"])
    told = nader(*words, "--model", "some-model", "-w", workspace)
    assert told.status == 2 and "llm.backend = 'openai' needs a key" in told.err
    assert len(nader("runs", "--json", "-w", workspace).json["runs"]) == before
    if words[0] == "fork":
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        assert nader(*words, "--model", "some-model", "--name", "asks", "-w", workspace).status == 0
        runs = nader("runs", "--json", "-w", workspace).json["runs"]
        assert next(run["designer"] for run in runs if run["name"] == "asks") == "some-model"


def test_settings_that_name_a_model_nobody_can_ask_start_nothing(
    nader: Nader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    file = tmp_path / "campaign.toml"
    file.write_text('[llm]\nmodel = "gpt-4o"\n')
    told = nader("run", file, "-w", tmp_path / "w")
    assert told.status == 2 and "llm.model names a model, and there is neither a key" in told.err
    assert not (tmp_path / "w" / "nader.db").exists()


def test_rebuild_says_that_states_agree(nader: Nader, finished: Path) -> None:
    told = nader("rebuild", "run-1", "--json", "--samples", "4", "-w", finished).json
    assert told["ok"] and len(told["positions"]) == 4 and told["mismatches"] == []


def test_vacuum_drops_only_what_no_event_names(nader: Nader, workspace: Path) -> None:
    from store import Log, Reader

    async def orphan() -> None:
        async with Log.open(workspace / "nader.db") as log:
            await log.put_blob(os.urandom(10_000))

    asyncio.run(orphan())
    with Reader(workspace / "nader.db") as reader:
        jobs = [e.data()["job"] for e in reader.read("run-1", types=("TrainingRequested",))]
    for name in (jobs[0], "0" * 64, "of-a-person"):
        (workspace / "trainings" / name).mkdir(parents=True, exist_ok=True)
        (workspace / "trainings" / name / "result.json").write_text("{}")
    before = nader("log", "--full", "--json", "-w", workspace).out
    told = nader("vacuum", "--json", "-w", workspace).json
    assert told["blobs"] == 1 and told["kept"] > 0
    assert told["trainings"] == 1 and told["training_bytes"] == 2 and told["trainings_kept"] == 1
    left = {path.name for path in (workspace / "trainings").iterdir()}
    assert {jobs[0], "of-a-person"} <= left and "0" * 64 not in left
    assert nader("log", "--full", "--json", "-w", workspace).out == before


def test_verify_says_what_it_found_of_the_libraries_of_a_run(nader: Nader, tmp_path: Path) -> None:
    (ideas := tmp_path / "ideas.json").write_text(
        json.dumps([{"id": 1, "paper_id": 1, "inspiration": "Replace a convolution by a depthwise one."}])
    )
    assert nader("read", ideas, "--library", "mine", "-w", tmp_path / "w").status == 0
    run_campaign(tmp_path / "w", (*SMALL, "search.library=['mine']"))
    (library,) = nader("verify", "--json", "-w", tmp_path / "w").json["libraries"]
    assert library["ok"] and library["recorded"] == library["hash"]
    said = f"mine as of its position {library['at']}:"
    assert f"{said} is what the run took in" in nader("verify", "-w", tmp_path / "w").out
    forgery = Forgery(tmp_path / "w" / "nader.db", "library:mine")
    (position,) = [row["position"] for row in forgery.rows if row["type"] == "InspirationRecorded"]
    (tmp_path / "forged").mkdir()
    forgery.write(Edit("change", position, "$.ref", value="elsewhere"), tmp_path / "forged" / "nader.db")
    told = nader("verify", "-w", tmp_path / "forged")
    assert told.status == 1 and f"{said} is not what the run took in" in told.out
    assert "reader's LibraryAttached differs at $.library" in " ".join(told.out.split())


def test_a_log_travels_by_a_file(nader: Nader, finished: Path, tmp_path: Path) -> None:
    out = nader("export-log", "run-1", "-o", tmp_path / "run.zst", "--json", "-w", finished).json
    head = out["branches"][0]["head"]["hash"]
    assert nader("import-log", tmp_path / "run.zst", "--check", "-w", tmp_path / "new").status == 0
    assert not (tmp_path / "new").exists()
    other = nader("import-log", tmp_path / "run.zst", "--head", "0" * 12, "-w", tmp_path / "new")
    assert other.status == 2 and "no run in" in other.err
    done = nader(
        "import-log", tmp_path / "run.zst", "--head", head[:12], "--json", "-w", tmp_path / "new"
    ).json
    assert [one["name"] for one in done["imported"]] == ["run-1"]
    assert nader("verify", "--head", head, "-w", tmp_path / "new").status == 0
    there = nader("tree", "run-1", "--json", "-w", finished).json
    assert nader("tree", "--json", "-w", tmp_path / "new").json == there


def test_all_runs_of_a_workspace_can_be_exported_at_once(
    nader: Nader, finished: Path, tmp_path: Path
) -> None:
    out = nader("export-log", "--all", "-o", tmp_path / "all.zst", "-w", finished).out
    assert "run-1" in out and "other" in out
    again = nader("export-log", "--all", "-o", tmp_path / "all.zst", "-w", finished)
    assert again.status == 2 and "is there already" in again.err


def test_retraining_records_figures_apart_from_the_search(
    nader: Nader, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nader.retraining.training_backend", lambda settings: SimulatedBackend())
    before = nader("tree", "run-1", "--json", "-w", workspace).json
    words = ["retrain", "best", "-r", "run-1", "--seeds", "1,2,3"]
    told = nader(*words, "--json", "-w", workspace).json
    assert told["seeds"] == [1, 2, 3] and len(told["test"]) == 3 and told["dataset"] == "digits"
    after = nader("tree", "run-1", "--json", "-w", workspace).json
    assert after["candidates"] == before["candidates"]
    shown = nader("show", "best", "-r", "run-1", "-w", workspace).out
    assert "Retrained" in shown and "seeds 1, 2, 3: test" in shown and "±" in shown
    assert "mean" in nader(*words, "-w", workspace).out


def test_reflecting_again_goes_into_a_branch_of_its_own(nader: Nader, workspace: Path) -> None:
    before = nader("log", "run-1", "--epochs", "--json", "-w", workspace).out
    told = nader("reflect", "run-1", "--json", "-w", workspace).json
    assert told["branch"] == "run-1-reflect-1" and told["ending"] == "finished" and told["candidates"] > 0
    assert sum(told["by_kind"].values()) == told["experiences"]
    assert nader("log", "run-1", "--epochs", "--json", "-w", workspace).out == before


def test_a_reflection_is_listed_as_such_and_is_not_taken_for_the_newest_run(
    nader: Nader, workspace: Path
) -> None:
    newest = nader("tree", "--json", "-w", workspace).json["run"]
    nader("reflect", "-w", workspace)
    nader("reflect", "run-1", "--set", "seed=3", "-w", workspace)
    kinds = {r["name"]: r["kind"] for r in nader("runs", "--json", "-w", workspace).json["runs"]}
    assert kinds == {
        "run-1": "run", "other": "fork", "other-reflect-1": "reflection", "run-1-reflect-1": "reflection",
    }  # fmt: skip
    assert nader("tree", "--json", "-w", workspace).json["run"] == newest == "other"
    assert nader("reflect", "--json", "-w", workspace).json["branch"] == "other-reflect-2"
    listed = nader("runs", "-w", workspace).out
    assert "reflection on run-1" in listed and "reflected" in listed


def test_a_paused_reflection_says_how_to_go_on_and_resume_does(nader: Nader, workspace: Path) -> None:
    with serve(Scenario()) as server:
        choices = ("llm.backend=openai", f"llm.base_url={server.url}", "llm.model=scripted")
        model = [word for choice in choices for word in ("--set", choice)]
        paused = nader("reflect", "run-1", *model, "--set", "budget.tokens=9000", "-w", workspace)
        assert paused.status == 1 and "nader resume run-1-reflect-1" in paused.out
        assert "bring them along" not in paused.out
        assert " to reflect on" in nader("runs", "-w", workspace).out
        done = nader("resume", "run-1-reflect-1", "--set", "budget.tokens=0", "-w", workspace)
    assert done.status == 0, done.err
    assert "finished: reflected" in done.out and "bring them along" in done.out
    assert re.search(r"told by +[1-9]\d* by scripted, \d+ plain facts", done.out)


def test_a_list_of_inspirations_becomes_a_library(nader: Nader, tmp_path: Path) -> None:
    ideas = [
        {
            "id": 1,
            "paper_id": 7,
            "inspiration": "Replace the 3x3 convolution by a depthwise separable convolution.",
        },
        {
            "id": 2,
            "paper_id": 7,
            "inspiration": "Add a squeeze-and-excitation module after the last convolution.",
        },
    ]
    (tmp_path / "ideas.json").write_text(json.dumps(ideas))
    words = ["read", tmp_path / "ideas.json", "--library", "mine", "-w", tmp_path / "w"]
    dry = nader(*words, "--dry-run", "--json").json
    assert dry["plan"]["inspirations"] == 2 and dry["report"] is None
    assert not (tmp_path / "w").exists()
    told = nader(*words, "--json").json
    assert told["report"]["entered"] == 2 and told["report"]["library"] == "mine"
    assert "library:mine" in nader("runs", "-w", tmp_path / "w").out
    told = nader("resume", "library:mine", "-w", tmp_path / "w")
    assert told.status == 2 and "library:mine is a library" in told.err


def test_a_source_that_is_none_is_one_sentence_with_the_forms_there_are(nader: Nader, tmp_path: Path) -> None:
    said = nader("read", "nowhere:x", "-w", tmp_path / "w")
    assert said.status == 2 and "arxiv:" in said.err and len(said.err.splitlines()) == 1


BLOCK = "<block>\n##b##\n0:input\n1:output\n0->1\n</block>"


def test_a_question_asked_again_is_told_as_such(nader: Nader, tmp_path: Path) -> None:
    from nader.llm.inbox import Inbox
    from prompts import AnswerError, repair_messages

    first = (Message(role="user", content="Please design"),)
    again = repair_messages("here it is", AnswerError("The answer holds no block. Put it into <block>."))

    async def ask() -> None:
        for messages in (first, (*first, *again)):
            question = ChatRequest(prompt="modify_cell", messages=messages, model="person")
            asked = asyncio.ensure_future(Inbox(tmp_path / "inbox", poll_s=0.01).chat(question))
            await asyncio.sleep(0.1)
            asked.cancel()

    asyncio.run(ask())
    told = nader("inbox", "--json", "-w", tmp_path).json
    assert [bool(item["again"]) for item in told] == [False, True]
    out = nader("inbox", "-w", tmp_path).out
    assert "modify_cell, again" in out
    assert f"{told[1]['id']} is asked again: The answer holds no block. Put it into <block>." in out
    shown = nader("inbox", told[1]["id"], "-w", tmp_path).out
    assert shown.splitlines()[1].startswith("Asked again: The answer holds no block.")
    assert "Asked again" not in nader("inbox", told[0]["id"], "-w", tmp_path).out


def test_questions_for_a_person_are_listed_read_and_answered(nader: Nader, tmp_path: Path) -> None:
    from nader.llm.inbox import Inbox

    question = ChatRequest(
        prompt="modify_cell",
        messages=(Message(role="user", content="Please \x1b[31mdesign"),),
        model="person",
    )
    box = Inbox(tmp_path / "inbox", poll_s=0.01)

    async def ask() -> str:
        asked = asyncio.ensure_future(box.chat(question))
        while not list((tmp_path / "inbox").glob("*.prompt.md")):
            await asyncio.sleep(0.01)
        listed = nader("inbox", "--json", "-w", tmp_path).json
        assert set(listed[0]) == {"id", "prompt", "asked", "again", "file", "text"}
        shown = nader("inbox", "next", "-w", tmp_path).out
        assert "Please design" in shown and "\x1b" not in shown
        (tmp_path / "answer.txt").write_text("here it is")
        refused = nader("answer", "next", tmp_path / "answer.txt", "-w", tmp_path)
        assert refused.status == 2 and "this text cannot be used" in refused.err
        assert "The answer holds no block" in refused.err and len(refused.err.splitlines()) == 1
        assert nader("inbox", "--json", "-w", tmp_path).json == listed, "the question still waits"
        (tmp_path / "answer.txt").write_text(BLOCK)
        assert nader("answer", listed[0]["id"][:14], tmp_path / "answer.txt", "-w", tmp_path).status == 0
        return (await asyncio.wait_for(asked, 60)).text

    assert asyncio.run(ask()) == BLOCK
    assert "no question waits" in nader("inbox", "-w", tmp_path).out


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b/../c",
        "run-1/../../x",
        "x" * 65,
        "\x1b[31mred",
        "library:x",
        ".hidden",
        "-w",
        "../up",
        "größe",
        "a\n",
    ],
)
def test_a_name_that_no_run_may_have_is_refused_and_nothing_is_written(
    nader: Nader, workspace: Path, name: str
) -> None:
    before = nader("runs", "--json", "-w", workspace).json
    for told in (
        nader("fork", "run-1", "--at", "5", f"--name={name}", "-w", workspace),
        nader("run", f"--name={name}", "-w", workspace),
        nader("read", "no-such-file.json", f"--library={name}", "-w", workspace),
    ):
        assert told.status == 2 and "cannot be named" in told.err and "1 to 64 letters" in told.err
        assert "\x1b" not in told.err
    assert nader("runs", "--json", "-w", workspace).json == before


def test_a_long_name_may_be_given_and_its_forks_find_names(nader: Nader, workspace: Path) -> None:
    name = "x" * 64
    assert nader("fork", "run-1", "--at", "5", "--name", name, "-w", workspace).status == 0
    told = nader("fork", name, "--at", "5", "--json", "-w", workspace).json
    assert told["name"] == f"{'x' * 56}-1"


@pytest.mark.parametrize("head", ["", "a", "0" * 11, "0" * 65, "run-1", "%"])
def test_a_head_that_proves_nothing_is_refused(
    nader: Nader, workspace: Path, tmp_path: Path, head: str
) -> None:
    assert nader("export-log", "run-1", "-o", tmp_path / "run.zst", "-w", workspace).status == 0
    for words in (["verify", "run-1"], ["import-log", tmp_path / "run.zst"]):
        told = nader(*words, "--head", head, "-w", workspace)
        assert told.status == 2 and "give at least the first 12 of its 64 hexadecimal digits" in told.err
        assert "verified" not in told.out
