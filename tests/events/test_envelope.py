"""The envelope: ids in order of time, hashes that cover every field, JSON that has one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import (
    GENESIS,
    EventError,
    UnknownEventError,
    canonical_json,
    chain_hash,
    decode,
    new_event_id,
    readable,
)
from tests.events.support import envelope

FIELDS = {
    "prev_hash": GENESIS,
    "position": 1,
    "id": "i",
    "run": "r",
    "time": 1.5,
    "actor": "a",
    "type": "T",
    "version": 1,
    "causation": None,
    "correlation": "c",
    "effect_key": None,
    "input_digest": "d",
    "payload": "{}",
}


@pytest.mark.parametrize("field", FIELDS)
def test_the_hash_covers_every_field(field):
    value = FIELDS[field]
    other = value + 1 if isinstance(value, int | float) else f"{value or ''}x" if field != "causation" else 7
    assert chain_hash(**{**FIELDS, field: other}) != chain_hash(**FIELDS)


texts = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=5)


@given(st.lists(texts, min_size=4, max_size=4), st.lists(texts, min_size=4, max_size=4))
def test_two_different_events_never_share_a_text(left, right):
    names = ("actor", "correlation", "input_digest", "payload")
    hashes = [chain_hash(**{**FIELDS, **dict(zip(names, values, strict=True))}) for values in (left, right)]
    assert (hashes[0] == hashes[1]) == (left == right)


@pytest.mark.parametrize("field", ["causation", "correlation", "effect_key", "input_digest"])
def test_a_field_that_is_absent_is_not_one_that_says_so(field):
    hashes = {chain_hash(**{**FIELDS, field: value}) for value in (None, "None", "-", "+", "+-", "", "null")}
    assert len(hashes) == 7


def test_ids_are_unique_and_ordered_by_the_millisecond():
    ids = [new_event_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert all(len(i) == 36 and i[14] == "7" and i[19] in "89ab" for i in ids)
    stamps = [i[:13] for i in ids]
    assert stamps == sorted(stamps)


def test_canonical_json_has_one_form_and_no_nan():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_events_that_this_program_can_read_pass_in_their_order():
    known = [envelope("RoundClosed", 1, '{"round":1}', position=n) for n in (1, 2)]
    assert list(readable(known)) == known


@pytest.mark.parametrize(
    ("strange", "error", "said"),
    [
        (
            envelope("ModelMarried", 1, "{}"),
            UnknownEventError,
            "'ModelMarried', which this version .* upgrade",
        ),
        (envelope("RoundClosed", 9, "{}"), UnknownEventError, "RoundClosed version 9, .* upgrade"),
        (envelope("RoundClosed", 0, "{}"), EventError, "version 0, which no version of nader wrote"),
        (envelope("RoundClosed", -3, "{}"), EventError, "version -3, which no version of nader wrote"),
        *(
            (
                envelope("RoundClosed", 1, "{}", position=7, time=t),
                EventError,
                "position 7 has a time that is",
            )
            for t in (1e300, float("inf"), float("nan"), -1.0)
        ),
    ],
)
def test_no_fold_passes_over_an_event_that_it_does_not_know(strange, error, said):
    with pytest.raises(error, match=said):
        list(readable([strange]))


def test_a_version_below_one_does_not_read():
    with pytest.raises(EventError, match="version 0, which no version of nader wrote"):
        decode("RoundClosed", 0, '{"round":1}')
