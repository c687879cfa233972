"""Old logs stay readable for ever: one stored payload of each (type, version), read by today's code."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from events import EventError, UnknownEventError, canonical_json, decode, encode, event_types, known_versions
from events.registry import Event

GOLDEN = Path(__file__).parent.parent / "golden" / "events"


def test_every_type_and_version_has_a_golden_file_and_no_file_is_left_over():
    assert {f"{name}.{version}.json" for name, version in known_versions()} == {
        p.name for p in GOLDEN.iterdir()
    }


@pytest.mark.parametrize("file", sorted(GOLDEN.iterdir()), ids=lambda path: path.stem)
def test_a_stored_payload_reads_and_writes_back_the_same(file):
    name, version = file.stem.split(".")
    stored = file.read_text(encoding="utf-8").rstrip("\n")
    event = decode(name, int(version), stored)
    assert type(event).__name__ == name
    if int(version) == event_types()[name].version:
        assert encode(event) == (name, int(version), stored)
        assert canonical_json(json.loads(stored)) == stored


def test_an_unknown_type_or_a_newer_version_says_to_upgrade():
    with pytest.raises(UnknownEventError, match="'ModelMarried', which this version of nader does not know"):
        decode("ModelMarried", 1, "{}")
    with pytest.raises(
        UnknownEventError, match="RoundClosed version 9, and this nader knows up to version 1"
    ):
        decode("RoundClosed", 9, '{"round":1}')


@pytest.mark.parametrize(
    "payload", ['{"round":1,"more":2}', "{}", '{"round":"x"}', "{", "[]", '{"round":null}']
)
def test_a_payload_of_another_shape_is_refused_with_its_type(payload):
    with pytest.raises(EventError, match=r"RoundClosed version 1 does not read: [\w ]+: [^\n]+$"):
        decode("RoundClosed", 1, payload)


def test_an_old_version_is_upcast_step_by_step_before_it_is_validated():
    class Moved(Event):
        version: ClassVar[int] = 3
        upcasters: ClassVar = {
            1: lambda d: {"place": d["where"]},
            2: lambda d: {**d, "speed": 0},
        }
        place: str
        speed: int

    try:
        assert decode("Moved", 1, '{"where":"left"}') == Moved(place="left", speed=0)
        assert decode("Moved", 2, '{"place":"right"}') == Moved(place="right", speed=0)
        assert decode("Moved", 3, '{"place":"up","speed":4}') == Moved(place="up", speed=4)
    finally:
        from events import registry

        del registry._TYPES["Moved"]


def test_a_retraining_of_version_1_had_no_validation_figure_where_it_says_zero_of_joined_parts():
    stored = (GOLDEN / "RetrainingRecorded.1.json").read_text(encoding="utf-8")
    zero = json.dumps({**json.loads(stored), "validation": [0.0, 0.0]})
    assert decode("RetrainingRecorded", 1, zero).validation == (0.0, 0.0)
    joined = decode("RetrainingRecorded", 1, json.dumps({**json.loads(zero), "dataset": "cifar10-full"}))
    assert joined.validation == (None, None) and joined.adopted == () and joined.test == (1.5, 1.5)


def test_a_type_without_its_upcasters_cannot_be_defined():
    with pytest.raises(TypeError, match=r"Torn version 2 lacks upcasters from \[1\]"):

        class Torn(Event):
            version: ClassVar[int] = 2


def test_events_are_frozen_and_strict():
    event = event_types()["RoundClosed"](round=1)
    with pytest.raises(ValueError):
        event.round = 2
    with pytest.raises(ValueError):
        event_types()["RoundClosed"](round=1, more=2)
