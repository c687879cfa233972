"""Bodies that servers send or could send, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nader.llm import ChatReply, ErrorKind, LLMError
from nader.llm.wire import chat_reply, decode, response_reply, retry_after


def body(**changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "hello"}
    choices = [{"message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    return {"model": "m", "choices": choices, "usage": usage, **changes}


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4)),
        (None, (0, 0)),
        ({}, (0, 0)),
        ({"prompt_tokens": -3, "completion_tokens": 4}, (0, 0)),
        ({"prompt_tokens": 10**30, "completion_tokens": 4}, (0, 0)),
        ({"prompt_tokens": "3", "completion_tokens": True}, (0, 0)),
    ],
)
def test_usage_is_taken_as_a_count_or_not_at_all(usage: Any, tokens: tuple[int, int]) -> None:
    reply = chat_reply(body(usage=usage))
    assert (reply.input_tokens, reply.output_tokens) == tokens
    assert reply.usage_known is (tokens != (0, 0))


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat_reply(body(choices=[{"message": {"content": parts}}])).text == "ab"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"null", b"\xff", b'{"a":' * 100_000, b"12"])
def test_what_is_no_object_is_a_malformed_answer(raw: bytes) -> None:
    with pytest.raises(LLMError) as caught:
        decode(raw)
    assert caught.value.kind is ErrorKind.MALFORMED and len(caught.value.message) < 1000


KEYS = st.sampled_from(
    ["choices", "message", "content", "usage", "prompt_tokens", "refusal", "finish_reason", "model", "error",
     "output", "type", "text", "status", "incomplete_details", "reason", "completion_tokens", "message"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_body_gives_a_reply_or_a_typed_error(value: dict[str, Any]) -> None:
    for read in (chat_reply, response_reply):
        try:
            reply = read(decode(json.dumps(value).encode()))
        except LLMError as error:
            assert error.kind in ErrorKind and error.message.isprintable()
        else:
            assert isinstance(reply, ChatReply) and reply.text.strip() and reply.text.encode("utf-8")
