"""The text of a paper that a source found, wherever it is: a file, a URL, or only the abstract."""

import contextlib
import os
from pathlib import Path

from nader.literature.errors import RefusedError, SourceError
from nader.literature.fetch import Fetcher
from nader.literature.papers import FailureKind, PaperRecord, PaperText, TextFailure
from nader.literature.pdf import PdfLimits, pdf_text
from nader.literature.textfile import text_file


def read_paper(
    record: PaperRecord, fetcher: Fetcher, cache: Path, limits: PdfLimits | None = None
) -> PaperText | TextFailure:
    """The text of a paper, or why there is none; never raises for what a paper or server may do.

    A PDF that is fetched stays in the folder `cache` under the record's digest, and is not fetched again. A
    paper of which only the abstract is known gives that, with a note. Raises OSError where the cache cannot
    be written.
    """
    if record.path is not None:
        return (
            pdf_text(record.path, limits) if record.path.suffix.lower() == ".pdf" else text_file(record.path)
        )
    if record.pdf_url is not None:
        return _fetched(record, fetcher, cache, limits)
    if not record.abstract:
        return TextFailure(kind=FailureKind.MISSING, message="Neither a text nor an abstract of it is known.")
    return PaperText(pages=(record.abstract,), total_pages=1, note="only the abstract is known")


def _fetched(
    record: PaperRecord, fetcher: Fetcher, cache: Path, limits: PdfLimits | None
) -> PaperText | TextFailure:
    assert record.pdf_url is not None
    path = cache / f"{record.id}.pdf"
    if not path.exists():
        try:
            body = fetcher.get(record.pdf_url)
        except RefusedError as error:
            return TextFailure(kind=FailureKind.REFUSED, message=str(error))
        except SourceError as error:
            return TextFailure(kind=FailureKind.UNREACHABLE, message=str(error))
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"{record.id}.{os.getpid()}.part"
        part.write_bytes(body)
        part.replace(path)
    text = pdf_text(path, limits)
    if isinstance(text, TextFailure) and text.kind is FailureKind.BROKEN:
        # An error page or half a download: fetched again next time.
        with contextlib.suppress(OSError):
            path.unlink()
    return text
