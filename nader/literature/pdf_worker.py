"""The process that reads one PDF, within limits it sets for itself; run as a script, it needs pypdf alone.

Usage: pdf_worker.py FILE MAX_PAGES MAX_CHARACTERS MEMORY_BYTES CPU_SECONDS. Writes JSON lines: one
`{"total": n, "title": …}`, then for each page `{"page": i, "text": …}`, after the first `{"largest": …}`, the
words set in the largest type; or `{"failure": kind, "message": …}`.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Callable


def _say(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _limit(memory: int, cpu: int) -> None:
    """Takes from this process the memory, time and files that no honest PDF needs."""
    try:
        import resource
    except ImportError:  # not a POSIX system: the parent's time limit is what is left
        return
    for name, value in (("RLIMIT_AS", memory), ("RLIMIT_CPU", cpu), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is already set
            resource.setrlimit(getattr(resource, name), (value, value))


def _sized(runs: list[tuple[float, str]]) -> Callable[..., None]:
    """A visitor that notes each run of upright text with its size on the page, in points."""

    def visit(text: str, cm: list[float], tm: list[float], font: object, size: float) -> None:
        upright = abs(tm[1]) < 1e-3 and abs(cm[1]) < 1e-3  # a stamp along the margin is larger than any title
        if upright and text.strip() and len(runs) < 20_000:
            runs.append((round(abs(float(size) * tm[3] * cm[3]), 1), text))

    return visit


def _largest(runs: list[tuple[float, str]]) -> str:
    """What is set in the largest type, initials of a paragraph apart."""
    for size in sorted({size for size, _ in runs}, reverse=True)[:5]:
        text = " ".join("".join(text for other, text in runs if other == size).split())
        if sum(c.isalpha() for c in text) >= 4:
            return text[:1000]
    return ""


def _read(path: str, max_pages: int, max_characters: int) -> None:
    import pypdf

    reader = pypdf.PdfReader(path, strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        return _say(failure="encrypted", message="it opens only with a password")
    total = len(reader.pages)
    title = None
    with contextlib.suppress(Exception):  # a broken title is no reason not to read the pages
        title = reader.metadata and reader.metadata.title
    _say(total=total, title=str(title)[:1000] if title else None)
    left = max_characters
    for index in range(min(total, max_pages)):
        runs: list[tuple[float, str]] = []
        try:
            page = reader.pages[index]
            text = page.extract_text(visitor_text=_sized(runs)) if index == 0 else page.extract_text()
        except MemoryError:
            raise
        except Exception as error:  # one bad page leaves the others readable; the parent counts and reports
            _say(page=index + 1, text="", error=f"{type(error).__name__}: {error}"[:300])
            continue
        _say(page=index + 1, text=text[:left])
        if runs:
            _say(largest=_largest(runs))
        left -= len(text)
        if left <= 0:
            break
    return None


def main(argv: list[str]) -> None:
    """Reads the file and always ends with exit status 0: what went wrong is in the output."""
    path, max_pages, max_characters, memory, cpu = argv[0], *map(int, argv[1:5])
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(2000)
    _limit(memory, cpu)
    try:
        _read(path, max_pages, max_characters)
    except MemoryError:
        _say(failure="too-large", message=f"reading it takes more than {memory // 2**20} MiB of memory")
    except Exception as error:
        kind = (
            "encrypted" if type(error).__name__ in ("DependencyError", "FileNotDecryptedError") else "broken"
        )
        _say(failure=kind, message=f"{type(error).__name__}: {error}"[:300])


if __name__ == "__main__":
    main(sys.argv[1:])
