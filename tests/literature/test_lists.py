"""An existing list of inspirations is imported whole, or refused with what is wrong in it."""

import json

import pytest

from nader.literature import InspirationListError, load_inspirations, merge_near_duplicates, split_relevant
from tests.conftest import shared_data


def entry(**more) -> dict:
    return {"id": 1, "paper_id": 2, "inspiration": "Use a larger kernel."} | more


def write(tmp_path, data) -> object:
    path = tmp_path / "list.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_entries_become_inspirations_with_the_names_of_their_list(tmp_path):
    path = write(tmp_path, [entry(), entry(id="b", paper_id=7, inspiration=" Add  a\nskip. ")])
    first, second = load_inspirations(path, "cvpr")
    assert (first.id, first.text) == ("cvpr/1", "Use a larger kernel.")
    assert (first.paper.ref, first.paper.title, first.paper.year) == ("cvpr#2", "paper 2 of cvpr", None)
    assert (second.id, second.text) == ("cvpr/b", "Add a skip.")
    assert load_inspirations(path)[0].id == "list/1"


def test_what_is_known_of_the_paper_is_kept(tmp_path):
    paper = {"title": "T", "year": 2017, "ref": "arXiv:1709.01507", "section": "3. Method", "page": 4}
    [one] = load_inspirations(write(tmp_path, [entry(**paper)]))
    assert (one.paper.title, one.paper.year, one.paper.ref) == ("T", 2017, "arXiv:1709.01507")
    assert (one.section, one.page) == ("3. Method", 4)


BAD = [
    ("{", "list.json is not JSON"),
    ("[" * 100_000, "list.json is not JSON"),
    ("{}", "list.json: expected a JSON list of inspirations, found an object."),
    ("[]", "list.json: the list is empty."),
    ([3], "list.json: entry 1: expected an object, found a number."),
    ([entry(), {"id": 2, "paper_id": 2}], "entry 2: `inspiration` must be a text that is not empty."),
    ([entry(inspiration="  ")], "entry 1: `inspiration` must be a text that is not empty."),
    ([entry(inspiration=7)], "entry 1: `inspiration` must be a text"),
    ([entry(id=None)], "entry 1: `id` must be a number or a text."),
    ([entry(id=True)], "entry 1: `id` must be a number or a text."),
    ([entry(paper_id=[])], "entry 1: `paper_id` must be a number or a text."),
    ([entry(), entry()], "entry 2: id 1 is that of entry 1 too."),
    ([entry(year=3)], "entry 1: "),
    ([entry(page=0)], "entry 1: "),
    ([entry(inspiration="x" * 30_000)], "entry 1: "),
    ([{}] * 9, "and 4 more."),
]


@pytest.mark.parametrize(("data", "message"), BAD)
def test_a_list_with_faults_is_refused_with_their_places(tmp_path, data, message):
    with pytest.raises(InspirationListError) as error:
        load_inspirations(write(tmp_path, data))
    assert message in str(error.value)
    assert len(str(error.value)) < 1500 and "\n" not in str(error.value)


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(InspirationListError, match="cannot be read: no such file or directory"):
        load_inspirations(tmp_path / "gone.json")


def test_the_real_list_imports_whole_and_its_duplicates_are_found():
    inspirations = load_inspirations(shared_data("data/nader-official/inspirations.json"))
    assert len(inspirations) == 5411
    assert len({one.paper.ref for one in inspirations}) > 1000
    relevant, others = split_relevant(inspirations)
    assert len(relevant) + len(others) == 5411
    assert 1000 < len(relevant) < 2500
    merged = merge_near_duplicates(relevant)
    assert len(merged.kept) + len(merged.merges) == len(relevant)
    texts = {one.id: one.text for one in relevant}
    pairs = {(texts[merge.into][:38], merge.duplicate.text[:42]) for merge in merged.merges}
    assert ("Using depthwise separable convolutions", "Utilizing depthwise separable convolutions") in pairs
    assert {merge.into for merge in merged.merges} <= {one.id for one in merged.kept}
