"""The log's file: how it is created, recognised and opened."""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path

from store.errors import CorruptedError, NewerFormatError, OperationalError, translate

APPLICATION_ID = 0x4E414445
"""`NADE` in ASCII, at byte 68 of the file."""
FORMAT = 2
"""The newest format this version writes and reads (`PRAGMA user_version`)."""
OLDEST = 2
"""The oldest. Format 1 is of before the first release: its chain hashed an absent field as the text
`None`.
"""
SYNCHRONOUS = ("FULL", "NORMAL")
WAL_LIMIT = 16 * 1024 * 1024
"""Bytes that the -wal file keeps after a checkpoint has emptied it."""
_OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables."""
_MIGRATIONS: dict[int, str] = {}
"""SQL that turns format n into n + 1. Events are never touched by one."""


def connect_writer(path: Path, *, create: bool, synchronous: str) -> sqlite3.Connection:
    """The one connection that writes; creates the file or brings an old format up to date.

    Raises:
        OperationalError: the file is missing, or it or its folder may not be written.
        CorruptedError: it is no log.
        NewerFormatError: a newer version wrote it.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise OperationalError(
            f"a log needs SQLite {'.'.join(map(str, _OLDEST_SQLITE))} or newer; this Python has "
            f"{sqlite3.sqlite_version}"
        )
    if synchronous not in SYNCHRONOUS:
        raise ValueError(f"synchronous is {synchronous!r}; it may be {' or '.join(SYNCHRONOUS)}")
    if not create and not path.exists():
        raise OperationalError(f"there is no log at {path}")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and create:
            _create(connection)
        check_format(connection, path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise OperationalError(
                f"the file system of {path} cannot hold a log: SQLite gets no write-ahead log there "
                "(a network folder?); use a local disk"
            )
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA recursive_triggers = ON")
        _migrate(connection)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise translate(error, path) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it needs no lock and holds none between its statements."""
    if not path.exists():
        raise OperationalError(f"there is no log at {path}")
    try:
        connection = sqlite3.connect(
            reader_uri(path), uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            check_format(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def reader_uri(path: Path) -> str:
    """The address under which SQLite opens the file for reading.

    A log that was closed has no -wal file, and in a folder that may not be written SQLite could not make
    one: there the file is opened as the immutable thing it is.
    """
    uri = path.resolve().as_uri() + "?mode=ro"
    wal = path.with_name(path.name + "-wal")
    if not wal.exists() and not _may_write(path.parent):
        uri += "&immutable=1"
    return uri


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The file's format number; raises for what is no log and for what a newer version wrote."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise CorruptedError(f"{path} is not a log of NADER (its application id is {application:#x})")
    number = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if number > FORMAT:
        raise NewerFormatError(
            f"the log {path} has format {number}, and this version of nader reads up to {FORMAT}: "
            "upgrade nader"
        )
    if 1 <= number < OLDEST:
        raise OperationalError(
            f"the log {path} has format {number}, of before the first release, and this version of nader "
            f"reads formats from {OLDEST} on: look at it with the version that wrote it, or run the campaign "
            "again"
        )
    if number < 1:
        raise CorruptedError(f"the log {path} has format {number}, which no version of nader wrote")
    return number


def schema_sql() -> str:
    """The statements that make an empty log."""
    return files("store").joinpath("schema.sql").read_text(encoding="utf-8")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{schema_sql()}\n"
        f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {FORMAT};\nCOMMIT;"
    )


def _migrate(connection: sqlite3.Connection) -> None:
    number = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for step in range(number, FORMAT):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{_MIGRATIONS[step]}\nPRAGMA user_version = {step + 1};\nCOMMIT;"
        )


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
