"""The fields that name blobs: all of them are known, and each is found with its path."""

import ast
import inspect
from itertools import pairwise

import pytest

from events import BLOB_FIELDS, EventError, canonical_json, encode, event_types, named_blobs
from events.llm import ChatRequested, MessageRef
from tests.events.support import envelope


def documented(cls: type) -> set[str]:
    """Fields whose docstring says that they hold the digest of a blob (or of each of several)."""
    body = ast.parse(inspect.getsource(cls)).body[0].body
    return {
        field.target.id
        for field, said in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(said, ast.Expr)
        and str(said.value.value).startswith("Blob digest")
    }


def test_every_field_that_is_documented_as_a_blob_is_in_the_table():
    for name, cls in event_types().items():
        paths = BLOB_FIELDS.get(name, ())
        assert documented(cls) <= {path.split(".")[0] for path in paths}, name
        assert {path.split(".")[0] for path in paths} <= set(cls.model_fields), name


def test_every_blob_of_a_prompt_is_named_with_its_path():
    messages = (MessageRef(role="system", digest="a" * 64), MessageRef(role="user", digest="b" * 64))
    asked = ChatRequested(
        agent="modifier", prompt="modify_cell", prompt_version=1, prompt_digest="c" * 64, messages=messages,
        backend="openai", model="m", temperature=0.0, max_tokens=1,
    )  # fmt: skip
    assert list(named_blobs(envelope(*encode(asked)))) == [
        ("$.messages[0].digest", "a" * 64),
        ("$.messages[1].digest", "b" * 64),
    ]


def test_prompts_of_ones_own_are_named_one_by_one_and_an_empty_field_names_none():
    read = {"library": "l", "source": "s", "settings": {}, "designer": "d", "maximum": 1}
    for prompts, named in (({"x": "d" * 64}, [("$.prompts.x", "d" * 64)]), ({}, [])):
        payload = canonical_json({**read, "prompts": prompts})
        assert list(named_blobs(envelope("ReadingStarted", 1, payload))) == named


@pytest.mark.parametrize("payload", ["[[[[", "[" * 100_000, "7", '{"answer":' * 5000])
def test_a_payload_that_does_not_read_is_one_sentence(payload):
    hostile = envelope("ChatCompleted", 1, payload)
    for look in (lambda: list(named_blobs(hostile)), hostile.data):
        with pytest.raises(EventError, match="does not read"):
            look()
