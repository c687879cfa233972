"""An arXiv query gives records, keeps arXiv's pace, and goes nowhere else."""

from contextlib import suppress
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest

from nader.literature import Endpoints, SourceError, parse_source
from tests.literature.servers import ok, site

ENTRY = """<entry>
<id>http://arxiv.org/abs/{number}v{version}</id>
<updated>2023-05-01T10:00:00Z</updated><published>{year}-04-01T10:00:00Z</published>
<title>{title}</title><summary>  {summary}
</summary>
<author><name>An Author</name></author>
<link href="http://arxiv.org/abs/{number}v{version}" rel="alternate" type="text/html"/>
<link title="pdf" href="http://arxiv.org/pdf/{number}v{version}" rel="related" type="application/pdf"/>
<arxiv:primary_category xmlns:arxiv="http://arxiv.org/schemas/atom" term="cs.CV"/>
<category term="cs.CV" scheme="http://arxiv.org/schemas/atom"/>
</entry>"""


def feed(entries: list[str], total: int, start: int) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">'
        "<title>ArXiv Query</title><id>http://arxiv.org/api/1</id><updated>2023-05-01T00:00:00-04:00</updated>"
        '<opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">'
        f"{total}</opensearch:totalResults>"
        '<opensearch:startIndex xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">'
        f"{start}</opensearch:startIndex>"
        '<opensearch:itemsPerPage xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">'
        f"{len(entries)}</opensearch:itemsPerPage>" + "".join(entries) + "</feed>"
    )


def entry(number: str, title: str = "A Block\n  of Layers", *, year: int = 2023, version: int = 2) -> str:
    return ENTRY.format(
        number=number,
        version=version,
        year=year,
        title=escape(title),
        summary=escape("We <b>propose</b> it."),
    )


def arxiv_with(total: int):
    """Answers of a server with that many papers, 2304.00000 onwards, by the page that is asked for."""

    def answer(path: str):
        asked = parse_qs(urlsplit(path).query)
        start, size = int(asked["start"][0]), int(asked["max_results"][0])
        numbers = range(start, min(start + size, total))
        return ok(feed([entry(f"2304.{n:05d}") for n in numbers], total, start), "application/atom+xml")

    return answer


def source(url: str, query: str = "abs:backbone"):
    return parse_source(f"arxiv:{query}", Endpoints(arxiv=url, arxiv_pause=0.0))


def test_a_query_gives_records_with_abstract_year_and_where_the_pdf_is():
    with site(arxiv_with(3)) as server:
        records = list(source(server.url, "cat:cs.CV AND abs:backbone").papers(10))
    assert [record.paper.ref for record in records] == [
        "arXiv:2304.00000",
        "arXiv:2304.00001",
        "arXiv:2304.00002",
    ]
    first = records[0]
    assert first.paper.title == "A Block of Layers"
    assert first.paper.year == 2023
    assert first.paper.link == "https://arxiv.org/abs/2304.00000"
    assert first.abstract == "We <b>propose</b> it."
    assert first.pdf_url == f"{server.url}/pdf/2304.00000"
    assert first.has_text
    asked = parse_qs(urlsplit(server.asked[0]).query)
    assert asked["search_query"] == ["cat:cs.CV AND abs:backbone"]
    assert (asked["sortBy"], asked["sortOrder"]) == (["submittedDate"], ["descending"])


def test_ids_do_not_depend_on_the_version_of_a_paper():
    with site({}) as server:
        ids = set()
        for version in (1, 4):
            page = feed([entry("2304.00001", version=version)], 1, 0)
            server.answer = lambda path, page=page: ok(page, "application/atom+xml")
            ids |= {record.id for record in source(server.url).papers(1)}
    assert len(ids) == 1


@pytest.mark.parametrize("number", ["cs/0101001", "solv-int/9901001", "1709.01507"])
def test_old_and_new_ids_are_kept_whole(number):
    with site(lambda path: ok(feed([entry(number)], 1, 0), "application/atom+xml")) as server:
        [record] = source(server.url).papers(1)
    assert record.paper.ref == f"arXiv:{number}"


def test_no_more_than_the_maximum_is_given_or_asked_for():
    with site(arxiv_with(5000)) as server:
        assert len(list(source(server.url).papers(7))) == 7
        assert len(server.asked) == 1
        assert parse_qs(urlsplit(server.asked[0]).query)["max_results"] == ["7"]
        assert len(list(source(server.url).papers(150))) == 150
        assert len(server.asked) == 3


def test_pages_are_asked_for_no_faster_than_arxiv_allows(monkeypatch):
    slept = []
    monkeypatch.setattr("arxiv.time.sleep", slept.append)
    with site(arxiv_with(250)) as server:
        records = list(parse_source("arxiv:x", Endpoints(arxiv=server.url, arxiv_pause=3.0)).papers(250))
    assert len(records) == 250
    assert len(slept) == 2 and all(2 < pause <= 3 for pause in slept)


def test_a_query_without_results_gives_none():
    with site(arxiv_with(0)) as server:
        assert list(source(server.url).papers(10)) == []


def test_a_server_that_fails_is_asked_four_times_and_then_told():
    with site(lambda path: (503, {}, b"busy")) as server:
        with pytest.raises(SourceError, match=r"arXiv answered 503 to the query 'abs:backbone'."):
            list(source(server.url).papers(10))
        assert len(server.asked) == 4


def test_no_connection_gives_one_sentence():
    with site({}) as server:
        gone = server.url
    with pytest.raises(SourceError, match=r"arXiv could not be asked: no connection. Is there a network?"):
        list(source(gone).papers(10))


def test_a_redirect_to_another_host_is_not_followed():
    with site({}) as other, site({}) as server:
        server.answer = lambda path: (302, {"Location": f"{other.url}/elsewhere"}, b"")
        with pytest.raises(SourceError, match="which is not arXiv"):
            list(source(server.url).papers(10))
        assert other.asked == []


@pytest.mark.parametrize(
    "body", [b"", b"not xml at all", b"<feed", b"<html><body>Rate exceeded</body></html>"]
)
def test_an_answer_that_is_no_feed_gives_nothing_and_no_traceback(body):
    with site(lambda path: ok(body)) as server, suppress(SourceError):
        assert list(source(server.url).papers(10)) == []


def test_an_answer_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("nader.literature.arxiv_query._MAX_FEED_BYTES", 1000)
    with site(lambda path: ok(b"x" * 5000)) as server, pytest.raises(SourceError, match="more than"):
        list(source(server.url).papers(10))
