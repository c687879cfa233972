"""Every event has a line for a person, whatever stands in its fields."""

import types
import typing
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from events import Envelope, Event, encode, event_types
from nader.cli.sentences import described_types, sentence

HOSTILE = "\x1b[31m[bold]text\r\n\u202e"


def sample(kind: Any) -> Any:
    """A value of a field's type; every text is hostile."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return sample(arguments[0])
    if origin is tuple:
        return tuple(sample(a) for a in arguments if a is not Ellipsis)
    if origin is dict:
        return {"name": sample(arguments[1])}
    if kind is Any:
        return HOSTILE
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_construct(
            **{name: sample(field.annotation) for name, field in kind.model_fields.items()}
        )
    return {str: HOSTILE, int: 3, float: 0.5, bool: True}.get(kind, 1)


def envelope(event: Event) -> Envelope:
    name, version, payload = encode(event)
    return Envelope(
        7, 7, "id", "run", "run", 0.0, "actor", name, version, None, None, None, None, "", "", payload
    )


def test_every_event_type_is_described() -> None:
    assert described_types() == set(event_types())


@pytest.mark.parametrize("name", sorted(event_types()))
def test_an_event_is_one_harmless_line(name: str) -> None:
    kind = event_types()[name]
    fields = {
        key: sample(field.annotation)
        for key, field in kind.model_fields.items()
        if field.annotation != "dict"
    }
    said = sentence(envelope(kind.model_validate(kind.model_construct(**fields).model_dump())))
    assert said and not any(ord(c) < 32 or c == "\u202e" for c in said) and len(said) <= 160


def test_an_event_that_cannot_be_read_says_why() -> None:
    unknown = Envelope(
        1, 1, "id", "run", "run", 0.0, "a", "Nonsense", 1, None, None, None, None, "", "", "{}"
    )
    assert "does not know" in sentence(unknown)
