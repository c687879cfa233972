"""The method section is found by its headings, or by its place, and says which of the two."""

import pytest

from nader.literature import PaperText, abstract_of, count_tokens, method_section
from nader.literature.sections import title_of
from tests.conftest import shared_data

BODY = "We place a layer beside the other and add what both of them give to the next one. " * 3


def paper(*pages: str, title: str | None = None, note: str = "") -> PaperText:
    return PaperText(pages=pages, total_pages=len(pages), title=title, note=note)


def sectioned(*headings: str) -> PaperText:
    """A paper of one page with a paragraph under each heading that tells which it is."""
    return paper("\n".join(f"{heading}\nText of part {i}. {BODY}" for i, heading in enumerate(headings)))


FOUND = [
    # headings in order, the parts that are taken, the heading that is reported
    (["1. Introduction", "2. Related Work", "3. Method", "4. Experiments", "References"], [2], "3. Method"),
    (["1 Introduction", "2 Background", "3 Our Approach", "4 Results"], [2], "3 Our Approach"),
    (
        ["I. INTRODUCTION", "II. PROPOSED METHOD", "III. EXPERIMENTS", "REFERENCES"],
        [1],
        "II. PROPOSED METHOD",
    ),
    (["1 I NTRODUCTION", "2 M ETHOD", "3 E XPERIMENTS", "R EFERENCES"], [1], "2 METHOD"),
    (["# Introduction", "# Methodology", "# Experiments"], [1], "Methodology"),
    (
        ["## 1. Introduction", "### 2. Network Architecture", "# 3. Experiments"],
        [1],
        "2. Network Architecture",
    ),
    (["Abstract", "Introduction", "Method", "Results", "References"], [2], "Method"),
    (["1 Introduction", "2 Model Design", "3 Training the Model", "4 Experiments"], [1, 2], None),
    (["1 Introduction", "2 Method", "2.1 Overview", "2.2 Block", "3 Experiments"], [1, 2, 3], "2 Method"),
    (
        ["1. Introduction", "2. Method", "3. Experiments", "4. Related Work", "5. Conclusion"],
        [1],
        "2. Method",
    ),
    (["1\nIntroduction", "2\nThe Proposed Block", "3\nExperiments"], [1], "2 The Proposed Block"),
    (["1. Introduction", "3. Method", "4. Experiments"], [1], "3. Method"),
    (["**1. Introduction**", "**2. Method**", "**3. Experiments**"], [1], "2. Method"),
    (["1. Introduction", "2. Method", "3. Experiments", "References", "A. Method Details"], [1], "2. Method"),
]


@pytest.mark.parametrize(("headings", "parts", "heading"), FOUND, ids=[f[0][-2].strip() for f in FOUND])
def test_sections_with_telling_headings_are_taken_whole(headings, parts, heading):
    section = method_section(sectioned(*headings))
    for index in range(len(headings)):
        assert (f"Text of part {index}." in section.text) == (index in parts), section.text
    assert heading in (None, section.heading)
    assert section.note == ""


def test_without_a_telling_heading_what_stands_before_the_experiments_is_taken():
    section = method_section(
        sectioned("1. Introduction", "2. Shifting Windows", "3. Experiments", "4. Conclusion")
    )
    assert section.heading == "2. Shifting Windows"
    assert "part 1" in section.text and "part 2" not in section.text
    assert (
        section.note == "no heading speaks of a method; took what stands between introduction and experiments"
    )


def test_without_headings_the_body_is_taken_and_the_note_says_so():
    section = method_section(paper(*[f"Page {i}.\n{BODY}\n" * 5 for i in range(1, 9)]))
    assert section.heading == ""
    assert 2 <= section.first_page <= 3 and section.last_page == 8
    assert section.note.startswith("no method section found")


def test_the_names_of_many_sections_are_shortened():
    headings = [f"{i}. A Module of Some Considerable Name Number {i}" for i in range(2, 12)]
    section = method_section(sectioned("1. Introduction", *headings))
    assert len(section.heading) == 200 and section.heading.endswith("…")


def test_references_are_never_part_of_the_body():
    pages = [f"Sentence {i} of the body. {BODY}" for i in range(20)]
    section = method_section(paper("\n".join([*pages, "References", "[1] A. Author. A paper."])))
    assert "A. Author" not in section.text


def test_pages_count_from_one_and_span_the_section():
    text = paper(f"1. Introduction\n{BODY}", f"{BODY}\n2. Method\n{BODY}", f"{BODY}\n3. Experiments\n{BODY}")
    section = method_section(text)
    assert (section.first_page, section.last_page) == (2, 3)


@pytest.mark.parametrize("budget", [20, 100, 500])
def test_a_section_is_cut_to_its_budget_and_says_so(budget):
    long = "\n".join(["1. Introduction", BODY, "2. Method", *[f"Sentence {i}. {BODY}" for i in range(40)]])
    section = method_section(paper(long), budget_tokens=budget)
    assert 0 < section.tokens <= budget
    assert count_tokens(section.text) == section.tokens
    assert section.note == f"cut to {budget:,} tokens"


def test_a_long_paragraph_is_cut_at_the_end_of_a_sentence():
    sentences = " ".join(f"Sentence {i} says so." for i in range(200))
    section = method_section(paper(f"1. Introduction\nHere.\n2. Method\n{sentences}"), budget_tokens=100)
    assert section.text.endswith("says so.") and 80 <= section.tokens <= 100


def test_rows_of_a_table_do_not_pass_for_sections():
    rows = "\n".join(["4 Conv layers 128 64", "7 Pooling", "2 CARD16 VERSION", "9 Something Else"])
    method = f"2. Method\n{BODY}\n{rows}\nThe end of the method. {BODY}"
    section = method_section(paper(f"1. Introduction\n{BODY}\n{method}\n3. Experiments\n{BODY}"))
    assert section.heading == "2. Method" and "The end of the method." in section.text


def test_a_table_of_contents_does_not_pass_for_sections():
    contents = "1. Introduction . . . . . . 1\n2. Method . . . . . . . 2\n3. Experiments . . . . . . 3"
    text = paper(
        contents, f"1. Introduction\n{BODY}", f"2. Method\nReal text. {BODY}", f"3. Experiments\n{BODY}"
    )
    section = method_section(text)
    assert section.text.startswith("2. Method\nReal text.") and section.first_page == 3


def test_headers_and_page_numbers_that_pages_repeat_are_left_out():
    pages = [f"A Running Title\n{BODY}\nText {i}.\n{BODY}\n{BODY}\n{i}" for i in range(1, 7)]
    section = method_section(paper(*pages))
    assert "A Running Title" not in section.text and "Text 5." in section.text


def test_words_broken_at_the_end_of_a_line_are_whole_again():
    text = (
        "1. Introduction\nText here.\n2. Method\nWe use depthwise convolu-\ntions in a Squeeze-\nAnd block."
    )
    section = method_section(paper(text))
    assert "depthwise convolutions in" in section.text and "Squeeze- And" in section.text


def test_a_paper_without_text_gives_an_empty_section():
    section = method_section(paper(""))
    assert (section.text, section.tokens, section.first_page) == ("", 0, 1)


def test_the_nader_paper_gives_its_third_section():
    text = shared_data("paper/nader-cvpr2025.txt").read_text(encoding="utf-8")
    section = method_section(paper(text), budget_tokens=20_000)
    assert section.heading == "3. Neural Architecture Design via Multi-Agent Collaboration"
    assert "3.4.2. Reflector" in section.text and "### 4.1" not in section.text
    assert title_of(paper(text)) == "NADER: Neural Architecture Design via Multi-Agent Collaboration"
    assert abstract_of(paper(text)).startswith("*Designing effective neural architectures poses")
    assert "Recent advancements in Large" not in abstract_of(paper(text))


ABSTRACTS = [
    "Some Title of a Paper\nAn Author\nAbstract\nWe study it.\n1. Introduction\nMore.",
    "Some Title of a Paper\nAbstract. We study it.\n1. Introduction\nMore.",
    "Some Title of a Paper\nAbstract—We study it.\nI. INTRODUCTION\nMore.",
    "# Some Title of a Paper\n## Abstract\nWe study it.\n## 1. Introduction\nMore.",
]


@pytest.mark.parametrize("text", ABSTRACTS)
def test_the_abstract_is_what_stands_before_the_introduction(text):
    assert abstract_of(paper(text)) == "We study it."


def test_without_a_marked_abstract_the_first_lines_stand_for_it():
    assert abstract_of(paper("A title of some length\nAnd text.")) == "A title of some length And text."


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("A Title From the File", "A Title From the File"),
        ("Microsoft Word - draft.doc", "The First Line of the Page"),
        ("untitled", "The First Line of the Page"),
        ("paper.dvi", "The First Line of the Page"),
        (None, "The First Line of the Page"),
    ],
)
def test_the_title_is_the_files_own_if_it_can_be_one(given, title):
    page = "arXiv:1709.01507v4 [cs.CV] 16 May 2019\nThe First Line of the Page\nAn Author"
    assert title_of(paper(page, title=given)) == title


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\f",
        "0" * 5000,
        "#" * 300,
        "1.\n2.\n3.\n",
        "I\nI\nI\nI",
        "A. b\n" * 900,
        "# a" + " " * 300_000 + "b",
        "<" * 100_000,
    ],
)
def test_no_text_is_too_strange(text):
    section = method_section(paper(text))
    assert section.first_page == 1
    abstract_of(paper(text))
    title_of(paper(text))
