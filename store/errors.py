"""What can go wrong with a log, after the manner of a database adapter: one sentence each, for a person to
act on.
"""

import errno
import sqlite3
from pathlib import Path


class StoreError(RuntimeError):
    """Base of all errors of the store."""

    ends_the_writer = False
    """After this error nobody knows what the file holds, or another process writes it: only a new open can
    tell.
    """


class IntegrityError(StoreError):
    """What was to be written contradicts the log or itself; nothing of that append was written."""


class OperationalError(StoreError):
    """The file or its disk did not do what was asked: full, read-only, missing, an I/O error. Earlier events
    are safe.
    """


class CorruptedError(StoreError):
    """The file is damaged, or is no log at all."""

    ends_the_writer = True


class LockedError(StoreError):
    """Another process writes this log, or has taken it over."""

    ends_the_writer = True


class NewerFormatError(StoreError):
    """The file was written by a newer version than this one."""


class NoSuchBranchError(StoreError):
    """The log has no branch of that name."""


_NOT_TEXT = "Could not decode to UTF-8"
"""What Python's sqlite3 says of a text column that holds no text."""
_FULL = "there is no room left to write it (disk full, or a limit on the size of files)"
_SENTENCES = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_WRITE": _FULL,
    "SQLITE_IOERR_FSYNC": "the disk failed to make it durable; open the log again to see what was kept",
    "SQLITE_READONLY": "it is read-only: its file or its folder may not be written",
    "SQLITE_READONLY_DIRECTORY": "it is read-only: its folder may not be written",
    "SQLITE_CANTOPEN": "it cannot be opened: it is missing, or its folder may not be read or written",
    "SQLITE_BUSY": "another program holds the file busy",
}


def translate(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """The error of ours that says what SQLite or the system met at `path`."""
    if isinstance(error, OSError):
        reason = (
            _FULL
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
            else error.strerror or str(error)
        )
        return OperationalError(f"the log {path} cannot be used: {reason}")
    name = getattr(error, "sqlite_errorname", None) or ""
    damaged = name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ"))
    if damaged or _NOT_TEXT in str(error):
        return CorruptedError(f"the log {path} is damaged or is not a log of NADER ({error})")
    if isinstance(error, sqlite3.IntegrityError):
        return IntegrityError(f"the log {path} refuses the write: {error}")
    reason = str(error)
    for known, sentence in _SENTENCES.items():
        if name == known or name.startswith(known + "_"):
            reason = sentence
    failure = OperationalError(f"the log {path} cannot be used: {reason}")
    failure.ends_the_writer = name == "SQLITE_IOERR_FSYNC"
    return failure
