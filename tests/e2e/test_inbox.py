"""A person as the model: a campaign asks by files in a folder, and goes on when the answers are there."""

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest

from nader.campaign import Campaign
from nader.cli import main
from nader.cli.running import run_campaign as run_in_front
from nader.llm import LLMError
from nader.llm.inbox import ANSWER, Waiting, answer, waiting
from nader.llm.rules import answer_prompt
from nader.settings import load_settings
from nader.workspace import Workspace
from prompts import Message
from tests.e2e.campaigns import check_log, events, resume_campaign, run_campaign
from tests.e2e.simulation import SimulatedBackend

SETS = ("search.candidates=1", "search.width=1", "llm.backend=inbox", "synchronous=NORMAL")


def person(question: Waiting) -> str:
    """What somebody who follows the rules would write; the file is read as a person reads it."""
    _, _, said = question.text.partition("# System\n\n")
    system, _, user = said.partition("\n\n# User\n\n")
    return answer_prompt([Message(role="system", content=system), Message(role="user", content=user)])


class Desk:
    """Answers what lies in an inbox, on a thread of its own, until it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Desk":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._leave.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._leave.wait(0.05):
            for question in waiting(self._folder):
                answer(self._folder, question.id, person(question))


def test_a_campaign_is_designed_by_a_person_and_says_so(tmp_path):
    with Desk(tmp_path / "inbox"):
        ending = run_campaign(tmp_path, SETS)
    check_log(tmp_path)
    log = events(tmp_path)
    assert ending.kind == "finished" and log[0].event.designer == "inbox"
    answered = [e.event for e in log if e.type == "ChatCompleted"]
    assert {(a.backend, a.model, a.cost) for a in answered} == {("inbox", "person", 0.0)}
    names = Counter(f.name.partition("-")[0] for f in (tmp_path / "inbox").glob(f"*{ANSWER}"))
    assert names["modify_cell"] == 1 and names["design_stem_and_downsample"] == 1
    assert sum(names.values()) == len(answered), "both files of every question stay as a record"


def test_an_answer_given_while_the_campaign_is_stopped_is_found_when_it_resumes(tmp_path):
    async def until_asked() -> str:
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SETS)) as campaign:

            def stop_at_the_first_question(envelope):
                if envelope.type == "ChatRequested":
                    campaign.pause("the person goes home", now=True)

            campaign.observe(stop_at_the_first_question)
            return (await campaign.run(SimulatedBackend())).kind

    assert asyncio.run(until_asked()) == "paused"
    with Desk(tmp_path / "inbox"):
        assert resume_campaign(tmp_path).kind == "finished"
    check_log(tmp_path)
    questions = [f.name for f in (tmp_path / "inbox").glob("rank_inspirations-*.prompt.md")]
    assert len(questions) == 1, "the open question keeps its name over the pause"


def test_the_inbox_that_a_run_names_is_found_and_the_run_says_that_a_question_waits(tmp_path, capsys):
    own = tmp_path / "elsewhere"
    sets = (*SETS, f"llm.inbox={own}")

    async def shown(stop: bool) -> None:
        workspace = Workspace(tmp_path / "w")
        begun = Campaign.resume(workspace) if stop else Campaign.start(workspace, load_settings(sets=sets))
        async with await begun as campaign:
            if not stop:
                campaign.observe(
                    lambda e: campaign.pause("later", now=True) if e.type == "ChatRequested" else None
                )
            await run_in_front(campaign, False, SimulatedBackend())

    asyncio.run(shown(stop=False))
    said = capsys.readouterr().out
    assert f"questions come to {own}" in said and "a question waits for you (rank_inspirations" in said
    asyncio.run(until_a_question_lies_in(own, lambda: shown(stop=True)))
    [question] = waiting(own)
    capsys.readouterr()
    assert main(["inbox", "-w", str(tmp_path / "w")]) == 0
    assert question.id in capsys.readouterr().out
    (tmp_path / "said.txt").write_text(person(question))
    assert main(["answer", question.id[:20], str(tmp_path / "said.txt"), "-w", str(tmp_path / "w")]) == 0
    assert (own / f"{question.id}{ANSWER}").exists() and not (tmp_path / "w" / "inbox").exists()
    assert main(["answer", question.id, str(tmp_path / "said.txt"), "-w", str(tmp_path / "w")]) == 2
    assert "is answered already" in capsys.readouterr().err


def test_a_run_says_that_a_question_waits_again_after_an_answer_of_no_use(tmp_path, capsys):
    class Careless(Desk):
        """Answers the first question to the modifier with words of no use."""

        def _work(self) -> None:
            told = False
            while not self._leave.wait(0.05):
                for question in waiting(self._folder):
                    careless = question.prompt == "modify_cell" and not told
                    answer(self._folder, question.id, "I will think." if careless else person(question))
                    told = told or careless

    async def shown() -> None:
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=SETS)) as campaign:
            await run_in_front(campaign, False, SimulatedBackend())

    with Careless(tmp_path / "inbox"):
        asyncio.run(shown())
    said = capsys.readouterr().out
    assert said.count("a question waits for you again: the last answer could not be used (modify_cell") == 1
    [again] = [f for f in (tmp_path / "inbox").glob("*.prompt.md") if "Asked again" in f.read_text()[:400]]
    assert again.name.startswith("modify_cell-")
    check_log(tmp_path)


async def until_a_question_lies_in(folder, run):
    """Run a campaign until it has asked by a file, then leave it."""
    task = asyncio.ensure_future(run())
    while not waiting(folder):
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_model_that_answers_by_itself_asks_nobody(tmp_path, capsys):
    async def shown() -> None:
        sets = ("search.candidates=1", "search.width=1", "synchronous=NORMAL")
        async with await Campaign.start(Workspace(tmp_path), load_settings(sets=sets)) as campaign:
            await run_in_front(campaign, False, SimulatedBackend())

    asyncio.run(shown())
    assert "waits for you" not in capsys.readouterr().out


def test_an_answer_to_a_question_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(LLMError, match="no question in"):
        answer(tmp_path, "modify_cell", "text")


def test_an_answer_that_is_no_text_is_refused_and_the_question_still_waits(tmp_path, capsys):
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "modify_cell-0123456789abcdef.prompt.md").write_text("What now?")
    for name, content, sentence in (
        ("binary", b"\xff\xfe\x00", "binary is not UTF-8 text"),
        ("empty", b" \n", "an answer must have text."),
    ):
        (tmp_path / name).write_bytes(content)
        assert main(["answer", "next", str(tmp_path / name), "--folder", str(folder)]) == 2
        told = capsys.readouterr().err
        assert sentence in told and len(told.strip().splitlines()) == 1
        assert [one.prompt for one in waiting(folder)] == ["modify_cell"]
    assert main(["inbox", "next", "--folder", str(tmp_path)]) == 2
    assert f"no question waits in {tmp_path}\n" in capsys.readouterr().err
