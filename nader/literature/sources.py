"""Where papers come from: the text that names a source becomes the source."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from nader.literature.endpoints import Endpoints
from nader.literature.errors import SourceSpecError
from nader.literature.files import PAPER_SUFFIXES, FolderSource, TableSource
from nader.literature.lists import is_inspiration_list
from nader.literature.papers import PaperRecord

FORMS = 'arxiv:"QUERY", cvf:CVPR2023, a folder, a .pdf, .txt or .md file, a .json or .csv table'


class PaperSource(Protocol):
    """Something that papers can be read from; `str()` of it names it in a sentence."""

    def papers(self, maximum: int) -> Iterator[PaperRecord]:
        """At most `maximum` records, in an order that is the same each time; raises SourceError."""


class InspirationFile:
    """A JSON list that holds inspirations already: there are no papers to read, only a list to import."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return f"inspirations {self.path}"


def parse_source(
    spec: str, endpoints: Endpoints | None = None, cache: Path | None = None
) -> PaperSource | InspirationFile:
    """The source that a text names, without reading it. Raises SourceSpecError with the forms there are.

    In the folder `cache` a source keeps what it fetched to list its papers (CVF: abstracts).
    """
    endpoints = endpoints or Endpoints.from_environment()
    scheme, _, rest = spec.partition(":")
    rest = rest.strip()
    if scheme.lower() == "arxiv":
        if not rest:
            raise SourceSpecError(
                'What should be asked of arXiv? For example: arxiv:"cat:cs.CV AND abs:backbone".'
            )
        from nader.literature.arxiv_query import ArxivSource  # an HTTP client takes long to import

        return ArxivSource(rest, endpoints)
    if scheme.lower() == "cvf":
        from nader.literature.cvf import CONFERENCE, CvfSource

        conference = rest.upper().replace(" ", "")
        if not CONFERENCE.fullmatch(conference):
            raise SourceSpecError(
                f"{rest!r} is not a conference with its year, such as cvf:CVPR2023 or cvf:ICCV2021."
            )
        return CvfSource(conference, endpoints, cache)
    return _local(spec)


def _local(spec: str) -> PaperSource | InspirationFile:
    path = Path(spec).expanduser()
    if spec.strip() and path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise SourceSpecError(f"{spec!r} is no source of papers and no file. A source is {FORMS}.")
    suffix = path.suffix.lower()
    if suffix in PAPER_SUFFIXES:
        return FolderSource(path)
    if suffix == ".json" and is_inspiration_list(path):
        return InspirationFile(path)
    if suffix in (".json", ".csv"):
        return TableSource(path)
    raise SourceSpecError(f"{path.name} is not a kind of file that is read. A source is {FORMS}.")
