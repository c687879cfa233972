"""The endpoint check tells what works, and what to do about the rest."""

from __future__ import annotations

import anyio

from nader.llm import Check, Connection, OpenAIChat, OpenAIEmbedder, check_endpoint, unlisted_models
from tests.llm.support import GENEROUS
from tests.servers.openai_server import ScriptedServer, serve
from tests.servers.scenario import Fault, FaultKind, Scenario


def findings(server: ScriptedServer, model: str = "scripted", key: str | None = None) -> dict[str, Check]:
    async def run() -> list[Check]:
        connection = Connection(server.url, key)
        backend = OpenAIChat(connection)
        embedder = OpenAIEmbedder(connection, model)
        found = await check_endpoint(connection, backend, model, embedder, deadline_s=GENEROUS)
        await connection.aclose()
        return found

    return {check.name: check for check in anyio.run(run)}


def test_a_good_server_passes_every_check() -> None:
    with serve() as server:
        found = findings(server)
    assert [c.name for c in found.values() if c.ok is not True] == []
    assert found["context length"].detail == "32,768 tokens"
    assert found["embeddings"].detail == "scripted, dimension 64"


def test_a_wrong_model_is_told_with_the_right_ones() -> None:
    with serve(Scenario(models=("alpha", "beta"))) as server:
        found = findings(server, "gamma")
    assert found["model listed"].detail == "'gamma' is not among alpha, beta."
    assert found["answers"].ok is False and "gamma" in found["answers"].detail


def test_a_server_that_is_not_there_is_the_only_finding() -> None:
    with serve() as server:
        pass
    found = findings(server)
    assert list(found) == ["reachable"] and found["reachable"].ok is False
    assert found["reachable"].advice == "check base_url, and that the server runs."


def test_a_missing_and_a_wrong_key_are_told_apart() -> None:
    with serve(Scenario(key="right")) as server:
        assert "wants a key and none is set" in findings(server)["reachable"].advice
        wrong = findings(server, key="sk-wrong")["reachable"]
        assert "the key is not accepted" in wrong.advice and "sk-wrong" not in wrong.detail
        assert findings(server, key="right")["reachable"].ok


def test_what_the_server_does_not_accept_is_reported() -> None:
    with serve(Scenario(rejects=("max_tokens",), context_length=2048)) as server:
        found = findings(server)
    assert found["answers"].ok and "not accepted: max_tokens" in found["answers"].detail
    assert found["context length"].ok is False


def test_embeddings_that_fail_do_not_hide_the_rest() -> None:
    fault = Fault(kind=FaultKind.SERVER_ERROR, endpoint="embeddings", at=(1,))
    with serve(Scenario(faults=(fault,))) as server:
        found = findings(server)
    assert found["answers"].ok and found["embeddings"].ok is False


def test_every_model_is_asked_and_one_that_is_missing_is_named() -> None:
    async def run() -> list[Check]:
        connection = Connection(server.url)
        models = ["scripted", "missing", "scripted"]
        found = await check_endpoint(connection, OpenAIChat(connection), models, deadline_s=GENEROUS)
        await connection.aclose()
        return found

    with serve() as server:
        found = {check.name: check.ok for check in anyio.run(run)}
    assert found["answers, scripted"] is True and found["model listed, scripted"] is True
    assert found["answers, missing"] is False and found["model listed, missing"] is False
    assert len(found) == 7


def test_a_model_that_is_not_listed_is_told_without_asking_it_anything() -> None:
    """Some servers answer to any name; others list names with a tag that need not be written."""

    async def run() -> tuple[list[Check], dict[str, str]]:
        connection = Connection(server.url)
        names = ["alias", "alias", "scripted", "tagged"]
        missing = await unlisted_models(connection, names, deadline_s=GENEROUS)
        assert server.stats()["chat"] == 0, "what would be paid for would stand in no log"
        found = await check_endpoint(connection, OpenAIChat(connection), "alias", deadline_s=GENEROUS)
        await connection.aclose()
        return found, missing

    with serve(Scenario(models=("scripted", "alias"), listed=("scripted", "tagged:latest"))) as server:
        found, missing = anyio.run(run)
    [listed] = [c for c in found if c.name == "model listed"]
    assert listed.ok is None and "llm.unlisted = 'ask'" in listed.advice
    assert list(missing) == ["alias"]
    assert missing["alias"].endswith("lists no model 'alias'; it lists scripted, tagged:latest")


def test_models_of_a_server_that_is_away_or_lists_none_are_left_to_the_first_question() -> None:
    async def run() -> dict[str, str]:
        connection = Connection(server.url)
        missing = await unlisted_models(connection, ["x"], deadline_s=GENEROUS)
        await connection.aclose()
        return missing

    with serve(Scenario(listed=())) as server:
        assert anyio.run(run) == {}
    assert anyio.run(run) == {}
