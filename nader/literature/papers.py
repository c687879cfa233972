"""The values of reading: a paper, a record that a source found, an inspiration taken from a paper."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

ARXIV = "arXiv:"


def one_line(text: str) -> str:
    """Text with every run of white space and control characters made one space: what a title may be."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


class Paper(BaseModel):
    """Where an idea comes from.

    title: as published; year: when it was first public, None where a source does not say;
    ref: `arXiv:1709.01507`, a venue with the paper's name there (`CVPR2023/He_Deep_…`), or the name of a list;
    url: a page to read it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, max_length=1000)
    year: int | None = Field(default=None, ge=1900, le=2200)
    ref: str = Field(min_length=1, max_length=500)
    url: str | None = Field(default=None, max_length=2000)

    @field_validator("title", "ref")
    @classmethod
    def _clean(cls, text: str) -> str:
        return one_line(text)

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
    section: str | None = None
    page: int | None = Field(default=None, ge=1)


class TextKind(StrEnum):
    """Where the body of a paper is."""

    ABSTRACT_ONLY = "abstract-only"
    FILE = "file"
    URL = "url"


class PaperRecord(BaseModel):
    """A paper that a source found: enough to judge its relevance, and where its text is.

    id: digest of the reference, the same whenever the source is read again; abstract: "" where a source gives
    none; path: a PDF or text file on this machine; pdf_url: where the PDF can be fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    paper: Paper
    abstract: str = ""
    path: Path | None = None
    pdf_url: str | None = None

    @property
    def text_kind(self) -> TextKind:
        """Where the body of the paper is; a file on this machine goes before a URL."""
        if self.path is not None:
            return TextKind.FILE
        return TextKind.URL if self.pdf_url else TextKind.ABSTRACT_ONLY
