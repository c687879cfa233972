"""The fields that name blobs: all of them are known, and each is found with its path."""

import ast
import inspect
import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from events import (
    BLOB_FIELDS,
    EventError,
    canonical_json,
    digests,
    encode,
    event_types,
    is_digest,
    named_blobs,
)
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


GOLDEN = (Path(__file__).parent.parent / "golden" / "events").iterdir()
NAMING = sorted(path for path in GOLDEN if path.name.split(".")[0] in BLOB_FIELDS)


def filled(value):
    """A payload in which every text is a digest, but for those of which there are only a few."""
    if isinstance(value, dict):
        few = ("kind", "outcome", "role")
        return {name: item if name in few else filled(item) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    return f"a{sha256(value.encode()).hexdigest()[1:]}" if isinstance(value, str) else value


@pytest.mark.parametrize("file", NAMING, ids=lambda path: path.stem)
def test_no_event_of_any_version_names_a_blob_that_may_be_dropped(file):
    """Also where the JSON spells its digests in another way."""
    name, version, _ = file.name.split(".")
    plain = canonical_json(filled(json.loads(file.read_text(encoding="utf-8"))))
    for payload in (plain, plain.replace('"a', '"\\u0061')):
        named = {digest for _, digest in named_blobs(envelope(name, int(version), payload))}
        assert named and named <= set(digests(payload))


def test_digests_are_found_wherever_they_stand_and_nothing_longer_is_one():
    one, two = "a" * 64, "0123456789abcdef" * 4
    assert digests(f'{{"x":"{one}","y":["r1:{two}","{one}"]}}') == [one, two]
    assert digests(f'{{"x":"{one}0","y":"{one.upper()}","z":"{one[1:]}"}}') == []
    assert digests(f"{one} \\u [[[") == [one], "a text that is no JSON is one all the same"
    assert is_digest(one) and not is_digest(f"{one}0") and not is_digest(f" {one}") and not is_digest(64)


@pytest.mark.parametrize("payload", ["[[[[", "[" * 100_000, "7", '{"answer":' * 5000])
def test_a_payload_that_does_not_read_is_one_sentence(payload):
    hostile = envelope("ChatCompleted", 1, payload)
    for look in (lambda: list(named_blobs(hostile)), hostile.data):
        with pytest.raises(EventError, match="does not read"):
            look()
