"""The scripted server itself: what it counts, what it plays, and how it runs as a process."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

import prompts
from nader.llm import ErrorKind, LLMError, RetryPolicy, call
from prompts import parse_answer
from tests.conftest import REPOSITORY, shared_data
from tests.llm.support import GENEROUS, ask, chat_on
from tests.servers.openai_server import ScriptedServer, serve
from tests.servers.scenario import Fault, FaultKind, Scenario

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.json"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_the_scenario_files_are_valid(path: Path) -> None:
    assert Scenario.load(path).models == ("scripted",)


def test_every_fault_of_the_list_is_in_the_scenario_of_all_faults() -> None:
    scenario = Scenario.load(Path(__file__).parent / "scenarios" / "every-fault.json")
    missing = set(FaultKind) - {fault.kind for fault in scenario.faults}
    # These end a campaign by design, and have tests of their own.
    assert missing == {FaultKind.QUOTA, FaultKind.UNAUTHORISED, FaultKind.WRONG_COUNT}


def test_a_misspelt_scenario_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"faults": [{"kind": "410"}]}')
    with pytest.raises(ValidationError, match="kind"):
        Scenario.load(path)


def test_faults_by_share_depend_on_the_prompt_and_not_on_the_order() -> None:
    fault = Fault(kind=FaultKind.SERVER_ERROR, share=0.3, times=2)
    digests = [f"{i}" for i in range(400)]
    hit = {d for n, d in enumerate(digests) if fault.befalls(n, d, 1, "")}
    assert hit == {d for n, d in enumerate(reversed(digests)) if fault.befalls(n, d, 2, "")}
    assert not any(fault.befalls(1, d, 3, "") for d in digests) and 80 < len(hit) < 160


def test_it_plays_answers_by_task_and_then_lets_the_designer_answer() -> None:
    async def run(server: ScriptedServer) -> list[str]:
        backend = chat_on(server)
        texts = [(await backend.chat(ask())).text for _ in range(3)]
        other = (await backend.chat(ask("judge_relevance"))).text
        await backend.aclose()
        assert parse_answer("judge_relevance", other).relevant in (True, False)
        return texts

    with serve(Scenario(task_answers={"modify_cell": ("one", "two")})) as server:
        texts = anyio.run(run, server)
    assert texts[:2] == ["one", "two"] and "<block>" in texts[2]


def test_it_plays_real_drafts() -> None:
    drafts = json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
    texts = tuple(draft["blocks"]["base_block"] for draft in drafts[:5])

    async def run(server: ScriptedServer) -> list[str]:
        backend = chat_on(server)
        found = [parse_answer("modify_cell", (await backend.chat(ask())).text).text for _ in texts]
        await backend.aclose()
        return found

    with serve(Scenario(answers=texts)) as server:
        found = anyio.run(run, server)
    assert [f.splitlines()[0] for f in found] == [t.splitlines()[0] for t in texts]


def test_max_tokens_cuts_an_answer() -> None:
    async def run(server: ScriptedServer) -> LLMError:
        backend = chat_on(server)
        with pytest.raises(LLMError) as caught:
            await backend.chat(ask(max_tokens=5))
        await backend.aclose()
        return caught.value

    with serve() as server:
        error = anyio.run(run, server)
    assert error.kind is ErrorKind.CUT_OFF and error.output_tokens == 5


def test_all_prompts_go_through_the_real_client_to_the_designer_and_back() -> None:
    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server, structured="auto")
        for name in prompts.NAMES[:-1]:
            request = ask(name, values={"inspirations": "[a] Use GELU.\n[b] Use dilation."})
            reply = await call(backend, request, policy=RetryPolicy(deadline_s=GENEROUS))
            assert parse_answer(name, reply.text), name
        await backend.aclose()

    with serve() as server:
        anyio.run(run, server)
        assert server.stats()["chat"] == len(prompts.NAMES) - 1


def test_it_runs_as_a_process_that_prints_its_url() -> None:
    command = [sys.executable, "-m", "tests.servers.openai_server", "--port", "0", "--delay", "0"]
    scenario = ["--scenario", str(Path(__file__).parent / "scenarios" / "designer.json")]
    process = subprocess.Popen([*command, *scenario], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/models", timeout=GENEROUS) as answer:
            assert json.load(answer)["data"][0]["id"] == "scripted"
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats", timeout=GENEROUS) as answer:
            assert json.load(answer)["models"] == 1
    finally:
        process.terminate()
        process.wait(timeout=GENEROUS)
