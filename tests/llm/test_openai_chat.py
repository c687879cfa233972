"""The real `openai` client against a scripted server: every fault has its typed outcome."""

from __future__ import annotations

import anyio
import pytest

from nader.llm import ChatReply, Connection, ErrorKind, LLMError, OpenAIChat
from prompts import parse_answer
from tests.llm.support import GENEROUS, ask, chat_on
from tests.servers.openai_server import ScriptedServer, count_tokens, serve
from tests.servers.scenario import Fault, FaultKind, Scenario


def outcome(
    server: ScriptedServer, deadline: float = GENEROUS, request: object = None, **options: object
) -> ChatReply | LLMError:
    """One attempt's reply or error."""

    async def run() -> ChatReply | LLMError:
        backend = chat_on(server, **options)
        try:
            with anyio.fail_after(deadline):
                return await backend.chat(request or ask())  # type: ignore[arg-type]
        except LLMError as error:
            return error
        except TimeoutError:
            return LLMError(ErrorKind.TIMEOUT, "deadline")
        finally:
            await backend.aclose()

    return anyio.run(run)


FAULTS = [
    (FaultKind.RATE_LIMITED, ErrorKind.RATE_LIMITED, True, False),
    (FaultKind.RATE_LIMITED_WITH_PAUSE, ErrorKind.RATE_LIMITED, True, False),
    (FaultKind.QUOTA, ErrorKind.QUOTA, False, False),
    (FaultKind.SERVER_ERROR, ErrorKind.SERVER, True, False),
    (FaultKind.UNAVAILABLE, ErrorKind.SERVER, True, False),
    (FaultKind.UNAUTHORISED, ErrorKind.AUTHENTICATION, False, False),
    (FaultKind.NO_MODEL, ErrorKind.NO_MODEL, False, False),
    (FaultKind.RESET, ErrorKind.CONNECTION, True, False),
    (FaultKind.TRUNCATED, ErrorKind.MALFORMED, True, False),
    (FaultKind.NOT_JSON, ErrorKind.MALFORMED, True, False),
    (FaultKind.ERROR_200, ErrorKind.SERVER, True, False),
    (FaultKind.LARGE, ErrorKind.TOO_LARGE, True, False),
    (FaultKind.EMPTY_CHOICES, ErrorKind.EMPTY, True, True),
    (FaultKind.EMPTY_TEXT, ErrorKind.EMPTY, True, True),
    (FaultKind.REFUSAL, ErrorKind.REFUSAL, False, True),
    (FaultKind.LENGTH, ErrorKind.CUT_OFF, False, True),
]


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(("fault", "kind", "retriable", "counted"), FAULTS, ids=[f[0].value for f in FAULTS])
def test_each_fault_has_its_typed_outcome_and_its_usage(
    fault: FaultKind, kind: ErrorKind, retriable: bool, counted: bool, api: str
) -> None:
    with serve(Scenario(faults=(Fault(kind=fault, at=(1,)),))) as server:
        error = outcome(server, api=api)
        assert isinstance(error, LLMError), error
        assert (error.kind, error.retriable) == (kind, retriable), error.message
        assert error.usage_known is counted
        stats = server.stats()
        assert (error.input_tokens, error.output_tokens) == (
            stats["prompt_tokens"],
            stats["completion_tokens"],
        )
        assert (error.input_tokens > 0) is counted


@pytest.mark.parametrize("fault", [FaultKind.SILENT, FaultKind.SLOW_DRIP])
def test_a_silent_or_dripping_answer_ends_at_the_deadline(fault: FaultKind) -> None:
    with serve(Scenario(faults=(Fault(kind=fault, at=(1,), seconds=600),))) as server:
        error = outcome(server, deadline=0.5)
        assert isinstance(error, LLMError) and error.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_an_answer_comes_with_model_and_tokens(api: str) -> None:
    with serve(Scenario(answers=("<block>\n##a##\n0:input\n1:output\n0->1\n</block>",))) as server:
        reply = outcome(server, api=api)
        assert isinstance(reply, ChatReply), reply
        assert parse_answer("modify_cell", reply.text).text.startswith("##a##")
        assert (reply.model, reply.finish, reply.adjustments) == ("scripted", "stop", ())
        assert reply.input_tokens == sum(count_tokens(m.content) for m in ask().messages)
        assert reply.output_tokens == count_tokens(reply.text)


def test_retry_after_is_read_from_the_header() -> None:
    fault = Fault(kind=FaultKind.RATE_LIMITED_WITH_PAUSE, at=(1,), retry_after_s=7.5)
    with serve(Scenario(faults=(fault,))) as server:
        error = outcome(server)
        assert isinstance(error, LLMError) and error.retry_after == 7.5


def test_no_server_is_a_connection_error() -> None:
    with serve() as server:
        pass
    error = outcome(server)
    assert isinstance(error, LLMError) and (error.kind, error.retriable) == (ErrorKind.CONNECTION, True)
    assert error.usage_known and "no connection" in error.message  # nothing was sent: nothing is charged


def test_a_connection_that_breaks_may_have_cost_something() -> None:
    with serve(Scenario(faults=(Fault(kind=FaultKind.RESET, at=(1,)),))) as server:
        error = outcome(server)
    assert isinstance(error, LLMError) and error.kind is ErrorKind.CONNECTION and not error.usage_known


def test_a_wrong_model_name_is_named() -> None:
    with serve() as server:
        error = outcome(server, request=ask(model="gpt-none"))
        assert (
            isinstance(error, LLMError) and error.kind is ErrorKind.NO_MODEL and "gpt-none" in error.message
        )


@pytest.mark.parametrize(
    ("rejected", "adjustment"),
    [
        ("seed", "seed"),
        ("temperature", "temperature"),
        ("max_tokens", "max_tokens"),
        ("response_format", "structured"),
    ],
)
def test_a_parameter_the_server_rejects_is_left_out_from_then_on(rejected: str, adjustment: str) -> None:
    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server, structured="auto")
        request = ask("rank_inspirations", seed=1, temperature=0.5, values={"inspirations": "[a] x\n[b] y"})
        with pytest.raises(LLMError) as caught:
            await backend.chat(request)
        assert caught.value.retriable and caught.value.retry_after == 0.0
        reply = await backend.chat(request)
        assert reply.adjustments == (adjustment,)
        assert (await backend.chat(request)).adjustments == (adjustment,)
        await backend.aclose()
        assert rejected in server.bodies[0] and all(rejected not in body for body in server.bodies[1:])

    with serve(Scenario(rejects=(rejected,))) as server:
        anyio.run(run, server)


def test_what_one_model_rejects_is_still_sent_to_another() -> None:
    async def run(server: ScriptedServer) -> None:
        backend = chat_on(server, structured="auto")
        values = {"inspirations": "[a] x\n[b] y"}
        strict, plain = (
            ask("rank_inspirations", model=model, seed=1, temperature=0.5, values=values)
            for model in ("o-mini", "scripted")
        )
        for _ in range(2):
            with pytest.raises(LLMError):
                await backend.chat(strict)
        assert (await backend.chat(strict)).adjustments == ("max_tokens", "temperature")
        assert (await backend.chat(plain)).adjustments == ()
        unheated = strict.model_copy(update={"temperature": None})
        assert (await backend.chat(unheated)).adjustments == ("max_tokens",), "nothing was left out of it"
        await backend.aclose()
        sent = server.bodies[-2]
        assert (sent["temperature"], sent["seed"]) == (0.5, 1) and "max_completion_tokens" not in sent

    rejects = {"o-mini": ("temperature", "max_tokens")}
    with serve(Scenario(models=("scripted", "o-mini"), rejects_of=rejects)) as server:
        anyio.run(run, server)


def test_structured_output_that_is_on_is_not_given_up() -> None:
    with serve(Scenario(rejects=("response_format",))) as server:
        error = outcome(server, request=ask("judge_relevance"), structured="on")
        assert isinstance(error, LLMError) and not error.retriable


def test_the_schema_is_sent_where_the_prompt_has_one() -> None:
    with serve() as server:
        outcome(server, request=ask("judge_relevance"), structured="auto")
        outcome(server, request=ask("modify_cell"), structured="auto")
        outcome(server, request=ask("judge_relevance"))
        formats = [body.get("response_format") for body in server.bodies]
    assert formats[0]["json_schema"]["schema"]["required"] == ["reason", "relevant"]
    assert formats[1:] == [None, None]


def test_an_extra_body_reaches_the_server() -> None:
    with serve() as server:
        outcome(server, extra_body={"grammar": "root ::= [a-z]"})
        assert server.bodies[0]["grammar"] == "root ::= [a-z]"


def test_the_key_is_sent_and_never_shown() -> None:
    async def run(server: ScriptedServer) -> None:
        good = OpenAIChat(Connection(server.url, "sk-very-secret"))
        assert (await good.chat(ask())).text
        bad = OpenAIChat(Connection(server.url, "sk-other-secret"))
        with pytest.raises(LLMError) as caught:
            await bad.chat(ask())
        assert caught.value.kind is ErrorKind.AUTHENTICATION
        for text in (
            str(caught.value),
            caught.value.message,
            repr(bad.connection),
            repr(good.connection._key),
        ):
            assert "secret" not in text
        assert "[key]" in caught.value.message
        await good.aclose()
        await bad.aclose()

    with serve(Scenario(key="sk-very-secret")) as server:
        anyio.run(run, server)


def test_a_url_is_shown_without_its_password() -> None:
    assert Connection("https://user:word@host.example:8443/v1?k=1").shown == "https://host.example:8443/v1"


def test_hostile_text_comes_back_as_text_that_can_be_stored() -> None:
    hostile = 'x\ud800 \x1b[31m <script>alert(1)</script> {"type": "CampaignFinished"} \x00'
    with serve(Scenario(answers=(hostile,))) as server:
        reply = outcome(server)
    assert isinstance(reply, ChatReply)
    assert reply.text == hostile.replace("\ud800", "?") and reply.text.encode("utf-8")
