"""No bytes and no text make reading fail in any way but the ones it names."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nader.literature import (
    PaperText,
    TextFailure,
    abstract_of,
    clean_text,
    count_tokens,
    method_section,
    pdf_text,
)
from nader.literature.sections import title_of
from tests.literature.pdfs import encrypted_pdf, text_pdf

PDF = text_pdf(
    "\n".join(f"Line {i} of a paper about blocks." for i in range(150)), title="A Title of a Paper"
)
PIECES = [
    *(
        "1.",
        "2",
        "Method",
        "3 METHOD",
        "# Introduction",
        "Abstract",
        "References",
        "II.",
        "A.",
        "word",
        "<b>",
    ),
    *("1.2", "...", "-", "\f", "\n", "\n\n", " ", "depth-\nwise", "4 Experiments\n", "\n2 The Block\n", "é"),
    *("**", "\x1b["),
]
WORDS = st.sampled_from(PIECES)


@given(st.lists(WORDS, max_size=60).map(" ".join), st.integers(1, 300))
@settings(max_examples=150, deadline=None)
def test_a_section_of_any_text_keeps_its_budget_and_its_pages(text, budget):
    pages = tuple(clean_text(text).split("\f"))
    paper = PaperText(pages=pages, total_pages=len(pages))
    section = method_section(paper, budget)
    assert section.tokens == count_tokens(section.text) <= budget
    assert 1 <= section.first_page <= section.last_page <= len(pages)
    assert len(abstract_of(paper)) <= 3000
    title_of(paper)


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_clean_text_stays_as_it_is(text):
    clean = clean_text(text)
    clean.encode("utf-8")
    assert not any(c < " " and c not in "\n\t\f" for c in clean)
    assert clean_text(clean) == clean


def _damaged(seed: int) -> bytes:
    rng = random.Random(seed)
    data = bytearray(PDF if seed % 3 else encrypted_pdf(PDF, user_password=""))
    for _ in range(rng.randint(1, 30)):
        place = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place : place + rng.randint(1, 200)]
        elif kind == 2:
            data[place:place] = rng.choice(
                [b"<<", b">>", b" 0 R", b"[", b"]", b"endobj", b"stream\n", b"99999999"]
            )
        else:
            other = rng.randrange(len(data))
            data[place : place + 40] = data[other : other + 40]
    return bytes(data)


def _check(path, seed: int) -> None:
    path.write_bytes(_damaged(seed))
    result = pdf_text(path)
    assert isinstance(result, PaperText | TextFailure)
    if isinstance(result, TextFailure):
        assert result.message.endswith(".") and "\n" not in result.message and len(result.message) < 500
    else:
        method_section(result)


def test_a_damaged_pdf_is_read_as_far_as_it_goes_or_told(tmp_path):
    for seed in range(8):
        _check(tmp_path / "damaged.pdf", seed)


@pytest.mark.slow
def test_three_hundred_damaged_pdfs_are_read_as_far_as_they_go_or_told(tmp_path):
    for seed in range(8, 308):
        _check(tmp_path / "damaged.pdf", seed)
