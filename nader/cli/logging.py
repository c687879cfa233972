"""Diagnostics through structlog: to standard error or a file, never into the display."""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from nader.cli.output import clean
from nader.errors import WorkspaceError


@dataclass
class _Chosen:
    """What the command line asked for."""

    debug: bool = False
    file: Path | None = None


_chosen = _Chosen()


class _StandardError:
    """Standard error as it is at the moment of writing: whoever replaces it (a display, a test) is obeyed."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def choose(*, debug: bool, file: Path | None) -> None:
    """Configure diagnostics as the command line asks."""
    _chosen.debug, _chosen.file = debug, file
    configure(debug=debug, file=file)


def configure(*, debug: bool = False, file: Path | None = None) -> None:
    """Send diagnostics to standard error, or as JSON lines to `file`. Raises WorkspaceError if it cannot
    be written."""
    level = logging.DEBUG if debug else logging.INFO if file else logging.WARNING
    stream = cast(TextIO, _StandardError())
    if file is not None:
        try:
            stream = cast(TextIO, file.open("a", encoding="utf-8", buffering=1))
        except OSError as error:
            raise WorkspaceError(
                f"the log file {file} cannot be written: {(error.strerror or '').lower()}"
            ) from None
    last: Any = structlog.processors.JSONRenderer()
    if file is None:
        last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=False),
            structlog.processors.format_exc_info,
            _harmless,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _harmless(logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Foreign text in a diagnostic is cleaned like any other."""
    return {
        key: clean(value, lines=True) if isinstance(value, str) else value for key, value in event.items()
    }


@contextmanager
def beside_display(file: Path) -> Iterator[None]:
    """While a live display has the terminal, diagnostics go to a file, unless the user named one or has
    them elsewhere."""
    if _chosen.file is not None or not sys.stderr.isatty():
        yield
        return
    configure(debug=_chosen.debug, file=file)
    try:
        yield
    finally:
        configure(debug=_chosen.debug)
