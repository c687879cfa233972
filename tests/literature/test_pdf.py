"""What becomes of a PDF, whatever it is: text, or a sentence that says why not."""

import sys
from pathlib import Path

import pytest

from nader.literature import FailureKind, PaperText, PdfLimits, TextFailure, method_section, pdf_text
from tests.conftest import shared_data
from tests.literature.pdfs import encrypted_pdf, scanned_pdf, text_page, text_pdf, titled_page, write_pdf

DEBIAN_PDFS = sorted(Path("/usr/share/doc").glob("*/*.pdf")) if Path("/usr/share/doc").is_dir() else []
LINES = [f"Line {i} speaks of a convolution and of what it does to the features." for i in range(20)]


def _write(folder: Path, data: bytes, name: str = "paper.pdf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_text_comes_page_by_page_with_the_title_of_the_file(tmp_path):
    path = _write(
        tmp_path, text_pdf("First page of the paper.\fSecond page (with) a \\ slash.", title="A Fine Title")
    )
    text = pdf_text(path, PdfLimits())
    assert isinstance(text, TextFailure)  # two short lines are no paper
    path = _write(
        tmp_path, text_pdf("\n".join(LINES) + "\f" + "\n".join(reversed(LINES)), title="A Fine Title")
    )
    text = pdf_text(path)
    assert isinstance(text, PaperText)
    assert [page.splitlines()[0] for page in text.pages] == [LINES[0], LINES[-1]]
    assert (text.total_pages, text.note, text.title) == (2, "", "A Fine Title")


def test_a_title_is_what_stands_in_the_largest_type_over_all_its_lines(tmp_path):
    page = titled_page(
        ["Blocks of Many Layers:", "How They Learn"], LINES, stamp="arXiv:1709.01507v4 [cs.CV] 16 May 2019"
    )
    text = pdf_text(_write(tmp_path, write_pdf([page])))
    assert isinstance(text, PaperText)
    assert text.title == "Blocks of Many Layers: How They Learn"
    named = pdf_text(_write(tmp_path, write_pdf([page], title="The Name in the File")))
    assert isinstance(named, PaperText) and named.title == "The Name in the File"
    drafted = pdf_text(_write(tmp_path, write_pdf([page], title="Microsoft Word - draft.doc")))
    assert isinstance(drafted, PaperText) and drafted.title == text.title


def test_ligatures_become_letters_and_terminal_escapes_vanish(tmp_path):
    page = text_page(["\x1b[31mred\x1b[0m and plain " + "words " * 10, "ordinary text of the paper"])
    text = pdf_text(_write(tmp_path, write_pdf([page])))
    assert isinstance(text, PaperText)
    assert "\x1b" not in text.pages[0] and "ordinary text of the paper" in text.pages[0]


def test_the_papers_own_text_made_into_a_pdf_gives_its_method_section(tmp_path):
    source = shared_data("paper/nader-cvpr2025.txt").read_text(encoding="utf-8")
    text = pdf_text(_write(tmp_path, text_pdf(source)))
    assert isinstance(text, PaperText)
    section = method_section(text, budget_tokens=4000)
    assert section.heading.startswith("3. Neural Architecture Design via Multi-Agent Collaboration")
    assert "Reader agent" in section.text and "NAS-Bench-201" not in section.heading
    assert 1 < section.first_page < section.last_page < text.total_pages
    assert section.tokens <= 4000


@pytest.mark.skipif(not DEBIAN_PDFS, reason="no Debian package with a PDF is installed")
@pytest.mark.parametrize("path", DEBIAN_PDFS[:3], ids=lambda path: path.name)
def test_a_pdf_that_a_debian_package_ships_is_read_and_has_a_section(path):
    text = pdf_text(path)
    assert isinstance(text, PaperText)
    assert text.total_pages == len(text.pages)
    section = method_section(text, budget_tokens=1000)
    assert 0 < section.tokens <= 1000
    assert 1 <= section.first_page <= section.last_page <= text.total_pages


FULL = text_pdf("\n".join(LINES * 20))
BROKEN = [
    ("empty", b"", "This PDF cannot be read: it is empty."),
    ("html", b"<!DOCTYPE html><html>404</html>", "This PDF cannot be read: it does not begin as a PDF does."),
    ("header alone", b"%PDF-1.7\n", None),
    ("noise", b"%PDF-1.4\n" + bytes(range(256)) * 40, None),
    ("without the end", FULL[: len(FULL) // 4], None),
]


@pytest.mark.parametrize(("name", "data", "message"), BROKEN, ids=[name for name, *_ in BROKEN])
def test_a_broken_pdf_is_a_failure_with_a_sentence(tmp_path, name, data, message):
    failure = pdf_text(_write(tmp_path, data))
    assert isinstance(failure, TextFailure)
    assert failure.kind is FailureKind.BROKEN
    assert failure.message.startswith("This PDF cannot be read: ") and failure.message.endswith(".")
    assert message in (None, failure.message)


def test_a_page_tree_that_points_at_itself_ends(tmp_path):
    data = FULL.replace(b"/Kids [5 0 R", b"/Kids [2 0 R", 1)
    assert data != FULL
    result = pdf_text(_write(tmp_path, data), PdfLimits(seconds=30))
    assert isinstance(result, PaperText | TextFailure)


def test_an_encrypted_pdf_is_told_as_such(tmp_path):
    failure = pdf_text(_write(tmp_path, encrypted_pdf(FULL, user_password="secret")))
    assert failure == TextFailure(
        kind=FailureKind.ENCRYPTED, message="This PDF is encrypted: it opens only with a password."
    )


def test_a_pdf_encrypted_against_printing_only_is_read(tmp_path):
    text = pdf_text(_write(tmp_path, encrypted_pdf(FULL, user_password="")))
    assert isinstance(text, PaperText) and LINES[0] in text.pages[0]


def test_a_scanned_pdf_is_told_as_such(tmp_path):
    failure = pdf_text(_write(tmp_path, scanned_pdf(4)))
    assert failure == TextFailure(
        kind=FailureKind.SCANNED,
        message="This PDF has no text: 4 pages of images, with (almost) no text.",
    )


def test_of_five_hundred_pages_the_first_are_read_and_the_note_says_so(tmp_path):
    path = _write(tmp_path, write_pdf([text_page([f"Page {i}.", *LINES]) for i in range(500)]))
    text = pdf_text(path, PdfLimits(pages=30))
    assert isinstance(text, PaperText)
    assert (len(text.pages), text.total_pages) == (30, 500)
    assert text.note == "read the first 30 of 500 pages, the limit"
    assert method_section(text).note.endswith(text.note)


def test_the_characters_of_a_document_are_limited(tmp_path):
    text = pdf_text(_write(tmp_path, FULL), PdfLimits(characters=1500))
    assert isinstance(text, PaperText)
    assert sum(map(len, text.pages)) <= 1500
    assert "1,500 characters, the limit" in text.note


def test_one_unreadable_page_leaves_the_others_and_is_noted(tmp_path):
    data = write_pdf([text_page(LINES)] * 3)
    start = data.index(b"\n8 0 obj")
    data = data[:start] + data[start:].replace(b"stream\nx", b"stream\n?", 1)  # no zlib data any more
    text = pdf_text(_write(tmp_path, data))
    assert isinstance(text, PaperText) and len(text.pages) == 3
    assert text.pages[1] == "" and LINES[3] in text.pages[2]
    assert text.note == "1 page gave no text"


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    failure = pdf_text(_write(tmp_path, FULL + b"\0" * 2**20), PdfLimits(file_bytes=2**20))
    assert isinstance(failure, TextFailure)
    assert failure.kind is FailureKind.TOO_LARGE and "1.0 are allowed" in failure.message


def test_a_missing_file_is_told(tmp_path):
    failure = pdf_text(tmp_path / "gone.pdf")
    assert failure == TextFailure(
        kind=FailureKind.MISSING, message="This PDF cannot be opened: no such file or directory."
    )


def test_a_pdf_that_takes_too_long_is_stopped(tmp_path):
    failure = pdf_text(_write(tmp_path, FULL), PdfLimits(seconds=0.001))
    assert failure == TextFailure(
        kind=FailureKind.TIMED_OUT,
        message="This PDF takes too long to read: no page of it could be read in 0.001 s.",
    )


def test_a_pdf_that_unfolds_to_gigabytes_ends_within_the_memory_limit(tmp_path):
    bomb = write_pdf([b"BT /F 9 Tf (a) Tj " + b" " * (96 * 2**20) + b"ET"])
    assert len(bomb) < 2**18
    result = pdf_text(_write(tmp_path, bomb), PdfLimits(memory_bytes=256 * 2**20))
    assert isinstance(result, TextFailure)
    assert result.kind in (FailureKind.TOO_LARGE, FailureKind.BROKEN)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_a_page_that_takes_more_memory_than_allowed_is_told(tmp_path):
    page = write_pdf([b"BT /F 9 Tf (a) Tj " + b" " * (60 * 2**20) + b"ET"])
    failure = pdf_text(_write(tmp_path, page), PdfLimits(memory_bytes=96 * 2**20))
    assert failure == TextFailure(
        kind=FailureKind.TOO_LARGE,
        message="This PDF is too large: reading it takes more than 96 MiB of memory.",
    )


def test_the_reading_process_gets_no_keys(tmp_path, monkeypatch):
    seen = {}

    class Stop(Exception):
        pass

    def popen(command, **options):
        seen.update(options["env"])
        raise Stop

    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    monkeypatch.setattr("nader.literature.pdf.subprocess.Popen", popen)
    with pytest.raises(Stop):
        pdf_text(_write(tmp_path, FULL))
    assert "OPENAI_API_KEY" not in seen and "PATH" in seen
