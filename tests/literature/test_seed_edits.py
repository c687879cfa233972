"""What the built-in knowledge names, the built-in designer can do."""

from nader.graph.edit import EDITS, edit_named_in
from nader.literature import seed_inspirations


def test_every_seed_names_an_edit():
    assert [seed.id for seed in seed_inspirations() if edit_named_in(seed.text) not in EDITS] == []


def test_between_them_they_name_every_kind_of_edit():
    assert set(EDITS) - {edit_named_in(seed.text) for seed in seed_inspirations()} == set()
