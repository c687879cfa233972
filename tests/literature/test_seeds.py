"""What the shipped inspirations promise."""

import re

from nader.literature import seed_inspirations
from nader.literature.merge import word_similarity

ARXIV_ID = re.compile(r"arXiv:(\d{2})(\d{2})\.(\d{4,5})")


def test_there_are_at_least_seventy_with_unique_ids_and_texts():
    seeds = seed_inspirations()
    assert len(seeds) >= 70
    assert len({seed.id for seed in seeds}) == len(seeds) == len({seed.text for seed in seeds})
    assert all(seed.id.startswith("seed-") for seed in seeds)


def test_they_stand_in_the_same_order_every_time():
    assert seed_inspirations() == seed_inspirations()


def test_every_reference_is_a_well_formed_arxiv_id_and_its_year_is_the_paper_year():
    for paper in {seed.paper for seed in seed_inspirations()}:
        match = ARXIV_ID.fullmatch(paper.ref)
        assert match, paper
        year, month, number = match.groups()
        assert 2000 + int(year) == paper.year, paper
        assert 1 <= int(month) <= 12, paper
        assert len(number) == (5 if int(year) >= 15 else 4), paper
        assert paper.link == f"https://arxiv.org/abs/{paper.ref.removeprefix('arXiv:')}"


def test_a_paper_has_one_reference_and_a_reference_one_paper():
    papers = {seed.paper for seed in seed_inspirations()}
    assert len({paper.ref for paper in papers}) == len(papers) == len({paper.title for paper in papers})


def test_each_is_one_idea_of_readable_length():
    for seed in seed_inspirations():
        assert 60 <= len(seed.text) <= 320, seed.id
        assert seed.text.endswith(".") and "\n" not in seed.text, seed.id


def test_no_two_say_nearly_the_same():
    seeds = seed_inspirations()
    for i, one in enumerate(seeds):
        for other in seeds[i + 1 :]:
            assert word_similarity(one.text, other.text) < 0.5, (one.id, other.id)
