"""A real local chat server behind the real client: transport, usage, limits, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator

import anyio
import pytest

from nader.graph import Role
from nader.graph.reference import language_reference
from nader.llm import (
    ChatReply,
    Connection,
    ErrorKind,
    LLMError,
    OpenAIChat,
    RetryPolicy,
    call,
    check_endpoint,
)
from prompts import AnswerError, parse_answer
from tests.llm.support import ask
from tests.servers.local_llm import LocalServer, local_server

pytestmark = [pytest.mark.local_llm, pytest.mark.timeout(1200)]
PATIENT = RetryPolicy(deadline_s=600.0, attempts=2)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        yield running


def talked(server: LocalServer, *requests: object, **options: object) -> list[ChatReply | LLMError]:
    """The outcome of each request, one after the other."""

    async def run() -> list[ChatReply | LLMError]:
        backend = OpenAIChat(Connection(server.url), **options)  # type: ignore[arg-type]
        told: list[ChatReply | LLMError] = []
        for request in requests:
            try:
                told.append(await call(backend, request, policy=PATIENT))  # type: ignore[arg-type]
            except LLMError as error:
                told.append(error)
        await backend.aclose()
        return told

    return anyio.run(run)


def test_an_answer_has_text_model_and_counted_tokens(server: LocalServer) -> None:
    (reply,) = talked(server, ask("judge_relevance", model=server.model, max_tokens=400, seed=1))
    assert isinstance(reply, ChatReply), reply
    assert reply.text and reply.model and reply.input_tokens > 100 and reply.output_tokens > 0


def test_structured_output_is_read_as_the_typed_answer(server: LocalServer) -> None:
    request = ask("judge_relevance", model=server.model, max_tokens=400, seed=1)
    (reply,) = talked(server, request, structured="on")
    assert isinstance(reply, ChatReply) and json.loads(reply.text)
    assert parse_answer("judge_relevance", reply.text).relevant in (True, False)


def test_an_answer_cut_at_the_limit_is_told_with_its_tokens(server: LocalServer) -> None:
    (error,) = talked(server, ask(model=server.model, max_tokens=5))
    assert isinstance(error, LLMError)
    assert (error.kind, error.output_tokens) == (ErrorKind.CUT_OFF, 5)


def test_a_prompt_beyond_the_context_is_told_as_such(server: LocalServer) -> None:
    (error,) = talked(server, ask(model=server.model, values={"inspiration": "skip connection " * 20_000}))
    assert isinstance(error, LLMError) and error.kind is ErrorKind.CONTEXT_LENGTH, error


def test_a_grammar_in_the_extra_body_makes_it_write_in_the_form_asked_for(server: LocalServer) -> None:
    whole = "<block>\\n##Small##\\n0:input\\n1:output\\n2:"
    grammar = f'root ::= "{whole}" op "\\n0->2\\n2->1\\n</block>"\nop ::= "BN" | "ReLU"'
    request = ask(model=server.model, max_tokens=200, values={"language": language_reference(Role.CELL)})
    (reply,) = talked(server, request, extra_body={"grammar": grammar})
    assert isinstance(reply, ChatReply)
    assert parse_answer("modify_cell", reply.text).text.startswith("##Small##")


def test_a_free_answer_is_a_block_or_asked_for_again(server: LocalServer) -> None:
    request = ask(model=server.model, max_tokens=600, values={"language": language_reference(Role.CELL)})
    (told,) = talked(server, request)
    if isinstance(told, ChatReply):
        try:
            assert parse_answer("modify_cell", told.text).text
        except AnswerError as error:
            assert "<block>" in str(error)
    else:
        assert told.kind is ErrorKind.CUT_OFF


def test_the_endpoint_check_passes(server: LocalServer) -> None:
    async def run() -> list[str]:
        connection = Connection(server.url)
        found = await check_endpoint(connection, OpenAIChat(connection), server.model, deadline_s=300.0)
        await connection.aclose()
        return [f"{check.name}: {check.detail}" for check in found if check.ok is False]

    assert anyio.run(run) == []
