"""The values of reading: a paper, a record that a source found, an inspiration taken from a paper."""

import hashlib
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nader.literature.clean import clean_text, one_line

ARXIV = "arXiv:"
_WEB_ADDRESS = re.compile(r"https?://[!-~]{1,1990}")


def paper_digest(ref: str) -> str:
    """The name of a paper within a library and on disk: 32 hex digits that depend on its reference alone."""
    return hashlib.sha256(ref.encode("utf-8", "replace")).hexdigest()[:32]


class Paper(BaseModel):
    """Where an idea comes from.

    title: as published; year: when it was first public, None where a source does not say;
    ref: `arXiv:1709.01507`, a venue and the paper's name there (`CVPR2023/He_Deep`), or a list's name;
    url: a page to read it, None where what is given is not a web address.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, max_length=1000)
    year: int | None = Field(default=None, ge=1900, le=2200)
    ref: str = Field(min_length=1, max_length=500)
    url: str | None = None

    @field_validator("title", "ref", mode="before")
    @classmethod
    def _clean(cls, text: Any) -> Any:
        return one_line(text) if isinstance(text, str) else text

    @field_validator("url", mode="before")
    @classmethod
    def _only_web_addresses(cls, url: Any) -> Any:
        """A link is shown to people: what a source gives that is not a web address is no link."""
        return url if isinstance(url, str) and _WEB_ADDRESS.fullmatch(url) else None

    @property
    def link(self) -> str | None:
        """A page to read the paper: its url, or arXiv's page of it."""
        if self.url is None and self.ref.startswith(ARXIV):
            return f"https://arxiv.org/abs/{self.ref.removeprefix(ARXIV)}"
        return self.url

    def __str__(self) -> str:
        return f"{self.title} ({self.year}, {self.ref})" if self.year else f"{self.title} ({self.ref})"


class Inspiration(BaseModel):
    """One architectural idea from one paper.

    id: unique in its library; text: the idea, a sentence or a few; section and page: where in the paper it
    was found (page counts from 1), None where unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=20_000)
    paper: Paper
    section: str | None = Field(default=None, max_length=500)
    page: int | None = Field(default=None, ge=1)

    @field_validator("text", "section", mode="before")
    @classmethod
    def _clean(cls, text: Any) -> Any:
        return one_line(text) if isinstance(text, str) else text


class PaperRecord(BaseModel):
    """A paper that a source found: enough to judge its relevance, and where its text is.

    id: `paper_digest` of the reference, or of the contents of a file: the same whenever the source is read
    again; abstract: "" where a source gives none; path: a PDF or text file on this machine; pdf_url: where
    the PDF can be fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    paper: Paper
    abstract: str = ""
    path: Path | None = None
    pdf_url: str | None = None

    @field_validator("abstract")
    @classmethod
    def _clean(cls, text: str) -> str:
        return clean_text(text).strip()

    @property
    def has_text(self) -> bool:
        """Whether there is more to read than the abstract."""
        return self.path is not None or self.pdf_url is not None


class FailureKind(StrEnum):
    """Why the text of a paper could not be had."""

    BROKEN = "broken"
    ENCRYPTED = "encrypted"
    SCANNED = "scanned"
    TOO_LARGE = "too-large"
    TIMED_OUT = "timed-out"
    MISSING = "missing"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class TextFailure(BaseModel):
    """The text of a paper could not be had: a kind to count by, a sentence to read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: FailureKind
    message: str


class PaperText(BaseModel):
    """The text of a paper, page by page.

    pages: the pages that were read, in order, clean; total_pages: how many the paper has; note: what was left
    out or is not as expected, "" if nothing; title: by the
    file's own account or by the size of its type, None if neither can be one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages: tuple[str, ...]
    total_pages: int
    note: str = ""
    title: str | None = None
