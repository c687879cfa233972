"""A fetched PDF is kept, named by digest, and every fault of server or file is a value, not an exception."""

import pytest

from nader.literature import FailureKind, Paper, PaperRecord, PaperText, TextFailure, paper_digest, read_paper
from nader.literature.fetch import Fetcher
from tests.literature.pdfs import text_pdf
from tests.literature.servers import ok, site

PDF = text_pdf("1. Introduction\n" + "Words of the paper. " * 60)


def record(url: str, ref: str = "arXiv:1709.01507", title: str = "A Paper") -> PaperRecord:
    return PaperRecord(id=paper_digest(ref), paper=Paper(title=title, ref=ref), pdf_url=url)


def reader(url: str) -> Fetcher:
    return Fetcher({url: 0.0}, sleep=lambda seconds: None)


def test_a_pdf_is_fetched_once_and_kept_under_its_digest(tmp_path):
    with site({"/pdf/1": ok(PDF, "application/pdf")}) as server:
        first = read_paper(record(f"{server.url}/pdf/1"), reader(server.url), tmp_path)
        again = read_paper(record(f"{server.url}/pdf/1"), reader(server.url), tmp_path)
        assert server.asked == ["/pdf/1"]
    assert isinstance(first, PaperText) and first == again
    assert [path.name for path in tmp_path.iterdir()] == [f"{paper_digest('arXiv:1709.01507')}.pdf"]


def test_file_names_never_come_from_the_text_of_a_paper(tmp_path):
    with site({"/pdf/1": ok(PDF)}) as server:
        hostile = record(f"{server.url}/pdf/1", ref="../../etc/cron.d/x\0$(id)", title="../../x")
        read_paper(hostile, reader(server.url), tmp_path / "cache")
    [file] = (tmp_path / "cache").iterdir()
    assert set(file.stem) <= set("0123456789abcdef") and len(file.stem) == 32
    assert list(tmp_path.iterdir()) == [tmp_path / "cache"]


FAULTS = [
    ((404, {}, b""), FailureKind.UNREACHABLE, "answered 404"),
    ((503, {}, b""), FailureKind.UNREACHABLE, "answered 503"),
    (ok("<html>Please log in</html>"), FailureKind.BROKEN, "does not begin as a PDF does"),
    ((302, {"Location": "http://evil.example/x.pdf"}, b""), FailureKind.REFUSED, "evil.example is not among"),
]


@pytest.mark.parametrize(("answer", "kind", "message"), FAULTS)
def test_a_fault_of_the_server_is_a_value_and_leaves_nothing_behind(tmp_path, answer, kind, message):
    with site(lambda path: answer) as server:
        failure = read_paper(record(f"{server.url}/pdf/1"), reader(server.url), tmp_path)
    assert isinstance(failure, TextFailure)
    assert failure.kind is kind and message in failure.message
    assert list(tmp_path.iterdir()) == []
