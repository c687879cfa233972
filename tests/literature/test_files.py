"""Papers on this machine: files, folders, tables; and what is said of those that cannot be read."""

import json
from pathlib import Path

import pytest

from nader.literature import (
    FailureKind,
    InspirationFile,
    PaperText,
    SourceError,
    SourceSpecError,
    TextFailure,
    parse_source,
    read_paper,
)
from tests.literature.pdfs import text_pdf

TEXT = (
    "# A Study of Blocks\n\nAbstract\nWe study blocks.\n\n"
    "1. Introduction\nThey matter.\n2. Method\nWe add one.\n"
)


def read(record, tmp_path) -> PaperText | TextFailure:
    return read_paper(record, None, tmp_path / "cache")  # nothing here is fetched


def test_a_folder_gives_its_papers_in_order_of_their_names(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.md").write_text(TEXT)
    (tmp_path / "sub" / "a.txt").write_text(TEXT.replace("Study", "Second Study"))
    (tmp_path / "a.pdf").write_bytes(text_pdf(TEXT.replace("#", "") + "More text of the paper. " * 40))
    (tmp_path / ".hidden.txt").write_text("not this")
    (tmp_path / "notes.docx").write_text("nor this")
    records = list(parse_source(str(tmp_path)).papers(10))
    assert [record.paper.ref for record in records] == ["a.pdf", "b.md", "sub/a.txt"]
    assert [record.paper.title for record in records] == ["A Study of Blocks"] * 2 + [
        "A Second Study of Blocks"
    ]
    assert {record.abstract for record in records} == {"We study blocks."}
    assert all(isinstance(read(record, tmp_path), PaperText) for record in records)
    assert len(list(parse_source(str(tmp_path)).papers(2))) == 2


def test_files_of_the_same_contents_count_once_and_keep_their_id_when_renamed(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text(TEXT)
    [before] = parse_source(str(tmp_path)).papers(10)
    (tmp_path / "a.txt").rename(tmp_path / "z.txt")
    (tmp_path / "b.txt").unlink()
    [after] = parse_source(str(tmp_path)).papers(10)
    assert before.id == after.id


def test_a_single_file_is_a_source_of_one_paper(tmp_path):
    (tmp_path / "one.txt").write_text(TEXT)
    [record] = parse_source(str(tmp_path / "one.txt")).papers(10)
    assert record.paper.ref == "one.txt"


def test_a_broken_pdf_of_a_folder_gives_its_record_and_fails_when_read(tmp_path):
    (tmp_path / "a_broken_paper.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    [record] = parse_source(str(tmp_path)).papers(10)
    assert (record.paper.title, record.abstract) == ("a broken paper", "")
    failure = read(record, tmp_path)
    assert isinstance(failure, TextFailure) and failure.kind is FailureKind.BROKEN


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "outside.txt").write_text("a secret")
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "paper.txt").write_text(TEXT)
    assert [record.paper.ref for record in parse_source(str(folder)).papers(10)] == ["paper.txt"]


def test_a_folder_without_papers_is_told(tmp_path):
    with pytest.raises(SourceError, match=r"holds no papers \(.pdf, .txt, .md\)"):
        list(parse_source(str(tmp_path)).papers(10))


STRANGE_TEXTS = [
    (b"", FailureKind.BROKEN, "This text is empty."),
    (b" \n\f\n", FailureKind.BROKEN, "This text is empty."),
    (b"a\0b", FailureKind.BROKEN, "This file is not a text: it holds zero bytes."),
]


@pytest.mark.parametrize(("data", "kind", "message"), STRANGE_TEXTS)
def test_a_file_that_is_no_text_fails_with_a_sentence(tmp_path, data, kind, message):
    path = tmp_path / "strange.txt"
    path.write_bytes(data)
    [record] = parse_source(str(path)).papers(1)
    assert read(record, tmp_path) == TextFailure(kind=kind, message=message)


def test_form_feeds_part_the_pages_of_a_text(tmp_path):
    path = tmp_path / "pages.txt"
    path.write_text("First.\fSecond.")
    [record] = parse_source(str(path)).papers(1)
    assert read(record, tmp_path) == PaperText(pages=("First.", "Second."), total_pages=2)


def test_bytes_that_are_not_utf8_become_replacement_characters(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9 and more")
    [record] = parse_source(str(path)).papers(1)
    assert read(record, tmp_path).pages == ("caf\ufffd and more",)


ROWS = [
    {"title": "One  Block", "abstract": "About it.", "year": 2017, "arxiv": "1709.01507v4"},
    {
        "Title": "Two Blocks",
        "Year": "2019",
        "ref": "https://arxiv.org/abs/1903.06586",
        "url": "https://x.example/2",
    },
    {"title": "Three Blocks", "doi": "10.1/3"},
    {"title": "Four Blocks", "pdf": "four.txt"},
]


def test_a_json_table_gives_its_papers(tmp_path):
    (tmp_path / "four.txt").write_text(TEXT)
    path = tmp_path / "papers.json"
    path.write_text(json.dumps(ROWS))
    one, two, three, four = parse_source(str(path)).papers(10)
    assert (one.paper.title, one.paper.year, one.paper.ref) == ("One Block", 2017, "arXiv:1709.01507")
    assert one.abstract == "About it." and not one.has_text
    assert (two.paper.ref, two.paper.link) == ("arXiv:1903.06586", "https://x.example/2")
    assert (three.paper.ref, three.paper.year) == ("10.1/3", None)
    assert four.paper.ref == "papers.json#4" and four.has_text
    assert read(one, tmp_path) == PaperText(
        pages=("About it.",), total_pages=1, note="only the abstract is known"
    )
    assert read(three, tmp_path) == TextFailure(
        kind=FailureKind.MISSING, message="Neither a text nor an abstract of it is known."
    )
    assert "We add one." in read(four, tmp_path).pages[0]


def test_a_csv_gives_the_same_papers_as_the_json(tmp_path):
    (tmp_path / "p.csv").write_text(
        'Title,abstract,year,ref\n"One, Block","About\nit.",2017,1709.01507\nTwo,,,\n', encoding="utf-8-sig"
    )
    one, two = parse_source(str(tmp_path / "p.csv")).papers(10)
    assert (one.paper.title, one.paper.ref, one.abstract) == ("One, Block", "arXiv:1709.01507", "About\nit.")
    assert (two.paper.year, two.abstract, two.paper.ref) == (None, "", "p.csv#2")


def test_a_json_object_with_one_list_is_a_table_too(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"source": "x", "papers": ROWS[:1]}))
    assert len(list(parse_source(str(tmp_path / "p.json")).papers(10))) == 1


def test_a_paper_listed_twice_counts_once(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps([ROWS[0], ROWS[0], ROWS[2]]))
    assert len(list(parse_source(str(tmp_path / "p.json")).papers(10))) == 2


BAD_TABLES = [
    ("p.json", "{", "p.json is not JSON"),
    ("p.json", "[" * 100_000, "p.json is not JSON"),
    ("p.json", "3", "expected a list of objects"),
    ("p.json", '["a"]', "expected a list of objects"),
    ("p.json", '[{"title": "A"}, {"name": "B"}]', "p.json, entry 2: a paper needs a title."),
    ("p.json", '[{"title": "  "}]', "p.json, entry 1: a paper needs a title."),
    ("p.json", '[{"title": "A", "year": "soon"}]', "entry 1: 'soon' is not a year."),
    ("p.json", '[{"title": "A", "year": 20170}]', "entry 1: '20170' is not a year."),
    (
        "p.json",
        '[{"title": "A", "pdf": "/etc/passwd"}]',
        "'/etc/passwd' is not a paper in the table's folder",
    ),
    ("p.json", '[{"title": "A", "pdf": "../x.pdf"}]', "'../x.pdf' is not a paper in the table's folder"),
    ("p.json", '[{"title": "A", "pdf": "p.json"}]', "'p.json' is not a paper in the table's folder"),
    ("p.csv", "name,year\nA,3\n", "the first line must name the columns, `title` among them"),
    ("p.csv", 'title\n"A', "p.csv is not a CSV"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD_TABLES)
def test_a_table_that_is_not_one_is_told_with_its_entry(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SourceError) as error:
        list(parse_source(str(path)).papers(10))
    assert message in str(error.value)


def test_a_table_that_is_no_utf8_is_told(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"title\n\xff\xfe\n")
    with pytest.raises(SourceError, match=r"is not UTF-8 text \(byte 6\)"):
        list(parse_source(str(tmp_path / "p.csv")).papers(10))


BAD_SPECS = [
    ("arxiv:", "What should be asked of arXiv?"),
    ("cvf:", "'' is not a conference with its year"),
    ("cvf:NIPS2020", "'NIPS2020' is not a conference with its year, such as cvf:CVPR2023"),
    ("cvf:CVPR1999", "is not a conference"),
    ("no/such/thing", "'no/such/thing' is no source of papers and no file. A source is arxiv:"),
    ("https://example.org/paper.pdf", "is no source of papers and no file"),
    ("", "'' is no source of papers"),
]


@pytest.mark.parametrize(("spec", "message"), BAD_SPECS)
def test_a_text_that_names_no_source_is_told_with_the_forms_there_are(spec, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceSpecError) as error:
        parse_source(spec)
    assert message in str(error.value)


def test_other_kinds_of_file_are_refused_by_name(tmp_path):
    (tmp_path / "x.docx").write_text("")
    with pytest.raises(SourceSpecError, match=r"x.docx is not a kind of file that is read"):
        parse_source(str(tmp_path / "x.docx"))


def test_sources_say_what_they_are(tmp_path):
    (tmp_path / "x.csv").write_text("title\n")
    assert str(parse_source("arxiv: abs:block ")) == "arXiv, 'abs:block'"
    assert str(parse_source("CVF:cvpr2023")) == "CVF open access, CVPR2023"
    assert str(parse_source(str(tmp_path))) == f"folder {tmp_path}"
    assert str(parse_source(str(tmp_path / "x.csv"))) == f"table {tmp_path / 'x.csv'}"


def test_a_list_of_inspirations_is_told_from_a_table(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"id": 1, "paper_id": 2, "inspiration": "Use fewer layers."}]))
    source = parse_source(str(path))
    assert isinstance(source, InspirationFile) and source.path == Path(path)
