"""The text of a paper that is a plain text or Markdown file."""

from pathlib import Path

from nader.literature.clean import clean_text
from nader.literature.papers import FailureKind, PaperText, TextFailure

TEXT_SUFFIXES = (".txt", ".md")
_MAX_BYTES = 16 * 2**20


def text_file(path: Path) -> PaperText | TextFailure:
    """The text of a file, or why there is none. Form feeds part its pages; without one it is one page."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return TextFailure(kind=FailureKind.MISSING, message=f"This text cannot be opened: {why}.")
    if size > _MAX_BYTES:
        allowed = _MAX_BYTES // 2**20
        message = f"This text is too large: {size / 2**20:,.1f} MiB, where {allowed} are allowed."
        return TextFailure(kind=FailureKind.TOO_LARGE, message=message)
    if b"\0" in data:
        return TextFailure(kind=FailureKind.BROKEN, message="This file is not a text: it holds zero bytes.")
    pages = clean_text(data.decode("utf-8-sig", "replace")).split("\f")
    if not any(page.strip() for page in pages):
        return TextFailure(kind=FailureKind.BROKEN, message="This text is empty.")
    return PaperText(pages=tuple(pages), total_pages=len(pages))
