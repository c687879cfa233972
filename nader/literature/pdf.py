"""PDF to text, page by page, in a process of its own that cannot take the campaign with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nader.literature.clean import clean_text, one_line
from nader.literature.papers import FailureKind, PaperText, TextFailure
from nader.literature.titles import plausible_title

_WORKER = Path(__file__).with_name("pdf_worker.py")
# What an interpreter needs to start and to find its packages. Keys and proxies of the campaign stay outside.
_ENVIRONMENT = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
    "TMPDIR",
    "TEMP",
    "TMP",
    "HOME",
)
# A page of a paper has thousands of letters. Fewer than this on average is stamps on scanned images.
_LETTERS_A_PAGE = 25


class PdfLimits(BaseModel):
    """What reading one PDF may take.

    pages: read from the front, the rest is left out and noted; characters: of text in all; file_bytes: of the
    file; seconds: of wall clock (and of processor time); memory_bytes: of address space, where the system can
    hold a process to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages: int = Field(default=60, ge=1)
    characters: int = Field(default=2_000_000, ge=1)
    file_bytes: int = Field(default=64 * 2**20, ge=1)
    seconds: float = Field(default=60.0, gt=0)
    memory_bytes: int = Field(default=2 * 2**30, ge=64 * 2**20)


def pdf_text(path: Path, limits: PdfLimits | None = None) -> PaperText | TextFailure:
    """The text of a PDF, or why there is none; never raises for anything a file may contain.

    A document longer than the page limit gives its first pages with a note; one that runs out of time gives
    the pages read until then with a note, and is a failure only where there are none.
    """
    limits = limits or PdfLimits()
    if failure := _unfit(path, limits):
        return failure
    output, ended = _run_worker(path, limits)
    messages = list(_messages(output))
    for message in messages:
        if "failure" in message:
            return _failure(FailureKind(message["failure"]), one_line(message["message"]))
    total = next((message["total"] for message in messages if "total" in message), None)
    pages = {message["page"]: clean_text(message["text"]) for message in messages if "page" in message}
    if total is None or not pages:
        if total == 0:
            return _failure(FailureKind.BROKEN, "it has no pages")
        if not ended:
            return _failure(FailureKind.TIMED_OUT, f"no page of it could be read in {limits.seconds:g} s")
        return _failure(FailureKind.BROKEN, "the reader gave up on it (out of memory or time, or a crash)")
    errors = [message["error"] for message in messages if "error" in message]
    if len(errors) == len(pages):
        return _failure(FailureKind.BROKEN, f"no page of {total} is readable ({one_line(errors[0])})")
    if sum(c.isalpha() for text in pages.values() for c in text) < _LETTERS_A_PAGE * len(pages):
        return _failure(FailureKind.SCANNED, f"{_pages(total)} of images, with (almost) no text")
    titles = (plausible_title(m.get(key)) for key in ("title", "largest") for m in messages)
    return PaperText(
        pages=tuple(pages[number] for number in sorted(pages)),
        total_pages=total,
        note=_note(list(pages.values()), total, ended, limits),
        title=next(filter(None, titles), None),
    )


def _failure(kind: FailureKind, why: str) -> TextFailure:
    sentences = {
        FailureKind.BROKEN: "This PDF cannot be read",
        FailureKind.ENCRYPTED: "This PDF is encrypted",
        FailureKind.SCANNED: "This PDF has no text",
        FailureKind.TOO_LARGE: "This PDF is too large",
        FailureKind.TIMED_OUT: "This PDF takes too long to read",
        FailureKind.MISSING: "This PDF cannot be opened",
    }
    return TextFailure(kind=kind, message=f"{sentences[kind]}: {why}.")


def _unfit(path: Path, limits: PdfLimits) -> TextFailure | None:
    """What can be said of a file before a process is started for it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        return _failure(FailureKind.MISSING, (error.strerror or str(error)).lower())
    if size > limits.file_bytes:
        allowed = limits.file_bytes / 2**20
        return _failure(FailureKind.TOO_LARGE, f"{size / 2**20:,.1f} MiB, where {allowed:,.1f} are allowed")
    if b"%PDF-" not in head:
        return _failure(FailureKind.BROKEN, "it is empty" if not size else "it does not begin as a PDF does")
    return None


def _run_worker(path: Path, limits: PdfLimits) -> tuple[bytes, bool]:
    """The worker's output, and whether it came to its end in time."""
    numbers = (limits.pages, limits.characters, limits.memory_bytes, max(1, round(limits.seconds)))
    process = subprocess.Popen(
        # -P: the worker's own folder holds modules of ours that must not pass for others'.
        [sys.executable, "-P", str(_WORKER), str(path.resolve()), *map(str, numbers)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,  # Ctrl-C is for the campaign, which decides what to stop
    )
    try:
        return process.communicate(timeout=limits.seconds)[0], process.returncode == 0
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0], False
    except BaseException:
        process.kill()
        process.wait()
        raise


def _messages(output: bytes) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a worker that was stopped
            return


def _note(pages: list[str], total: int, ended: bool, limits: PdfLimits) -> str:
    notes = []
    read, without = len(pages), sum(not page.strip() for page in pages)
    if read < total:
        if not ended:
            why = f" within {limits.seconds:g} s"
        elif read >= limits.pages:
            why = ", the limit"
        else:
            why = f", {limits.characters:,} characters, the limit"
        notes.append(f"read the first {read} of {total} pages{why}")
    if without:
        notes.append(f"{_pages(without)} gave no text")
    return "; ".join(notes)


def _pages(count: int) -> str:
    return f"{count} {'page' if count == 1 else 'pages'}"
