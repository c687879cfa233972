"""Reads papers into a library, for tests: here, or as `python -m tests.e2e.reading` in a process to kill.

`--kill TYPE:N` kills the process at the N-th commit of an event of that type.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from events import Envelope
from nader.library import ReadingReport, read
from nader.settings import load_settings
from nader.workspace import LIBRARY, Workspace
from tests.literature.pdfs import encrypted_pdf, scanned_pdf, text_pdf

ABSTRACT = (
    "We study how convolutional networks see. "
    "A squeeze-and-excitation gate and a larger kernel help the network."
)
PAPER = """A Study of Wider Views in Networks

Abstract
{abstract}

1. Introduction
Networks see little at once. {filler}

2. Method
{ideas}
{filler}

3. Experiments
We train on images. {filler}
"""
FILLER = "The rest of this paragraph tells how the experiments were carried out in some detail. " * 12
IDEAS = (
    "We add a squeeze-and-excitation gate before the output of every residual block. "
    "We replace each standard convolution by a depthwise separable convolution in the block. "
    "We enlarge the kernel of the depthwise convolution from three to seven in the block. "
)


def paper(ideas: str = IDEAS, title: str = "", abstract: str = ABSTRACT) -> str:
    """The text of a small paper with a method section."""
    text = PAPER.format(filler=FILLER, ideas=ideas, abstract=abstract)
    return text.replace("A Study of Wider Views in Networks", title) if title else text


def long_paper(pages: int) -> str:
    """A paper of so many pages; its method stands in the front."""
    return "\f".join([paper(title="A Very Long Paper on Network Blocks"), *[FILLER] * (pages - 1)])


def troubled_papers(folder: Path, pages: int = 500) -> None:
    """One good paper beside a broken, a cut-off, an encrypted, a scanned and a long one, as PDFs."""
    folder.mkdir(parents=True, exist_ok=True)
    good = text_pdf(paper(), title="A Study of Wider Views in Networks")
    (folder / "good.pdf").write_bytes(good)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n\x00\x01 nothing of a document follows")
    (folder / "cut.pdf").write_bytes(good[: len(good) // 3])
    (folder / "encrypted.pdf").write_bytes(encrypted_pdf(good, user_password="secret"))
    (folder / "scanned.pdf").write_bytes(scanned_pdf(3))
    (folder / "long.pdf").write_bytes(
        text_pdf(long_paper(pages), title="A Very Long Paper on Network Blocks")
    )


def read_library(
    folder: Path,
    source: Path,
    name: str = "papers",
    sets: Sequence[str] = (),
    watch: Callable[[Envelope], None] | None = None,
    maximum: int = 50,
    filtered: bool = True,
) -> ReadingReport:
    """Read a source into a library of the workspace in `folder`."""
    settings = load_settings(sets=("synchronous=NORMAL", *sets))
    return asyncio.run(
        read(Workspace(folder), str(source), name, settings, maximum, filtered=filtered, watch=watch)
    )


def library_events(folder: Path, name: str = "papers") -> list[Envelope]:
    """Every event of a library."""
    with Workspace(folder).reader() as reader:
        return list(reader.read(LIBRARY + name))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--kill", default="")
    given = parser.parse_args()
    kind, _, count = given.kill.partition(":")
    left = int(count or 1)

    def watch(envelope: Envelope) -> None:
        nonlocal left
        if envelope.type == kind:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    report = read_library(given.folder, given.source, watch=watch)
    print(report.ending.kind, report.ending.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
