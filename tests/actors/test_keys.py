"""Keys depend on what is done; chance depends on who draws, about what, and for which purpose."""

from actors.keys import effect_key, keyed_rng
from events import Envelope


def envelope(**changes):
    values = {
        "position": 7,
        "seq": 7,
        "id": "id",
        "run": "r",
        "branch": "r",
        "time": 0.0,
        "actor": "a",
        "type": "RoundOpened",
        "version": 1,
        "causation": None,
        "correlation": "round-3",
        "effect_key": "k",
        "input_digest": None,
        "prev_hash": "",
        "hash": "",
        "payload": "{}",
    }
    return Envelope(**{**values, **changes})


def test_an_effect_is_known_by_kind_actor_cause_and_name_and_by_nothing_else():
    key = effect_key("emit", "proposer", envelope(), "1")
    assert key == effect_key(
        "emit", "proposer", envelope(position=9, seq=3, branch="fork", time=5.0, id="x"), "1"
    )
    for other in (
        effect_key("ask", "proposer", envelope(), "1"),
        effect_key("emit", "modifier", envelope(), "1"),
        effect_key("emit", "proposer", envelope(effect_key="other"), "1"),
        effect_key("emit", "proposer", envelope(), "2"),
    ):
        assert other != key


def test_chance_does_not_depend_on_what_woke_the_handler():
    first = keyed_rng(0, "proposer", envelope(), "parent").random()
    assert keyed_rng(0, "proposer", envelope(effect_key="other", position=99), "parent").random() == first
    assert keyed_rng(0, "proposer", envelope(correlation="round-4"), "parent").random() != first
    assert keyed_rng(0, "proposer", envelope(), "inspirations").random() != first
    assert keyed_rng(1, "proposer", envelope(), "parent").random() != first
