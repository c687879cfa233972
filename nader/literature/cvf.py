"""Papers of a conference on the CVF open access site (CVPR, ICCV, WACV, ECCV's sister pages)."""

import os
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

from nader.literature.clean import clean_text, one_line
from nader.literature.endpoints import Endpoints
from nader.literature.errors import SourceError
from nader.literature.fetch import Fetcher
from nader.literature.papers import Paper, PaperRecord, paper_digest

CONFERENCE = re.compile(r"(CVPR|ICCV|WACV)(20\d\d)")
_DAYS = 10


class CvfSource:
    """What `cvf:CVPR2023` names: all papers of a conference, in the order of its listing."""

    def __init__(self, conference: str, endpoints: Endpoints, cache: Path | None = None) -> None:
        match = CONFERENCE.fullmatch(conference)
        if not match:
            raise ValueError(f"not a conference: {conference!r}")
        self.conference = conference
        self.year = int(match[2])
        self.endpoints = endpoints
        self.cache = cache

    def __str__(self) -> str:
        return f"CVF open access, {self.conference}"

    def papers(self, maximum: int) -> Iterator[PaperRecord]:
        """At most `maximum` records.

        The abstract of each is fetched as it is yielded, at the site's pace, and kept in the cache: a listing
        that was broken off, or read for an estimate, goes on where it was.
        Raises SourceError where the listing cannot be had; a paper's page that cannot leaves its abstract "".
        """
        fetcher = self.endpoints.fetcher()
        try:
            listing = self._listing(fetcher.get)
            for title, page, pdf in listing[:maximum]:
                ref = f"{self.conference}/{_name(page)}"
                identity = paper_digest(ref)
                abstract = self._abstract(fetcher, identity, page) if fetcher.allows(page) else ""
                yield PaperRecord(
                    id=identity,
                    paper=Paper(title=title, year=self.year, ref=ref, url=page),
                    abstract=abstract,
                    pdf_url=pdf if pdf and fetcher.allows(pdf) else None,
                )
        finally:
            fetcher.close()

    def _abstract(self, fetcher: Fetcher, identity: str, page: str) -> str:
        kept = self.cache / f"{identity}.abstract" if self.cache else None
        if kept and kept.is_file():
            return clean_text(kept.read_text(encoding="utf-8", errors="replace"))
        try:
            abstract = _abstract(_decode(fetcher.get(page)))
        except SourceError:
            return ""
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}.part")
            part.write_text(abstract, encoding="utf-8")
            part.replace(kept)
        return abstract

    def _listing(self, get: Callable[[str], bytes]) -> list[tuple[str, str, str | None]]:
        """Title, page and PDF of every paper. Sites of some years list by day: then each day is read."""
        base = f"{self.endpoints.cvf}/{self.conference}"
        days: list[str] = []
        for url in (f"{base}?day=all", base):
            try:
                listing = _Listing(url, _decode(get(url)))
            except SourceError:
                if url == base:
                    raise
                continue
            if listing.papers:
                return listing.papers
            days = days or listing.days
        papers = [paper for day in days[:_DAYS] for paper in _Listing(day, _decode(get(day))).papers]
        if not papers:
            raise SourceError(f"{base} lists no papers. Is {self.conference} a conference of the site?")
        return list(dict.fromkeys(papers))


class _Listing(HTMLParser):
    """The links of a listing: papers (title, page, pdf) and days."""

    def __init__(self, url: str, html: str) -> None:
        super().__init__()
        self._url = url
        self._in_title = False
        self._href = ""
        self._words: list[str] = []
        self._found: list[tuple[str, str, str | None]] = []
        self.days: list[str] = []
        self.feed(html)
        self.papers = [paper for paper in self._found if paper[0]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "dt":
            self._in_title = "ptitle" in (values.get("class") or "")
        if tag != "a" or not (href := values.get("href")):
            return
        address = _join(self._url, href)
        if self._in_title:
            self._href, self._words = address, []
        elif (
            href.lower().endswith(".pdf")
            and "/papers/" in href
            and self._found
            and self._found[-1][2] is None
        ):
            title, page, _ = self._found[-1]
            self._found[-1] = (title, page, address)
        elif "day=" in href and "day=all" not in href and address not in self.days:
            self.days.append(address)

    def handle_data(self, data: str) -> None:
        if self._href:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._href:
            self._found.append((one_line("".join(self._words))[:1000], self._href, None))
            self._href = ""
        elif tag == "dt":
            self._in_title = False


class _Abstract(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and (self.depth or dict(attrs).get("id") == "abstract"):
            self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self.depth:
            self.depth -= 1

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.words.append(data)


def _abstract(html: str) -> str:
    parser = _Abstract()
    parser.feed(html)
    return one_line("".join(parser.words))[:10_000]


def _join(base: str, href: str) -> str:
    try:
        return urljoin(base, href)
    except ValueError:
        return ""


def _name(page: str) -> str:
    """The paper's own name on the site: the last part of its page, without what all of them share."""
    return re.sub(r"(_paper)?\.html$", "", page.rstrip("/").rsplit("/", 1)[-1])[:300] or paper_digest(page)


def _decode(body: bytes) -> str:
    return clean_text(body.decode("utf-8", "replace"))
