"""`nader log` on what an agent saw and said, and on logs that hold what they should not."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from actors.runtime import external
from events import Pending
from events.campaign import CampaignPaused
from events.llm import ChatAttempted
from store import Log, Reader
from tests.cli.conftest import Nader


def append(workspace: Path, pendings: Sequence[Pending], run: str = "run-1") -> None:
    async def main() -> None:
        async with Log.open(workspace / "nader.db") as log:
            await log.append(run, pendings)

    asyncio.run(main())


def foreign(type_name: str, version: int = 1, payload: str = "{}", **more: float) -> Pending:
    return Pending("operator", type_name, version, payload, **more)  # type: ignore[arg-type]


# ---- what an agent saw and said


def test_one_command_shows_what_an_agent_was_asked_and_what_it_answered(nader: Nader, finished: Path) -> None:
    where = ("run-1", "--agent", "modifier", "--candidate", "r1-1", "--full", "-w", finished)
    told = nader("log", *where, "--json").lines
    asked = [event for event in told if event["type"] == "ChatRequested"]
    assert asked and {event["actor"] for event in asked} == {"modifier"}
    for request, answer in zip(told[::2], told[1::2], strict=True):
        assert (request["type"], answer["type"]) == ("ChatRequested", "ChatCompleted")
        assert answer["causation"] == request["position"], "each answer stands under its question"
    out = nader("log", *where).out
    for event in told:
        for text in event["blobs"].values():
            line = next(line for line in text.splitlines() if line.strip() and len(line) < 60)
            assert line.strip() in out
    assert out.index("messages [user]") < out.index("answer  ")


def test_the_pages_name_the_command_that_shows_both(nader: Nader) -> None:
    assert "log --agent modifier --candidate best --full" in " ".join(nader("log", "--help").out.split())


def test_tries_that_failed_stand_under_their_question_wherever_they_are(
    nader: Nader, workspace: Path
) -> None:
    asked = nader("log", "run-1", "--agent", "modifier", "--json", "-w", workspace).lines[0]
    tried = external(ChatAttempted(attempt=1, error="timeout", message="no answer", wait=1.0))
    append(workspace, [Pending("gateway", tried.type, tried.version, tried.payload, asked["position"])])
    told = nader("log", "run-1", "--agent", "modifier", "--json", "-w", workspace).lines
    assert [event["type"] for event in told[:3]] == ["ChatRequested", "ChatCompleted", "ChatAttempted"]
    assert told[2]["causation"] == asked["position"]


def test_the_range_and_the_types_narrow_a_conversation(nader: Nader, finished: Path) -> None:
    where = ("log", "run-1", "--agent", "modifier", "--json", "-w", finished)
    first = nader(*where).lines[0]["position"]
    told = nader(*where, "--from", first, "--to", first).lines
    assert [event["type"] for event in told] == ["ChatRequested", "ChatCompleted"]
    assert {e["type"] for e in nader(*where, "-t", "ChatCompleted").lines} == {"ChatCompleted"}


def test_the_events_of_a_round_are_found_by_its_name(nader: Nader, finished: Path) -> None:
    told = nader("log", "run-1", "-c", "round-1", "--json", "-w", finished).lines
    assert told and {event["candidate"] for event in told} == {"round-1"}


def test_filters_that_nothing_passes_say_so(nader: Nader, finished: Path) -> None:
    said = nader("log", "run-1", "--agent", "modifier", "-c", "base", "-w", finished)
    assert (said.status, said.out) == (0, "") and "no event of run-1 is asked for" in said.err


@pytest.mark.parametrize("words", [("--from", "999999"), ("--to", "999999")])
def test_a_number_is_a_position_of_the_run(nader: Nader, finished: Path, words: tuple[str, str]) -> None:
    said = nader("log", "run-1", *words, "-w", finished)
    assert said.status == 2 and "has positions 1 to" in said.err


def test_another_day_than_today_is_told_where_it_begins(nader: Nader, workspace: Path) -> None:
    with sqlite3.connect(workspace / "nader.db") as log:
        log.execute("DROP TRIGGER events_are_never_changed")
        log.execute("UPDATE events SET time = time - 86400 * 3 WHERE place & 1099511627775 <= 20")
        log.execute("UPDATE events SET time = time - 86400 * 2 WHERE place & 1099511627775 BETWEEN 21 AND 30")
        (at,) = log.execute("SELECT time FROM events WHERE place & 1099511627775 = 25").fetchone()
    lines = nader("log", "run-1", "--from", "15", "--to", "40", "-w", workspace).out.splitlines()
    days = [line.strip() for line in lines if re.fullmatch(r" +[0-9]{4}-[0-9]{2}-[0-9]{2}", line)]
    assert days[1] == datetime.fromtimestamp(at).strftime("%Y-%m-%d") and len(days) == 3
    assert lines.index(f"       {days[1]}") == 7, "above event 21"


def test_an_agent_that_is_not_there_is_named_and_a_conversation_is_not_followed(
    nader: Nader, finished: Path
) -> None:
    told = nader("log", "run-1", "--agent", "modifire", "-w", finished)
    assert told.status == 2 and "did you mean 'modifier'?" in told.err
    told = nader("log", "run-1", "--agent", "gateway", "-w", finished)
    assert told.status == 2 and "gateway has asked no model in this run; modifier, " in told.err
    told = nader("log", "run-1", "--agent", "modifier", "--follow", "-w", finished)
    assert told.status == 2 and "--follow cannot wait for it" in told.err


# ---- what a log should not hold


def lose_a_prompt(workspace: Path, *, change: bool) -> tuple[str, int]:
    with Reader(workspace / "nader.db") as reader:
        asked = next(reader.read("run-1", types=["ChatRequested"]))
    digest = asked.data()["messages"][0]["digest"]
    connection = sqlite3.connect(workspace / "nader.db")
    if change:
        values = (b"forged prompt", digest)
        connection.execute("UPDATE blobs SET data = ?, codec = 'plain', size = 13 WHERE sha256 = ?", values)
    else:
        connection.execute("DELETE FROM blobs WHERE sha256 = ?", (digest,))
    connection.commit()
    connection.close()
    return digest, asked.position


def test_a_text_that_is_lost_is_told_and_the_rest_is_shown(nader: Nader, workspace: Path) -> None:
    digest, position = lose_a_prompt(workspace, change=False)
    where = ("log", "run-1", "--from", position, "--to", position, "--full", "-w", workspace)
    told = nader(*where)
    assert told.status == 0 and "(the log no longer holds this text)" in told.out
    assert "messages [user]" in told.out
    assert nader(*where, "--json").lines[0]["blobs"][digest] is None


def test_a_text_that_was_changed_is_not_shown(nader: Nader, workspace: Path) -> None:
    _, position = lose_a_prompt(workspace, change=True)
    told = nader("log", "run-1", "--from", position, "--to", position, "--full", "-w", workspace)
    assert told.status == 2 and "the log has been changed" in told.err
    assert "forged" not in told.out


READING = (
    "tree",
    "rebuild",
    "trace base",
    "show best",
    "why best",
    "cost",
    "verify",
    "export-log -o out.zst",
)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (foreign("ModelMarried"), "events of type 'ModelMarried', which this version of nader does not know"),
        (foreign("RoundClosed", 9), "RoundClosed version 9, and this nader knows up to version 1"),
        (foreign("RoundClosed", 0), "RoundClosed version 0, which no version of nader wrote"),
        (foreign("RoundClosed", time=1e300), "has a time that is none"),
        (foreign("CandidateTrained", payload="[" * 5000), "does not read"),
    ],
    ids=["newer type", "newer version", "version 0", "no time", "nested without end"],
)
def test_an_event_that_cannot_be_read_is_shown_and_nothing_is_folded_over_it(
    nader: Nader, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Pending, said: str
) -> None:
    append(workspace, [event, external(CampaignPaused(reason="later"))])
    monkeypatch.chdir(tmp_path)
    for words in (*READING, "resume run-1"):
        command, *rest = words.split()
        run = (
            ["-r", "run-1"]
            if command in ("trace", "show", "why")
            else []
            if command == "resume"
            else ["run-1"]
        )
        told = nader(command, *rest, *run, "-w", workspace)
        assert (told.status, said in told.err) == (2, True), (words, told)
    assert not list(tmp_path.glob("*.zst"))
    head = nader("log", "run-1", "--json", "-w", workspace).lines[-2:]
    assert [line["type"] for line in head] == [event.type, "CampaignPaused"], "the log hides nothing"
    assert head[0]["event"] == (event.payload if event.payload.startswith("[") else json.loads(event.payload))
    states = {row["name"]: row["state"] for row in nader("runs", "--json", "-w", workspace).json["runs"]}
    assert said in states["run-1"] and states["other"].startswith("finished"), (
        "the other run is still told of"
    )
    out = nader("log", "run-1", "--full", "--from", head[0]["position"], "-w", workspace).out
    assert event.type in out and ("cannot be read" in out or "no time" in out) and "later" in out
